"""Real generators for phase 1: a model of transformers on this machine, or any OpenAI-compatible server.

Both take what `generate` hands them, samples and prompts, look at N frames of each clip and return a response each, or
in its place what went wrong.

    generate(samples, TransformersGenerator("OpenGVLab/InternVL3-8B-hf", samples.videos), path)
    generate(samples, OpenAIGenerator("internvl-26b", samples.videos, "http://localhost:8000/v1"), path)
"""

from __future__ import annotations

import asyncio
import base64
import inspect
import io
import json
import os
import sys
import time
import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
import torch
from PIL import Image

from reasvqa import hub
from reasvqa.generation.run import GenerationError, shortened, without_secrets
from reasvqa.samples import Sample
from reasvqa.video import VideoError, read_many

LARGEST_ANSWER = 16 * 2**20  # bytes of a server's answer; 512 tokens need some kB


def frames_of(samples: Sequence[Sample], videos: Path, num_frames: int) -> list[list[Image.Image] | VideoError]:
    """N pictures for each sample's clip, in order of time; a VideoError in the place of a clip that cannot be read."""
    clips = [(videos / sample.video, sample.clip) for sample in samples]
    return [
        frames if isinstance(frames, VideoError) else [Image.fromarray(frame) for frame in np.asarray(frames)]
        for frames in read_many(clips, num_frames)
    ]


# --- a model on this machine ------------------------------------------------------------------------------------------


class TransformersGenerator:
    """Any image-text-to-text model of transformers: InternVL, LLaVA-OneVision, Qwen-VL, ...

    Deterministic (greedy), batched, in bf16 on a GPU and float32 elsewhere. Weights come from safetensors and no code
    of the checkpoint is run.

    Attributes:
        cut: responses so far that `max_new_tokens` ended.
    """

    def __init__(
        self, model: str | Path, videos: Path, num_frames: int = 4, max_new_tokens: int = 512, name: str | None = None
    ):
        """
        Args:
            model: a local folder or a hub id.
            name: what the reasoning file calls the generator; default: the last part of `model`.

        Raises:
            GenerationError: there is no such folder, and the hub cannot be asked or has no such model; its
                files are damaged, or some are missing.
        """
        from transformers import AutoModelForImageTextToText

        self.name = name or Path(model).name
        self.videos, self.num_frames, self.max_new_tokens, self.cut = videos, num_frames, max_new_tokens, 0
        offline = not Path(model).is_dir() and hub.unreachable()
        device = "cuda" if torch.cuda.is_available() else "cpu"
        dtype = torch.bfloat16 if device == "cuda" else torch.float32
        load: Any = partial(AutoModelForImageTextToText.from_pretrained, dtype=dtype, use_safetensors=True)
        try:
            self.processor: Any = _processor(model, bool(offline))
            hub.check_tokenizer(self.processor.tokenizer, str(model))
            self.model: Any = load(model, local_files_only=bool(offline)).to(device).eval()
        except (OSError, ValueError) as error:  # transformers' own sentences; without a network they speak of others
            absent = offline and isinstance(error, OSError)
            why = f"no such folder, not among the downloaded models, and {offline}" if absent else str(error)
            raise GenerationError(
                f"{model}: cannot be loaded: {shortened(why)}. Give a local folder, or a hub id and a network."
            ) from None
        self.processor.tokenizer.padding_side = "left"  # what is generated has to follow the prompt, not its padding
        # A frame is one picture. Some processors cut pictures into many parts, though never the frames of a video.
        pictures = self.processor.image_processor
        self._whole = {name: False for name in ("do_image_splitting", "crop_to_patches") if hasattr(pictures, name)}

    @torch.inference_mode()
    def __call__(self, samples: Sequence[Sample], prompts: Sequence[str]) -> list[str | VideoError]:
        """A response for each sample, see `Generator`."""
        seen = frames_of(samples, self.videos, self.num_frames)
        chats = []
        for pictures, prompt in zip(seen, prompts, strict=True):
            if not isinstance(pictures, VideoError):
                content = [*({"type": "image", "image": picture} for picture in pictures)]
                chats.append([{"role": "user", "content": [*content, {"type": "text", "text": prompt}]}])
        written = iter(self._write(chats) if chats else ())
        return [pictures if isinstance(pictures, VideoError) else next(written) for pictures in seen]

    def _write(self, chats: list) -> list[str]:
        inputs = self.processor.apply_chat_template(
            chats,
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            processor_kwargs={"padding": True, **self._whole},
        ).to(self.model.device, self.model.dtype)
        tokens = self.model.generate(**inputs, max_new_tokens=self.max_new_tokens, do_sample=False, num_beams=1)
        tokens = tokens[:, inputs["input_ids"].shape[1] :]
        if tokens.shape[1] == self.max_new_tokens:
            ends = self.model.generation_config.eos_token_id
            ends = torch.tensor([*(ends if isinstance(ends, list) else [ends]), self.processor.tokenizer.pad_token_id])
            cut = int((~torch.isin(tokens[:, -1].cpu(), ends)).sum())
            self.cut += cut
            _warn_of(cut, self.name, self.max_new_tokens)
        return [text.strip() for text in self.processor.batch_decode(tokens, skip_special_tokens=True)]


