"""The students: BLIP-2 and LLaVA-OneVision over several frames (paper, sections 4.1 and 4.2).

Each has a frozen half, from pixels to visual features, whose output can be cached, and a trained half: a projection into the
language model's space and LoRA in that model. The trained half works in two steps, so that one reading of video and question
serves several targets: `encode` reads, `decode` continues the reading with any number of targets, which do not see each other.

    Blip2Student   ViT + Q-Former | projection, T5 encoder | T5 decoder, once per group of targets
    LlavaStudent   vision tower | projector | Qwen2: [video, question | target | target ...] in one sequence
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
import transformers
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoTokenizer,
    Blip2ForConditionalGeneration,
    LlavaOnevisionForConditionalGeneration,
    PreTrainedTokenizerBase,
)
from transformers.modeling_outputs import BaseModelOutput

from reasvqa.preprocess import Preprocess

_MINI = Path(__file__).parents[2] / "data" / "mini"
STUDENTS = {
    "mini-blip2": _MINI / "mini-blip2",
    "mini-llava-ov-small": _MINI / "mini-llava-ov-small",
    "mini-llava-ov": _MINI / "mini-llava-ov",
    "blip2-flan-t5-xl": "Salesforce/blip2-flan-t5-xl",
    "llava-ov-0.5b": "llava-hf/llava-onevision-qwen2-0.5b-ov-hf",
    "llava-ov-7b": "llava-hf/llava-onevision-qwen2-7b-ov-hf",
}
# Decoder inputs and the rows of the batch they belong to: long (M, T), start token first, padded on the right; long (M,).
Targets = tuple[Tensor, Tensor]


def _in_own_precision(method: Callable) -> Callable:
    """A student loaded in bfloat16 computes in it, though its trained weights are in float32."""

    @wraps(method)
    def wrapped(self, *args, **kwargs):
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.dtype == torch.bfloat16):
            return method(self, *args, **kwargs)

    return wrapped


class Student(nn.Module):
    """What both families share: a model of transformers, its tokenizer and its preprocessing.

    Shapes: B samples, N frames, Q features a frame, E their width, L text tokens, S what is read in all, D the language model's
    width, M targets, T target tokens, V the vocabulary.

    Attributes:
        feature_shape: (Q, E).
        answer_start, reasoning_start: ids of the tokens from which an answer and a reasoning are written. They differ, or the
            two would compete for the first step.
        language_model: where LoRA goes, into the linear layers named `linears`.
        projection: the module that is trained whole.
        eyes: names of the model's modules that make up the frozen half.
    """

    linears: tuple[str, ...]
    eyes: tuple[str, ...]
    feature_shape: tuple[int, int]
    answer_start: int
    reasoning_start: int
    language_model: nn.Module
    projection: nn.Module

    def __init__(self, model: transformers.PreTrainedModel, tokenizer: PreTrainedTokenizerBase, preprocess: Preprocess):
        super().__init__()
        self.model = model
        self.tokenizer = tokenizer
        self.preprocess = preprocess

    @property
    def dtype(self) -> torch.dtype:
        """Of the frozen weights."""
        return self.language_model.get_input_embeddings().weight.dtype

    @property
    def device(self) -> torch.device:
        """Where video and question are read."""
        return self.language_model.get_input_embeddings().weight.device

    @torch.no_grad()
    def see(self, clips: Sequence[np.ndarray]) -> Tensor:
        """The frozen half: B clips of uint8 (N, H, W, 3) frames -> features (B, N, Q, E)."""
        pixels = torch.cat([self.preprocess(frames) for frames in clips])
        place = next(self.model.get_submodule(self.eyes[0]).parameters())
        features = self.vision(pixels.to(place.device, self.dtype))
        return features.to(self.dtype).unflatten(0, (len(clips), -1))

    def move_eyes(self, device: torch.device) -> None:
        """The frozen half to a device."""
        for name in self.eyes:
            self.model.get_submodule(name).to(device)

    def without_eyes(self, device: torch.device) -> Student:
        """Forgets the frozen half, of which the features are all that is needed, and moves the rest to a device."""
        for name in self.eyes:
            parent, _, child = name.rpartition(".")
            setattr(self.model.get_submodule(parent), child, None)
        return self.to(device)

    def vision(self, pixels: Tensor) -> Tensor:
        """Normalised pixels (T, 3, H, W) -> features (T, Q, E), with gradients."""
        raise NotImplementedError

    def encode(self, features: Tensor, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Reads video and text once: features (B, N, Q, E), input_ids and attention_mask (B, L).

        Returns what was read (B, S, D) and its mask (B, S). All targets are decoded from them.
        """
        raise NotImplementedError

    def decode(self, states: Tensor, mask: Tensor, targets: Sequence[Targets]) -> list[Tensor]:
        """Logits (M, T, V) for each group of targets, each target after its own row of what was read."""
        raise NotImplementedError

    def write(self, states: Tensor, mask: Tensor, start: int, max_new_tokens: int = 128) -> list[str]:
        """Greedy text for each sample read, from the given start token."""
        raise NotImplementedError

    def source_ids(self, texts: Sequence[str], max_length: int) -> list[list[int]]:
        """Token ids of what is read, as the family wants its prompts."""
        return self.tokenizer(list(texts), truncation=True, max_length=max_length).input_ids if texts else []

    def target_ids(self, texts: Sequence[str], max_length: int) -> list[list[int]]:
        """Token ids of what is to be written, with the end-of-text token."""
        return self.tokenizer(list(texts), truncation=True, max_length=max_length).input_ids if texts else []


