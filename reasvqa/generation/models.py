"""Real generators for phase 1: a model of transformers on this machine, or any OpenAI-compatible server.

Both take what `generate` hands them, samples and prompts, look at N frames of each clip and return a response each. `generate` keeps
every batch as soon as it is there, so a kill loses the batch in flight and a second call goes on after it.

    generate(samples, TransformersGenerator("OpenGVLab/InternVL3-8B-hf", samples.videos), path)
    generate(samples, OpenAIGenerator("internvl-26b", samples.videos, "http://localhost:8000/v1"), path)
"""

from __future__ import annotations

import base64
import io
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from reasvqa.samples import Sample
from reasvqa.video import VideoError, read_many


class GenerationError(RuntimeError):
    """A model or server cannot answer. The message says which, why and what to do."""


def frames_of(samples: Sequence[Sample], videos: Path, num_frames: int) -> list[list[Image.Image]]:
    """N pictures for each sample's clip, in order of time.

    Raises:
        VideoError: a clip cannot be read; it names the file. What was generated before is kept.
    """
    pictures = []
    for frames in read_many([(videos / sample.video, sample.clip) for sample in samples], num_frames):
        if isinstance(frames, VideoError):
            raise frames
        pictures.append([Image.fromarray(frame) for frame in np.asarray(frames)])
    return pictures


class TransformersGenerator:
    """Any image-text-to-text model of transformers: InternVL, LLaVA-OneVision, Qwen-VL, ...

    Deterministic (greedy), batched, in bf16 on a GPU and float32 elsewhere. Weights come from safetensors and no code of the
    checkpoint is run.
    """

    def __init__(
        self, model: str | Path, videos: Path, num_frames: int = 4, max_new_tokens: int = 512, name: str | None = None
    ):
        from transformers import AutoModelForImageTextToText, AutoProcessor

        self.name = name or Path(model).name
        self.videos, self.num_frames, self.max_new_tokens = videos, num_frames, max_new_tokens
        device = "cuda" if torch.cuda.is_available() else "cpu"
        dtype = torch.bfloat16 if device == "cuda" else torch.float32
        self.processor = AutoProcessor.from_pretrained(model)
        self.processor.tokenizer.padding_side = "left"  # what is generated has to follow the prompt, not its padding
        self.model = (
            AutoModelForImageTextToText.from_pretrained(model, dtype=dtype, use_safetensors=True).to(device).eval()
        )

    @torch.inference_mode()
    def __call__(self, samples: Sequence[Sample], prompts: Sequence[str]) -> list[str]:
        """A response for each sample, see `Generator`."""
        chats = []
        for pictures, prompt in zip(frames_of(samples, self.videos, self.num_frames), prompts, strict=True):
            content = [*({"type": "image", "image": picture} for picture in pictures), {"type": "text", "text": prompt}]
            chats.append([{"role": "user", "content": content}])
        inputs = self.processor.apply_chat_template(
            chats,
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            processor_kwargs={"padding": True},
        ).to(self.model.device, self.model.dtype)
        tokens = self.model.generate(**inputs, max_new_tokens=self.max_new_tokens, do_sample=False, num_beams=1)
        written = self.processor.batch_decode(tokens[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        return [text.strip() for text in written]


class OpenAIGenerator:
    """A model behind any OpenAI-compatible server: vLLM, LMDeploy, `transformers serve`, a hosted one.

    Frames travel as base64 JPEG. At most `concurrency` requests are in flight. The client of the `openai` package repeats what
    fails by time-out, 429 or 5xx, with growing pauses or as the server's Retry-After says. The key is read from the environment
    (OPENAI_API_KEY) and nowhere kept or shown; local servers need none.

    Attributes:
        tokens: (prompt, completion) tokens so far, as the server counts them.
        seconds: time spent waiting for the server.
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
            price: of a million prompt and a million completion tokens, for `report`.
            name: what the reasoning file calls the generator; default: the last part of `model`.
        """
        import openai

        self.name, self.model = name or model.rstrip("/").rsplit("/", 1)[-1], model
        self.videos, self.num_frames, self.max_new_tokens = videos, num_frames, max_new_tokens
        self.concurrency, self.price = concurrency, price
        self.tokens, self.seconds, self.requests = (0, 0), 0.0, 0
        key = os.environ.get("OPENAI_API_KEY") or ("none" if base_url else None)
        self.client = openai.OpenAI(api_key=key, base_url=base_url, timeout=timeout, max_retries=retries)

    def __call__(self, samples: Sequence[Sample], prompts: Sequence[str]) -> list[str]:
        """A response for each sample, in order.

        Raises:
            GenerationError: the server refuses or stays silent after all attempts.
        """
        pictures = frames_of(samples, self.videos, self.num_frames)
        began = time.monotonic()
        with ThreadPoolExecutor(self.concurrency) as pool:
            answers = list(pool.map(self._ask, pictures, prompts))
        self.seconds += time.monotonic() - began
        self.requests += len(answers)
        self.tokens = tuple(
            int(sum(column)) for column in zip(self.tokens, *(used for _, used in answers), strict=True)
        )
        return [text for text, _ in answers]

    def _ask(self, pictures: Sequence[Image.Image], prompt: str) -> tuple[str, tuple[int, int]]:
        import openai

        content = [
            *({"type": "image_url", "image_url": {"url": _as_url(picture)}} for picture in pictures),
            {"type": "text", "text": prompt},
        ]
        try:
            answer = self.client.chat.completions.create(
                model=self.model,
                messages=[{"role": "user", "content": content}],
                max_tokens=self.max_new_tokens,
                temperature=0.0,
            )
        except openai.OpenAIError as error:
            problem = f"{self.client.base_url}: no answer from {self.model!r} ({type(error).__name__}: {error})"
            raise GenerationError(f"{problem}. What came before is kept; call again to go on.") from error
        used = answer.usage
        return (answer.choices[0].message.content or "").strip(), (
            used.prompt_tokens,
            used.completion_tokens,
        ) if used else (0, 0)

    def report(self) -> str:
        """Requests, rate, tokens and, with a price, cost so far."""
        rate = self.requests / self.seconds if self.seconds else 0.0
        text = f"{self.requests} requests, {rate:.2f} a second, {self.tokens[0]} + {self.tokens[1]} tokens"
        if self.price:
            text += (
                f", cost {sum(count * price for count, price in zip(self.tokens, self.price, strict=True)) / 1e6:.2f}"
            )
        return text


def _as_url(picture: Image.Image) -> str:
    """A picture as a data URL, JPEG of high quality."""
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=92)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