def _processor(model: str | Path, offline: bool) -> Any:
    """The checkpoint's processor. Many have a part for videos that needs torchvision, which does not go with every
    build of torch, and SmolVLM's needs num2words for a video's introduction. We send pictures: without these packages
    an empty part stands in that place."""
    from transformers import AutoConfig, AutoImageProcessor, AutoProcessor, AutoTokenizer
    from transformers.models.auto.processing_auto import PROCESSOR_MAPPING
    from transformers.utils.import_utils import is_torchvision_available

    try:
        return AutoProcessor.from_pretrained(model, local_files_only=offline)
    except (ImportError, ValueError):
        kind: Any = PROCESSOR_MAPPING.get(type(AutoConfig.from_pretrained(model, local_files_only=offline)), None)
        if kind is None or is_torchvision_available() or "video_processor" not in kind.get_attributes():
            raise

    class ForPictures(kind):
        def check_argument_for_proper_class(self, argument_name, argument):
            pass  # it would ask for torchvision

    class NoVideos:
        num_frames = fps = None

    parts = {"tokenizer": AutoTokenizer, "image_processor": AutoImageProcessor}
    made = {name: auto.from_pretrained(model, local_files_only=offline) for name, auto in parts.items()}
    made["video_processor"] = NoVideos()
    found, _ = kind.get_processor_dict(model, local_files_only=offline)
    settings = {name: found[name] for name in inspect.signature(kind).parameters if name in found and name not in made}
    its_module: Any = sys.modules[kind.__module__]
    asks_for_num2words = getattr(its_module, "num2words", "") is None
    try:
        if asks_for_num2words:
            its_module.num2words = str  # only its presence is asked
        return ForPictures(*[made[name] for name in kind.get_attributes()], **settings)
    finally:
        if asks_for_num2words:
            its_module.num2words = None


def _warn_of(cut: int, name: str, max_new_tokens: int) -> None:
    """One warning however often it happens: Python shows equal ones once."""
    if cut:
        warnings.warn(
            f"{name}: responses are cut after {max_new_tokens} tokens and may miss their answer; raise max_new_tokens",
            stacklevel=4,
        )


# --- a server ---------------------------------------------------------------------------------------------------------