class Blip2Student(Student):
    """A `Blip2ForConditionalGeneration` with a T5 language model.

    The frames stand in order of time in front of the text. T5 has relative positions only, too coarse to count frames by, so
    each frame is numbered. Checkpoints of full size get the number as text before the frame ("1:"), as SeViLA's code does. The
    miniature did not learn to use that; it is pretrained with the number's embedding added to the frame's vectors
    (`"frame_numbers": "added"` in its config.json).
    """

    linears = ("q", "k", "v", "o", "wi", "wi_0", "wi_1", "wo")
    eyes = ("vision_model", "qformer")

    def __init__(
        self, model: Blip2ForConditionalGeneration, tokenizer: PreTrainedTokenizerBase, preprocess: Preprocess
    ):
        super().__init__(model, tokenizer, preprocess)
        self.numbers_added = getattr(model.config, "frame_numbers", "before") == "added"
        self.feature_shape = model.config.num_query_tokens, model.config.qformer_config.hidden_size
        self.answer_start = model.config.text_config.decoder_start_token_id
        self.reasoning_start = tokenizer.convert_tokens_to_ids("<extra_id_0>")  # a sentinel of T5's own vocabulary

    @property
    def language_model(self) -> nn.Module:
        return self.model.language_model

    @property
    def projection(self) -> nn.Module:
        return self.model.language_projection

    def vision(self, pixels: Tensor) -> Tensor:
        """The Q-Former's outputs, see `Student.vision`. The library keeps the Q-Former in float32."""
        queries = self.model.query_tokens.to(pixels.device).expand(len(pixels), -1, -1)
        patches = self.model.vision_model(pixels).last_hidden_state
        return self.model.qformer(
            query_embeds=queries, encoder_hidden_states=patches.to(queries.dtype)
        ).last_hidden_state

    @_in_own_precision
    def encode(self, features: Tensor, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        """The states of T5's encoder, see `Student.encode`."""
        text = self.language_model.get_input_embeddings()(input_ids)
        embeds = torch.cat([self.visual_tokens(features), text.to(self.dtype)], dim=1)
        mask = F.pad(attention_mask, (embeds.shape[1] - input_ids.shape[1], 0), value=1)
        return self.language_model.encoder(inputs_embeds=embeds, attention_mask=mask).last_hidden_state, mask

    def visual_tokens(self, features: Tensor) -> Tensor:
        """What T5 reads of the frames: projected queries with the frames' numbers, (B, S - L, D), from features (B, N, Q, E)."""
        visual = self.projection(features.to(self.dtype))
        parts = [visual.flatten(1, 2)[:, :0]]  # without frames: no tokens
        for t in range(features.shape[1]):
            ids = self.tokenizer(
                f"{t + 1}" if self.numbers_added else f"{t + 1}:", add_special_tokens=False, return_tensors="pt"
            ).input_ids
            number = self.language_model.get_input_embeddings()(ids.to(features.device)).to(visual.dtype)
            parts += (
                [visual[:, t] + number.mean(1)]
                if self.numbers_added
                else [number.expand(len(visual), -1, -1), visual[:, t]]
            )
        return torch.cat(parts, dim=1)

    @_in_own_precision
    def decode(self, states: Tensor, mask: Tensor, targets: Sequence[Targets]) -> list[Tensor]:
        """One pass of T5's decoder for each group, see `Student.decode`."""
        return [
            self.language_model(
                encoder_outputs=(states[rows],), attention_mask=mask[rows], decoder_input_ids=ids, use_cache=False
            ).logits
            for ids, rows in targets
        ]

    @torch.no_grad()
    @_in_own_precision
    def write(self, states: Tensor, mask: Tensor, start: int, max_new_tokens: int = 128) -> list[str]:
        """See `Student.write`."""
        tokens = self.language_model.generate(
            encoder_outputs=BaseModelOutput(last_hidden_state=states),
            attention_mask=mask,
            decoder_start_token_id=start,
            max_new_tokens=max_new_tokens,
            do_sample=False,
            num_beams=1,
        )
        return [text.strip() for text in self.tokenizer.batch_decode(tokens, skip_special_tokens=True)]


class LlavaStudent(Student):
    """A `LlavaOnevisionForConditionalGeneration`: one decoder reads video and question and writes on.

    Its prompt is the checkpoint's chat template, the video where the template puts it: projected, pooled 2 x 2, a newline vector
    at the end. What the vision tower gives is cached; projector and pooling come after, since the projector is trained.
    """

    linears = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    eyes = ("model.vision_tower",)

    def __init__(
        self, model: LlavaOnevisionForConditionalGeneration, tokenizer: PreTrainedTokenizerBase, preprocess: Preprocess
    ):
        super().__init__(model, tokenizer, preprocess)
        vision = model.config.vision_config
        layers = model.config.vision_feature_layer
        self.layers = [layers] if isinstance(layers, int) else list(layers)
        self.feature_shape = (vision.image_size // vision.patch_size) ** 2, vision.hidden_size * len(self.layers)
        self.video_token: int = model.config.video_token_index
        self.answer_start, self.reasoning_start = (
            _token(tokenizer, *words) for words in (("<answer>", "Answer"), ("<reasoning>", "Reason"))
        )

    @property
    def language_model(self) -> nn.Module:
        return self.model.model.language_model

    @property
    def projection(self) -> nn.Module:
        return self.model.model.multi_modal_projector

    def vision(self, pixels: Tensor) -> Tensor:
        """The vision tower's patches, see `Student.vision`."""
        hidden = self.model.model.vision_tower(pixels, output_hidden_states=True).hidden_states
        patches = torch.cat([hidden[layer] for layer in self.layers], dim=-1)
        return patches[:, 1:] if self.model.config.vision_feature_select_strategy == "default" else patches

    def source_ids(self, texts: Sequence[str], max_length: int) -> list[list[int]]:
        """The chat template's ids with one video token; a text that is too long is cut before it goes into the template."""
        cut = [
            self.tokenizer.decode(ids[:max_length]) if len(ids) > max_length else text
            for text, ids in zip(
                texts, self.tokenizer(list(texts), add_special_tokens=False).input_ids if texts else [], strict=True
            )
        ]
        video = self.tokenizer.convert_ids_to_tokens(self.video_token)
        if self.tokenizer.chat_template is None:
            return [self.tokenizer(f"{video}{text}").input_ids for text in cut]
        chats = [[{"role": "user", "content": [{"type": "video"}, {"type": "text", "text": text}]}] for text in cut]
        rendered = [
            self.tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True) for chat in chats
        ]
        return self.tokenizer(rendered, add_special_tokens=False).input_ids if rendered else []

    def target_ids(self, texts: Sequence[str], max_length: int) -> list[list[int]]:
        """See `Student.target_ids`."""
        ids = (
            self.tokenizer(list(texts), truncation=True, max_length=max_length - 1, add_special_tokens=False).input_ids
            if texts
            else []
        )
        return [row + [self.tokenizer.eos_token_id] for row in ids]

    @_in_own_precision
    def encode(self, features: Tensor, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        """The embeddings of the prompt with the video in its place; Qwen2 reads them together with the targets, in `decode`.

        Raises:
            ValueError: the video token does not stand at the same place of every prompt.
        """
        text = self.model.get_input_embeddings()(input_ids).to(self.dtype)
        at = (input_ids == self.video_token).int().argmax(1)
        if not bool((input_ids[torch.arange(len(at)), at] == self.video_token).all()) or len(at.unique()) != 1:
            raise ValueError("the video's token must stand once, and at the same place, in every prompt")
        at, visual = int(at[0]), self.visual_tokens(features)
        embeds = torch.cat([text[:, :at], visual, text[:, at + 1 :]], dim=1)
        ones = attention_mask.new_ones(visual.shape[:2])
        return embeds, torch.cat([attention_mask[:, :at], ones, attention_mask[:, at + 1 :]], dim=1)

    def visual_tokens(self, features: Tensor) -> Tensor:
        """What Qwen2 reads of the frames: projected and pooled patches and a newline, (B, N * Q / 4 + 1, D), from (B, N, Q, E)."""
        if features.shape[1] == 0:  # without frames: no tokens
            return features.new_zeros(len(features), 0, self.model.config.text_config.hidden_size, dtype=self.dtype)
        patches = self.projection(features.to(self.dtype).flatten(0, 1))
        pooled = self.model.model.apply_pooling(patches).reshape(len(features), -1, patches.shape[-1])
        newline = self.model.model.image_newline.to(pooled.dtype).expand(len(features), 1, -1)
        return torch.cat([pooled, newline], dim=1)

    @_in_own_precision
    def decode(self, states: Tensor, mask: Tensor, targets: Sequence[Targets]) -> list[Tensor]:
        """All targets in one pass: each row of what was read is followed by its targets, one after the other; each target sees
        the reading and itself, and its positions go on from the reading's end. So the reading is computed once, and the
        result is the same as that of a pass per target."""
        blocks, places, at = [states], [], states.shape[1]
        lengths = mask.sum(1, keepdim=True)
        positions, segments = [(mask.cumsum(1) - 1).clamp(min=0)], [mask - 1]  # segment 0: the reading; -1: its padding
        for ids, rows in targets:
            # A target's slot: how many targets of this group its row has before it.
            slots = (torch.tril(rows[:, None] == rows[None, :], -1)).sum(1)
            count, width = int(slots.max()) + 1, ids.shape[1]
            block = ids.new_zeros(len(states), count, width)
            block[rows, slots] = ids
            blocks.append(self.model.get_input_embeddings()(block.flatten(1)).to(states.dtype))
            positions.append(
                (lengths[:, None] + torch.arange(width, device=ids.device)).expand(-1, count, -1).flatten(1)
            )
            number = len(segments) * 1000 + torch.arange(count, device=ids.device).repeat_interleave(width)
            segments.append(number.expand(len(states), -1))
            places.append((rows, at + slots * width, width))
            at += count * width
        segment = torch.cat(segments, dim=1)
        sees = torch.tril((segment[:, None, :] == 0) | (segment[:, None, :] == segment[:, :, None]))
        bias = torch.zeros(sees.shape, dtype=states.dtype, device=states.device).masked_fill(
            ~sees, torch.finfo(states.dtype).min
        )
        hidden = self.language_model(
            inputs_embeds=torch.cat(blocks, dim=1),
            attention_mask=bias[:, None],
            position_ids=torch.cat(positions, dim=1),
            use_cache=False,
        ).last_hidden_state
        return [
            self.model.lm_head(hidden[rows[:, None], start[:, None] + torch.arange(width, device=rows.device)])
            for rows, start, width in places
        ]

    @torch.no_grad()
    @_in_own_precision
    def write(self, states: Tensor, mask: Tensor, start: int, max_new_tokens: int = 128) -> list[str]:
        """See `Student.write`. Padding moves to the left, as generation wants it."""
        first = self.model.get_input_embeddings()(torch.full((len(states), 1), start, device=states.device)).to(
            states.dtype
        )
        order = mask.argsort(dim=1, stable=True)  # zeros, the padding, first
        states = torch.cat([states.gather(1, order[..., None].expand_as(states)), first], dim=1)
        mask = F.pad(mask.gather(1, order), (0, 1), value=1)
        tokens = self.model.generate(
            inputs_embeds=states,
            attention_mask=mask,
            max_new_tokens=max_new_tokens,
            do_sample=False,
            num_beams=1,
            pad_token_id=self.tokenizer.pad_token_id,
            eos_token_id=self.tokenizer.eos_token_id,
        )
        return [text.strip() for text in self.tokenizer.batch_decode(tokens, skip_special_tokens=True)]


def _token(tokenizer: PreTrainedTokenizerBase, *words: str) -> int:
    """The id of the first of `words` that is one token of the vocabulary."""
    vocabulary = tokenizer.get_vocab()
    return next(vocabulary[word] for word in words if word in vocabulary)


FAMILIES = {
    "blip-2": (Blip2ForConditionalGeneration, Blip2Student),
    "llava_onevision": (LlavaOnevisionForConditionalGeneration, LlavaStudent),
}


def own_device() -> torch.device:
    """The GPU of this process (of several started by torchrun each has its own), or the CPU where there is none."""
    return (
        torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0))) if torch.cuda.is_available() else torch.device("cpu")
    )


