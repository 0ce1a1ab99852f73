"""Run real generators for phase 1: a transformers model on this machine, or any OpenAI-compatible server.

Both show N = 4 frames of each clip to the model and return a response per sample, or the error in its place.

    generate(samples, TransformersGenerator("OpenGVLab/InternVL3-8B-hf", samples.videos), path)
    generate(samples, OpenAIGenerator("internvl-26b", samples.videos, "http://localhost:8000/v1"), path)
"""

import asyncio
import base64
import inspect
import io
import ipaddress
import json
import os
import re
import sys
import time
import warnings
from collections.abc import Sequence
from contextlib import suppress
from fnmatch import fnmatch
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies

import torch
from PIL import Image

from reasvqa import hub
from reasvqa.generation.run import GenerationError, shortened, without_secrets
from reasvqa.samples import Sample
from reasvqa.video import VideoError, read_many

MAX_NEW_TOKENS = 512  # of a response; a detailed one takes 150 to 400
MAX_ANSWER_BYTES = 16 * 2**20  # of a server's answer; a response takes a few kB
CONNECT_WITHIN_S = 10
JPEG_QUALITY = 92
# Fields, and types of parts, in which servers put the thoughts of a reasoning model.
THOUGHT_FIELDS = tuple("reasoning_content reasoning thinking reasoning_details thinking_blocks reasoning_text".split())
_KEY_REMEDY = "Check OPENAI_API_KEY, the model's name, and base_url"
_FIELDS_REMEDY = (
    "If the server refuses a field, change it in OpenAIGenerator(request=...): {'temperature': None} omits the "
    "temperature, {'max_completion_tokens': 4096} replaces max_tokens, {'enable_thinking': False} adds a field. If the "
    "limit of tokens is too large, give a smaller max_new_tokens"
)
_IMAGES_REMEDY = "Choose a model that accepts four images, and let the server pass them (vLLM: --limit-mm-per-prompt)"
# As servers name the fields.
_FIELDS = re.compile(r"temperature|max[ _]?\w*tokens|sampling parameter|thinking|context length", re.IGNORECASE)
_IMAGES = re.compile(r"\bimages?\b|image_url", re.IGNORECASE)
_OF_PROXIES = (403, 407, 502, 503)  # statuses that may come from a proxy, not from the server
_CUT = "{0.name}: responses are cut after {0.max_new_tokens} tokens and may miss their answer; raise max_new_tokens"


def frames_of(samples: Sequence[Sample], videos: Path) -> list[list[Image.Image] | VideoError]:
    """Return N = 4 pictures per sample, in order of time, or a VideoError for a clip that cannot be read."""
    read = read_many([(videos / sample.video, sample.clip) for sample in samples])
    return [clip if isinstance(clip, VideoError) else [Image.fromarray(frame) for frame in clip] for clip in read]