class OpenAIGenerator:
    """A model behind any OpenAI-compatible server: vLLM, LMDeploy, `transformers serve`, a hosted one.

    Frames travel as base64 JPEG. At most `concurrency` requests are in flight. The client of the `openai` package
    repeats what fails by 429 or 5xx, with growing pauses or as the server's Retry-After says. The key is read from the
    environment (OPENAI_API_KEY) and nowhere kept or shown; local servers need none. Interrupting ends the requests.

    Attributes:
        tokens: (prompt, completion) tokens so far, as the server counts them.
        seconds: time spent waiting for the server.
        requests: questions asked.
        cut: responses that `max_new_tokens` ended.
    """

    def __init__(
        self,
        model: str,
        videos: Path,
        base_url: str | None = None,
        num_frames: int = 4,
        max_new_tokens: int = 512,
        concurrency: int = 16,
        timeout: float = 300,
        retries: int = 8,
        price: tuple[float, float] | None = None,
        name: str | None = None,
    ):
        """
        Args:
            model: as the server calls it.
            base_url: the server's address, ending in /v1; None: OpenAI's own, or OPENAI_BASE_URL.
            timeout: seconds for one answer, from the request to its last byte.
            price: of a million prompt and a million completion tokens, for `report`.
            name: what the reasoning file calls the generator; default: the last part of `model`.

        Raises:
            GenerationError: the address is none, a key is missing, or the package `openai` is.
        """
        try:
            import openai
        except ImportError:
            raise GenerationError("a served model needs the package openai: pip install 'reasvqa[served]'") from None

        self.name, self.model = name or model.rstrip("/").rsplit("/", 1)[-1], model
        self.videos, self.num_frames, self.max_new_tokens = videos, num_frames, max_new_tokens
        self.concurrency, self.timeout, self.price = concurrency, timeout, price
        self.tokens, self.seconds, self.requests, self.cut = (0, 0), 0.0, 0, 0
        address = base_url or os.environ.get("OPENAI_BASE_URL") or "https://api.openai.com/v1"
        if urlsplit(address).scheme not in ("http", "https") or not urlsplit(address).hostname:
            raise GenerationError(f"base_url={address!r}: not an address such as http://localhost:8000/v1")
        key = os.environ.get("OPENAI_API_KEY", "").strip() or ("none" if base_url else "")
        if not key:
            raise GenerationError(f"{address} wants a key: set OPENAI_API_KEY. For a server of your own give base_url.")
        wait = openai.Timeout(timeout, connect=min(timeout, 10))
        self.client = openai.AsyncOpenAI(api_key=key, base_url=address, timeout=wait, max_retries=retries)

    def __call__(self, samples: Sequence[Sample], prompts: Sequence[str]) -> list[str | Exception]:
        """A response for each sample, in order, or what went wrong with it.

        Raises:
            GenerationError: the server does not know the key or the model, whatever it is asked.
        """
        from anyio.from_thread import start_blocking_portal  # openai stands on anyio

        pictures = frames_of(samples, self.videos, self.num_frames)
        began = time.monotonic()
        with start_blocking_portal() as portal:  # a loop in a thread of its own: a notebook's thread has one already
            answers = portal.call(self._ask_all, pictures, prompts)
        self.seconds += time.monotonic() - began
        refusals = [answer for answer in answers if isinstance(answer, _Refusal)]
        if refusals and len(refusals) == len(answers):
            raise refusals[0]
        _warn_of(self.cut, self.name, self.max_new_tokens)
        return answers

    async def _ask_all(self, seen: Sequence, prompts: Sequence[str]) -> list[str | Exception]:
        gate = asyncio.Semaphore(self.concurrency)
        async with _bounded_client(self.timeout) as http:
            client = self.client.copy(http_client=http)
            return await asyncio.gather(*(self._ask(client, gate, *ask) for ask in zip(seen, prompts, strict=True)))

    async def _ask(self, client, gate: asyncio.Semaphore, pictures, prompt: str) -> str | Exception:
        import openai

        if isinstance(pictures, VideoError):
            return pictures
        async with gate:
            images = [{"type": "image_url", "image_url": {"url": _as_url(picture)}} for picture in pictures]
            self.requests += 1
            try:
                answer = await client.chat.completions.with_raw_response.create(
                    model=self.model,
                    messages=[{"role": "user", "content": [*images, {"type": "text", "text": prompt}]}],
                    max_tokens=self.max_new_tokens,
                    temperature=0.0,
                )
                text, used, cut = read_answer(answer.http_response.content)
            except (openai.AuthenticationError, openai.NotFoundError) as error:
                return _Refusal(self._sentence(error, "Check OPENAI_API_KEY, the model's name, and base_url"))
            except TimeoutError:
                return GenerationError(self._sentence(f"no whole answer within {self.timeout:g} s"))
            except Exception as error:  # openai's, and whatever a question's text or a strange server leads to
                return GenerationError(self._sentence(error))
        self.tokens = (self.tokens[0] + used[0], self.tokens[1] + used[1])
        self.cut += cut
        secrets = self._secrets()
        return without_secrets(text, secrets) if any(secret in text for secret in secrets) else text

    def _sentence(self, error: Exception | str, remedy: str = "") -> str:
        """What went wrong, without the key, the address's password, or a whole page of HTML."""
        if isinstance(error, Exception):
            cause = f" {error.__cause__}" if error.__cause__ else ""
            error = str(error) if isinstance(error, _Unusable) else f"{type(error).__name__}: {error}{cause}"
        text = f"{self.client.base_url}: no answer from {self.model!r} ({error})"
        return shortened(without_secrets(text, self._secrets())) + (f". {remedy}." if remedy else "")

    def _secrets(self) -> set[str]:
        place = urlsplit(str(self.client.base_url))
        user, password = place.username or "", place.password or ""
        pair = f"{unquote(user)}:{unquote(password)}".encode()
        given = {password, unquote(password), base64.b64encode(pair).decode(), self.client.api_key}
        return {secret for secret in given if len(secret) > 4}

    def report(self) -> str:
        """Requests, rate, tokens, cut responses and, with a price, cost so far."""
        rate = self.requests / self.seconds if self.seconds else 0.0
        text = f"{self.requests} requests, {rate:.2f} a second, {self.tokens[0]} + {self.tokens[1]} tokens"
        if self.cut:
            text += f", {self.cut} responses cut at {self.max_new_tokens} tokens"
        if self.price:
            cost = sum(count * price for count, price in zip(self.tokens, self.price, strict=True)) / 1e6
            text += f", cost {cost:.2f}"
        return text