def load_student(name: str, dtype: torch.dtype = torch.float32) -> Student:
    """A student by its short name, hub id or local path, on the CPU, in float32 or bfloat16.

    Weights are read from safetensors only and no code of the checkpoint is run.

    Raises:
        FileNotFoundError: the name is neither known nor a local path, and neither the hub's local cache nor the hub has it.
        ValueError: the checkpoint is of another family, or a BLIP-2 without an encoder-decoder language model.
    """
    source = str(STUDENTS.get(name, name))
    absent = f"student {name!r}: no checkpoint at {source!r}. Known names: {', '.join(STUDENTS)}; a local path or a hub id (OWNER/NAME) works too."
    if "/" not in source and not Path(source).exists():
        raise FileNotFoundError(absent)  # a hub id has an owner, so the hub need not be asked
    transformers.logging.disable_progress_bar()  # a bar for reading a few megabytes only litters a notebook
    try:
        config = AutoConfig.from_pretrained(source)
        if config.model_type not in FAMILIES:
            raise ValueError(
                f"student {name!r}: a {config.model_type} checkpoint; students are {' or '.join(FAMILIES)}"
            )
        if config.model_type == "blip-2" and not config.text_config.is_encoder_decoder:
            raise ValueError(
                f"student {name!r}: its language model is {config.text_config.model_type}, but this student needs T5"
            )
        model_class, student_class = FAMILIES[config.model_type]
        model = model_class.from_pretrained(source, dtype=dtype, use_safetensors=True)
        tokenizer = AutoTokenizer.from_pretrained(source)
    except OSError as error:
        raise FileNotFoundError(f"{absent} ({error})") from error
    return student_class(model, tokenizer, read_preprocess(source))


def read_preprocess(source: str) -> Preprocess:
    """The checkpoint's image size, mean and standard deviation, from its `preprocessor_config.json`."""
    from transformers.utils import cached_file

    config = json.loads(Path(cached_file(source, "preprocessor_config.json")).read_text())
    size = config["size"].get("height") or config["size"]["shortest_edge"]
    return Preprocess(size, tuple(config["image_mean"]), tuple(config["image_std"]))