class TransformersGenerator:
    """Any image-text-to-text model of transformers: InternVL, LLaVA-OneVision, Qwen-VL, ...

    It decodes greedily and in batches, in bfloat16 on a GPU and in float32 elsewhere. Weights come only from
    safetensors; no code of the checkpoint runs. `cut`: how many responses were cut at `max_new_tokens` so far.
    """

    def __init__(self, model: str | Path, videos: Path, max_new_tokens: int = MAX_NEW_TOKENS):
        """Load `model`, a local folder or a hub id; its last part becomes the generator's name.

        Raises:
            GenerationError: the model cannot be found, or its files are damaged or incomplete.
        """
        from transformers import AutoModelForImageTextToText

        self.name = Path(model).name
        self.videos, self.max_new_tokens, self.cut = Path(videos), max_new_tokens, 0
        device, dtype = ("cuda", torch.bfloat16) if torch.cuda.is_available() else ("cpu", torch.float32)

        def load(local_only: bool) -> tuple[Any, Any]:
            processor = _processor(model, local_only)
            hub.check_tokenizer(processor.tokenizer, str(model))
            where: Any = {"local_files_only": local_only, "dtype": dtype, "use_safetensors": True}
            where["adapter_kwargs"] = {"local_files_only": local_only}  # otherwise it looks for an adapter on the hub
            loaded: Any = AutoModelForImageTextToText.from_pretrained(model, **where)
            return processor, loaded.to(device).eval()

        try:
            self.processor, self.model = hub.local_first(model, load)
        except (OSError, ValueError) as error:
            raise GenerationError(
                f"{model}: cannot be loaded: {shortened(str(error))}. Give a local folder, or a hub id and a network."
            ) from None
        self.processor.tokenizer.padding_side = "left"  # the response follows the prompt, not its padding
        # Show each frame whole. Some processors cut pictures into parts, but never the frames of a video.
        pictures = self.processor.image_processor
        self._whole = {name: False for name in ("do_image_splitting", "crop_to_patches") if hasattr(pictures, name)}

    @torch.inference_mode()
    def __call__(self, samples: Sequence[Sample], prompts: Sequence[str]) -> list[str | VideoError]:
        """Return a response for each sample, see `Generator`."""
        seen = frames_of(samples, self.videos)
        chats = [
            _chat([{"type": "image", "image": picture} for picture in pictures], prompt)
            for pictures, prompt in zip(seen, prompts, strict=True)
            if not isinstance(pictures, VideoError)
        ]
        written = iter(self._write(chats) if chats else ())
        return [pictures if isinstance(pictures, VideoError) else next(written) for pictures in seen]

    def _write(self, chats: list) -> list[str]:
        options = {"tokenize": True, "return_dict": True, "return_tensors": "pt"}
        inputs = self.processor.apply_chat_template(
            chats, add_generation_prompt=True, processor_kwargs={"padding": True, **self._whole}, **options
        ).to(self.model.device, self.model.dtype)
        tokens = self.model.generate(**inputs, max_new_tokens=self.max_new_tokens, do_sample=False, num_beams=1)
        tokens = tokens[:, inputs["input_ids"].shape[1] :]
        if tokens.shape[1] == self.max_new_tokens:
            ends = self.model.generation_config.eos_token_id
            ends = torch.tensor([*(ends if isinstance(ends, list) else [ends]), self.processor.tokenizer.pad_token_id])
            if cut := int((~torch.isin(tokens[:, -1].cpu(), ends)).sum()):
                self.cut += cut
                warnings.warn(_CUT.format(self), stacklevel=3)
        return [text.strip() for text in self.processor.batch_decode(tokens, skip_special_tokens=True)]


def _processor(model: str | Path, local_only: bool) -> Any:
    """Load the checkpoint's processor; without torchvision, which some builds of torch lack, omit its video part."""
    from transformers import AutoConfig, AutoImageProcessor, AutoProcessor, AutoTokenizer
    from transformers.models.auto.processing_auto import PROCESSOR_MAPPING
    from transformers.utils.import_utils import is_torchvision_available

    where: Any = {"local_files_only": local_only}
    try:
        return AutoProcessor.from_pretrained(model, **where)
    except (ImportError, ValueError):
        kind: Any = PROCESSOR_MAPPING.get(type(AutoConfig.from_pretrained(model, **where)), None)
        if kind is None or is_torchvision_available() or "video_processor" not in kind.get_attributes():
            raise

    class PictureProcessor(kind):
        def check_argument_for_proper_class(self, argument_name, argument):
            pass  # it would ask for torchvision

    module: Any = sys.modules[kind.__module__]
    if getattr(module, "num2words", str) is None:
        module.num2words = str  # SmolVLM's processor insists on this package, for the number of a video's frames
    loaders = {"tokenizer": AutoTokenizer, "image_processor": AutoImageProcessor}
    parts: dict[str, Any] = {name: loader.from_pretrained(model, **where) for name, loader in loaders.items()}
    parts["video_processor"] = SimpleNamespace(num_frames=None, fps=None)
    found, _ = kind.get_processor_dict(model, **where)
    names = inspect.signature(kind).parameters.keys() & found.keys() - parts.keys()
    return PictureProcessor(*[parts[name] for name in kind.get_attributes()], **{name: found[name] for name in names})


def _chat(pictures: list[dict], prompt: str) -> list[dict]:
    return [{"role": "user", "content": [*pictures, {"type": "text", "text": prompt}]}]


