"""The student: BLIP-2 over several frames (paper, section 4.1).

A frozen ViT and Q-Former turn each frame into a few query vectors. A projection maps them into the language model's input
space; the frames stand in order of time in front of the text, and T5 reads all of it and writes an answer or a reasoning. The
frozen half ends at `see`, whose output can be cached; everything that is trained comes after it.

T5 has relative positions only, too coarse to count frames by, so each frame is numbered. Checkpoints of full size get the
number as text before the frame ("1:"), as SeViLA's code does. The miniature did not learn to use that; it is pretrained with
the number's embedding added to the frame's vectors (`"frame_numbers": "added"` in its config.json).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
import transformers
from torch import Tensor, nn
from transformers import AutoTokenizer, Blip2ForConditionalGeneration, PreTrainedTokenizerBase

STUDENTS = {
    "mini-blip2": Path(__file__).parents[2] / "data" / "mini" / "mini-blip2",
    "blip2-flan-t5-xl": "Salesforce/blip2-flan-t5-xl",
}
REASONING_START = "<extra_id_0>"  # a sentinel of T5's own vocabulary; answers start from T5's usual start token


@dataclass(frozen=True)
class Preprocess:
    """From decoded frames to pixel values, as the checkpoint's `preprocessor_config.json` asks for.

    torch does the resizing (bicubic, antialiased), so that torchvision is not needed.
    """

    size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __call__(self, frames: np.ndarray) -> Tensor:
        """uint8 (T, H, W, 3) RGB -> float32 (T, 3, size, size), normalised."""
        pixels = torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2).float() / 255
        pixels = F.interpolate(pixels, (self.size, self.size), mode="bicubic", antialias=True).clamp(0, 1)
        return (pixels - torch.tensor(self.mean).view(3, 1, 1)) / torch.tensor(self.std).view(3, 1, 1)


class Student(nn.Module):
    """A `Blip2ForConditionalGeneration` with a T5 language model, its tokenizer and its preprocessing.

    Shapes: B samples, N frames, Q queries a frame, E the Q-Former's width, L text tokens, D the language model's width,
    T target tokens, V the vocabulary.
    """

    def __init__(self, model: Blip2ForConditionalGeneration, tokenizer: PreTrainedTokenizerBase, preprocess: Preprocess):
        super().__init__()
        self.model = model
        self.tokenizer = tokenizer
        self.preprocess = preprocess
        self.numbers_added = getattr(model.config, "frame_numbers", "before") == "added"
        self.answer_start: int = model.config.text_config.decoder_start_token_id
        self.reasoning_start: int = tokenizer.convert_tokens_to_ids(REASONING_START)

    @torch.no_grad()
    def see(self, frames: np.ndarray) -> Tensor:
        """The frozen half: uint8 (T, H, W, 3) frames -> Q-Former outputs (T, Q, E)."""
        pixels = self.preprocess(frames).to(self.model.device, self.model.dtype)
        return self.model.get_image_features(pixels).qformer_outputs.last_hidden_state

    def encode(self, features: Tensor, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Reads video and text once: features (B, N, Q, E), input_ids and attention_mask (B, L).

        Returns the encoder's states (B, S, D) and their mask (B, S), where S counts the visual tokens and the L text tokens. Both losses decode from them.
        """
        text = self.model.language_model.get_input_embeddings()(input_ids)
        embeds = torch.cat([self.visual_tokens(features), text.to(self.model.dtype)], dim=1)
        mask = F.pad(attention_mask, (embeds.shape[1] - input_ids.shape[1], 0), value=1)
        return self.model.language_model.encoder(inputs_embeds=embeds, attention_mask=mask).last_hidden_state, mask

    def visual_tokens(self, features: Tensor) -> Tensor:
        """What T5 reads of the frames: projected queries with the frames' numbers, (B, S - L, D), from features (B, N, Q, E)."""
        visual = self.model.language_projection(features.to(self.model.dtype))
        parts = [visual.flatten(1, 2)[:, :0]]  # without frames: no tokens
        for t in range(features.shape[1]):
            ids = self.tokenizer(f"{t + 1}" if self.numbers_added else f"{t + 1}:", add_special_tokens=False, return_tensors="pt").input_ids
            number = self.model.language_model.get_input_embeddings()(ids.to(features.device)).to(visual.dtype)
            parts += [visual[:, t] + number.mean(1)] if self.numbers_added else [number.expand(len(visual), -1, -1), visual[:, t]]
        return torch.cat(parts, dim=1)

    def decode(self, states: Tensor, mask: Tensor, decoder_input_ids: Tensor) -> Tensor:
        """Logits (B, T, V) of a decoder that is fed `decoder_input_ids` (B, T), start token first."""
        return self.model.language_model(
            encoder_outputs=(states,), attention_mask=mask, decoder_input_ids=decoder_input_ids, use_cache=False
        ).logits

    @torch.no_grad()
    def write(self, states: Tensor, mask: Tensor, start: int, max_new_tokens: int = 128) -> list[str]:
        """Greedy text for each encoded sample, from the given decoder start token."""
        from transformers.modeling_outputs import BaseModelOutput

        tokens = self.model.language_model.generate(
            encoder_outputs=BaseModelOutput(last_hidden_state=states),
            attention_mask=mask,
            decoder_start_token_id=start,
            max_new_tokens=max_new_tokens,
            do_sample=False,
            num_beams=1,
        )
        return [text.strip() for text in self.tokenizer.batch_decode(tokens, skip_special_tokens=True)]


def load_student(name: str) -> Student:
    """A student by its short name, hub id or local path, in float32.

    Weights are read from safetensors only and no code of the checkpoint is run.

    Raises:
        FileNotFoundError: the name is neither known nor a local path, and no such checkpoint is in the hub's local cache.
        ValueError: the checkpoint is not a BLIP-2 with an encoder-decoder language model.
    """
    source = str(STUDENTS.get(name, name))
    transformers.logging.disable_progress_bar()  # a bar for reading a few megabytes only litters a notebook
    try:
        model = Blip2ForConditionalGeneration.from_pretrained(source, dtype=torch.float32, use_safetensors=True)
        tokenizer = AutoTokenizer.from_pretrained(source)
    except OSError as error:
        known = ", ".join(STUDENTS)
        raise FileNotFoundError(f"student {name!r}: no checkpoint at {source!r}. Known names: {known}; a local path works too. ({error})") from error
    if not model.config.text_config.is_encoder_decoder:
        raise ValueError(f"student {name!r}: its language model is {model.config.text_config.model_type}, but this student needs T5")
    return Student(model, tokenizer, read_preprocess(source))


def read_preprocess(source: str) -> Preprocess:
    """The checkpoint's image size, mean and standard deviation, from its `preprocessor_config.json`."""
    from transformers.utils import cached_file

    config = json.loads(Path(cached_file(source, "preprocessor_config.json")).read_text())
    size = config["size"].get("height") or config["size"]["shortest_edge"]
    return Preprocess(size, tuple(config["image_mean"]), tuple(config["image_std"]))