class _Refusal(GenerationError):
    """The server does not know the key or the model."""


class _Unusable(ValueError):
    """What the server sent is no answer."""


def read_answer(body: bytes) -> tuple[str, tuple[int, int], bool]:
    """(text, (prompt, completion) tokens, whether it was cut) of a chat completion as a server sends it.

    Raises:
        ValueError: there is no text in it; the message says what there is.
    """
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        start = shortened(body[:400].decode("utf-8", "replace"), 100)
        raise _Unusable(f"no JSON but {start!r}; base_url usually ends in /v1") from None
    if not isinstance(answer, dict):
        raise _Unusable(f"no object but {shortened(str(answer), 100)!r}")
    if answer.get("error"):
        raise _Unusable(f"the server reports: {answer['error']}")
    choices = answer.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(choice, dict) or not isinstance(message := choice.get("message"), dict):
        raise _Unusable(f"no choice with a message in {shortened(str(answer), 100)!r}")
    text, end = message.get("content"), choice.get("finish_reason")
    if isinstance(text, list):  # some servers send parts
        text = "".join(part["text"] for part in text if isinstance(part, dict) and isinstance(part.get("text"), str))
    if not isinstance(text, str) or not text.strip():
        raise _Unusable(f"the answer is empty; finish_reason {end!r}, refusal {message.get('refusal')!r}")
    if end == "content_filter":
        raise _Unusable("the server's content filter broke the answer off")
    usage = answer.get("usage")
    used = [usage.get(f"{what}_tokens") if isinstance(usage, dict) else 0 for what in ("prompt", "completion")]
    prompt, completion = (count if isinstance(count, int) else 0 for count in used)
    return text.strip(), (prompt, completion), end == "length"


def _bounded_client(seconds: float):
    """An HTTP client whose answers have a last moment and a largest size, however slowly or long a server sends."""
    import openai

    class Bounded(openai.DefaultAsyncHttpxClient):
        async def send(self, request, **options: Any):
            options["stream"] = True
            async with asyncio.timeout(seconds):
                response = await super().send(request, **options)
                body = bytearray()
                try:
                    async for part in response.aiter_bytes():
                        body += part
                        if len(body) > LARGEST_ANSWER:
                            raise _Unusable(f"an answer of more than {LARGEST_ANSWER} bytes")
                finally:
                    await response.aclose()
            sent = {name: value for name, value in response.headers.items() if name not in _OF_THE_BODY}
            return type(response)(response.status_code, headers=sent, content=bytes(body), request=request)

    return Bounded(follow_redirects=False)


_OF_THE_BODY = ("content-encoding", "content-length", "transfer-encoding")  # of the body as it travelled


def _as_url(picture: Image.Image) -> str:
    """A picture as a data URL, JPEG of high quality."""
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=92)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