class OpenAIGenerator:
    """A model behind any OpenAI-compatible server: vLLM, LMDeploy, `transformers serve`, a hosted one.

    Frames travel as base64 JPEG. The `openai` client repeats requests that fail. The key comes from OPENAI_API_KEY and
    is kept nowhere else; local servers need none. An interrupt ends the requests in flight.

    Totals so far: `tokens`, (prompt, completion), as the server counts them; `seconds` spent waiting for the server;
    `requests`, the questions asked; `cut`, the responses cut at the token limit.
    """

    def __init__(
        self,
        model: str,
        videos: Path,
        base_url: str | None = None,
        max_new_tokens: int = MAX_NEW_TOKENS,
        concurrency: int = 16,
        timeout: float = 300,
        retries: int = 8,
        request: dict[str, Any] | None = None,
    ):
        """Check the address, the key and the proxy; nothing is sent yet.

        Args:
            model: the server's name for the model; its last part becomes the generator's name.
            base_url: the server's address, ending in /v1; None: OPENAI_BASE_URL, or OpenAI's own.
            max_new_tokens: the token limit of a response.
            concurrency: requests in flight at a time.
            timeout: seconds that a request may take; a question with all repetitions may take (retries + 1) times that.
            request: other fields of each request, for servers that refuse ours or need more; None omits a field.
                {"max_completion_tokens": 4096} replaces max_tokens, {"temperature": None} omits temperature 0.

        Raises:
            GenerationError: the address is invalid, a key or `openai` is missing, or the proxy cannot be used.
        """
        try:
            import openai
        except ImportError:
            raise GenerationError("a served model needs the package openai: pip install 'reasvqa[served]'") from None

        self.name, self.model = model.rstrip("/").rsplit("/", 1)[-1], model
        if min(concurrency, retries + 1, timeout) <= 0:
            raise GenerationError("concurrency and timeout must be above 0, retries at least 0")
        self.videos, self.concurrency, self.timeout = Path(videos), concurrency, timeout
        self.tokens, self.seconds, self.requests, self.cut = (0, 0), 0.0, 0, 0
        limit = {"max_tokens": max_new_tokens} if "max_completion_tokens" not in (request or {}) else {}
        fields = {**limit, "temperature": 0.0, **(request or {})}
        self.request = {name: value for name, value in fields.items() if value is not None}
        self.max_new_tokens: Any = self.request.get("max_completion_tokens") or self.request.get("max_tokens")
        address = base_url or os.environ.get("OPENAI_BASE_URL") or "https://api.openai.com/v1"
        try:
            place = urlsplit(address)
            valid = place.scheme in ("http", "https") and place.hostname and place.port != 0
        except ValueError:  # of the port
            valid = False
        if not valid:
            raise GenerationError(f"base_url={address!r}: not an address such as http://localhost:8000/v1")
        key = os.environ.get("OPENAI_API_KEY", "").strip() or ("none" if base_url else "")
        if not key:
            raise GenerationError(f"{address} wants a key: set OPENAI_API_KEY. For a server of your own give base_url.")
        self.proxy = _proxy_for(address)[1]
        limits = openai.Timeout(timeout, connect=min(timeout, CONNECT_WITHIN_S))
        self.client = openai.AsyncOpenAI(
            api_key=key, base_url=address, timeout=limits, max_retries=retries, http_client=_http_client(address)
        )

    def __call__(self, samples: Sequence[Sample], prompts: Sequence[str]) -> list[str | Exception]:
        """Return a response for each sample, in order, or the error that prevented it.

        Raises:
            GenerationError: the server refuses every question because of the key, the model or a field of the request.
        """
        from anyio.from_thread import start_blocking_portal  # openai requires anyio

        pictures = frames_of(samples, self.videos)
        began = time.monotonic()
        with start_blocking_portal() as portal:  # an event loop in its own thread: notebooks already run one in theirs
            answers = portal.call(self._ask_all, pictures, prompts)
        self.seconds += time.monotonic() - began
        refusals = [answer for answer in answers if isinstance(answer, _Refusal)]
        if refusals and len(refusals) == len(answers):
            raise refusals[0]
        if self.cut:
            warnings.warn(_CUT.format(self), stacklevel=2)
        return answers

    async def _ask_all(self, seen: Sequence, prompts: Sequence[str]) -> list[str | Exception]:
        gate = asyncio.Semaphore(self.concurrency)
        async with _http_client(str(self.client.base_url)) as http:  # connections belong to one event loop
            client = self.client.copy(http_client=http)
            return await asyncio.gather(*(self._ask(client, gate, *ask) for ask in zip(seen, prompts, strict=True)))

    async def _ask(self, client: Any, gate: asyncio.Semaphore, pictures: Any, prompt: str) -> str | Exception:
        import openai

        if isinstance(pictures, VideoError):
            return pictures
        images = [{"type": "image_url", "image_url": {"url": _as_url(picture)}} for picture in pictures]
        limit, body = self.timeout * (client.max_retries + 1), bytearray()
        chat = client.chat.completions.with_streaming_response
        async with gate:
            self.requests += 1
            try:
                ask = chat.create(model=self.model, messages=_chat(images, prompt), extra_body=self.request)
                async with asyncio.timeout(limit), ask as answer:
                    async for chunk in answer.iter_bytes():
                        body += chunk
                        if len(body) > MAX_ANSWER_BYTES:
                            raise ValueError(f"an answer of more than {MAX_ANSWER_BYTES} bytes")
                text, used, cut = read_answer(bytes(body))
            except (TimeoutError, openai.APITimeoutError):
                return GenerationError(self._sentence(ValueError(f"no whole answer within {limit:g} s")))
            except Exception as error:  # openai's, and whatever a question's text or a strange server causes
                remedy = self._remedy(error)
                kind = _Refusal if remedy in (_KEY_REMEDY, _FIELDS_REMEDY) else GenerationError
                return kind(self._sentence(error, remedy))
        self.tokens = (self.tokens[0] + used[0], self.tokens[1] + used[1])
        self.cut += cut
        secrets = self._secrets()
        return without_secrets(text, secrets) if any(secret in text for secret in secrets) else text

    def _remedy(self, error: Exception) -> str:
        """Return what to do about a server's refusal; "" for other errors."""
        import openai

        said, status = str(getattr(error, "body", "")), getattr(error, "status_code", 500)
        said = f"{error} {said}" if status < 500 and status != 429 and not said.startswith("<") else ""
        if _FIELDS.search(said) or any(name in said for name in self.request):
            return _FIELDS_REMEDY
        if _IMAGES.search(said):
            return _IMAGES_REMEDY
        refused = (openai.AuthenticationError, openai.PermissionDeniedError, openai.NotFoundError)
        return _KEY_REMEDY if isinstance(error, refused) else ""

    def _sentence(self, error: Exception, remedy: str = "") -> str:
        """Return what went wrong, without the key, the address's password, or a whole page of HTML."""
        cause = f" {error.__cause__}" if error.__cause__ else ""
        body = str(getattr(error, "body", None) or "")
        if " - " not in str(error) and body and not body.startswith("<"):  # openai shows one form of messages only
            cause += f" - {body}"
        problem = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}{cause}"
        reached = type(error).__name__ != "APIConnectionError" and getattr(error, "status_code", 0) not in _OF_PROXIES
        through = "" if reached or not self.proxy else f" through {self.proxy}"
        text = f"{self.client.base_url}: no answer from {self.model!r}{through} ({problem})"
        return shortened(without_secrets(text, self._secrets())) + (f". {remedy}." if remedy else "")

    def _secrets(self) -> set[str]:
        password = urlsplit(str(self.client.base_url)).password or ""
        return {secret for secret in (password, unquote(password), self.client.api_key) if len(secret) > 4}

    def report(self) -> str:
        """Return requests, rate, tokens and cut responses so far, as a line of text."""
        rate = self.requests / self.seconds if self.seconds else 0.0
        text = f"{self.requests} requests, {rate:.2f} a second, {self.tokens[0]} + {self.tokens[1]} tokens"
        return text + (f", {self.cut} responses cut at {self.max_new_tokens} tokens" if self.cut else "")


class _Refusal(GenerationError):
    """The server refuses the key, the model or a field of the request."""


def read_answer(body: bytes) -> tuple[str, tuple[int, int], bool]:
    """Read a chat completion. Return its text, its (prompt, completion) tokens, and whether it was cut.

    A server with a reasoning parser sends the explanation beside the answer. The text then begins with the explanation,
    as <think>explanation</think>. If the parser took the whole response for a thought, the thought is the text. Raise
    ValueError if there is no text; the message says what there is instead.
    """
    try:
        answer = json.loads(body)
        if answer.get("error"):
            raise ValueError
        choice, usage = answer["choices"][0], answer.get("usage")
        message, end = dict(choice["message"]), choice.get("finish_reason")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):  # whatever a strange server sends
        start = " ".join(body[:2000].decode("utf-8", "replace").split())
        raise ValueError(f"no chat completion (base_url usually ends in /v1) but {start!r}") from None
    if end == "content_filter":
        raise ValueError("the server's content filter broke the answer off")
    text = _text_and_thought(message, cut=end == "length")
    if not text:
        others = [name for name in message if name not in ("role", "content") and _text_in(message[name]).strip()]
        where = f"; there is text in {', '.join(others)}" if others else ""
        where += ", cut before the answer: raise max_new_tokens" if others and end == "length" else ""
        raise ValueError(f"the answer is empty; finish_reason {end!r}, refusal {message.get('refusal')!r}{where}")
    used = [usage.get(f"{what}_tokens") if isinstance(usage, dict) else 0 for what in ("prompt", "completion")]
    prompt, completion = (count if isinstance(count, int) else 0 for count in used)
    return text, (prompt, completion), end == "length"


def _text_and_thought(message: dict, cut: bool) -> str:
    content = message.get("content")
    parts = content if isinstance(content, list) else [content]
    thoughts = [part for part in parts if isinstance(part, dict) and part.get("type") in THOUGHT_FIELDS]
    text = re.sub(r"<think>\s*</think>", "", _text_in([part for part in parts if part not in thoughts])).strip()
    found = (_text_in(value) for value in (thoughts, *map(message.get, THOUGHT_FIELDS)))
    thought = next((bare for value in found if (bare := re.sub(r"</?think>", "", value).strip())), "")
    if not text:
        return "" if cut else thought
    return text if not thought or thought in text or "<think>" in text else f"<think>{thought}</think>\n{text}"


def _text_in(value: object) -> str:
    """Return the text of a field that holds a string, or parts such as {"type": "text", "text": "..."}."""
    if isinstance(value, list):
        return "".join(map(_text_in, value))
    if isinstance(value, dict):
        return next(filter(None, map(_text_in, map(value.get, ("text", "summary", "content", *THOUGHT_FIELDS)))), "")
    return value if isinstance(value, str) else ""


def _as_url(picture: Image.Image) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=JPEG_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def _proxy_for(address: str) -> tuple[str | None, str]:
    """Return the proxy that the environment sets for a server, and its setting without the password; None, "" without
    a proxy. httpx would open all proxies, also those for other servers, and fail if one of them cannot be used."""
    place, proxies = urlsplit(address), getproxies()
    port = place.port or {"http": 80, "https": 443}[place.scheme]
    proxy = proxies.get(place.scheme) or proxies.get("all")
    if not proxy or _goes_direct(place.hostname or "", port, proxies.get("no", "")):
        return None, ""
    variables = [name for name, value in os.environ.items() if value == proxy and name.lower().endswith("_proxy")]
    setting = f"{' and '.join(variables) or 'the proxy of the system'}={re.sub('//.*@', '//[secret]@', proxy)}"
    return proxy if "://" in proxy else f"http://{proxy}", setting


def _http_client(address: str) -> Any:
    """Return the openai package's HTTP client. Raise a GenerationError if the proxy or the certificates, which it
    names, cannot be used."""
    import httpx
    import openai

    proxy, setting = _proxy_for(address)
    try:
        trusted = httpx.create_ssl_context()
    except OSError as error:
        raise GenerationError(f"SSL_CERT_FILE or SSL_CERT_DIR: no certificates can be read ({error})") from None
    try:
        return openai.DefaultAsyncHttpxClient(follow_redirects=False, proxy=proxy, trust_env=False, verify=trusted)
    except Exception as error:
        raise GenerationError(
            f"{setting}: {address} cannot be reached through this proxy ({error}). Unset it, add "
            f"{urlsplit(address).hostname} to NO_PROXY, or give a proxy that the openai package can use: "
            "http://HOST:PORT, or socks5://HOST:PORT after pip install socksio."
        ) from None


def _goes_direct(host: str, port: int, no_proxy: str) -> bool:
    """Tell whether NO_PROXY covers a server: by name or a parent's name, address, network, or with "*"."""
    for rule in re.split(r"[,\s]+", no_proxy.lower()):
        name = rule.rpartition("://")[2].removesuffix(f":{port}").strip("[]").rstrip(".")
        with suppress(ValueError):
            if ipaddress.ip_address(host) in ipaddress.ip_network(name, strict=False):
                return True
        parent = name.lstrip("*.")
        if rule == "*" or (parent and f".{host}".endswith(f".{parent}")) or fnmatch(host, name):
            return True
    return False
