"""Run BLIP-2 as a student: ViT and Q-Former, frozen | projection, T5 encoder | T5 decoder, once for all targets."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers.modeling_outputs import BaseModelOutput

from reasvqa.preprocess import Preprocess
from reasvqa.students.base import Packed, Student, Targets, in_own_precision


class Blip2Student(Student):
    """A `Blip2ForConditionalGeneration` with a T5 language model. The frames precede the text, in order of time.

    T5's relative positions are too coarse for counting frames, so each frame has a number. Full-size checkpoints get
    the number as text before the frame ("1:"), as in SeViLA's code. The miniature was pretrained with the number's
    embedding added to the frame's vectors (`"frame_numbers": "added"` in its config.json).
    """

    lora_targets = ("q", "k", "v", "o", "wi", "wi_0", "wi_1", "wo")
    vision_modules = ("vision_model", "qformer")
    language_name, projection_name = "language_model", "language_projection"

    def __init__(self, model: Any, tokenizer: Any, preprocess: Preprocess):
        super().__init__(model, tokenizer, preprocess)
        config = self.model.config
        self.numbers_added = getattr(config, "frame_numbers", "before") == "added"
        self.feature_shape = config.num_query_tokens, config.qformer_config.hidden_size
        self.answer_start = config.text_config.decoder_start_token_id
        self.reasoning_start = self.tokenizer.convert_tokens_to_ids("<extra_id_0>")  # a sentinel of T5's own vocabulary

    def vision(self, pixels: Tensor) -> Tensor:
        """See `Student.vision`. The features are the Q-Former's outputs, which transformers keeps in float32."""
        queries = self.model.query_tokens.to(pixels.device).expand(len(pixels), -1, -1)
        patches = self.model.vision_model(pixels).last_hidden_state
        return self.model.qformer(queries, encoder_hidden_states=patches.to(queries.dtype)).last_hidden_state

    @in_own_precision
    def encode(self, features: Tensor, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        """See `Student.encode`. The states are those of T5's encoder."""
        text = self.language_model.get_input_embeddings()(input_ids)
        embeds = torch.cat([self.visual_tokens(features), text.to(self.dtype)], dim=1)
        mask = F.pad(attention_mask, (embeds.shape[1] - input_ids.shape[1], 0), value=1)
        return self.language_model.encoder(inputs_embeds=embeds, attention_mask=mask).last_hidden_state, mask

    def visual_tokens(self, features: Tensor) -> Tensor:
        """Return the projected queries of features (B, N, Q, E), with the frames' numbers: (B, S - L, D)."""
        visual = self.projection(features.to(self.dtype))
        parts = [visual.flatten(1, 2)[:, :0]]  # without frames: no tokens
        for t in range(features.shape[1]):
            if self.numbers_added:
                parts.append(visual[:, t] + self.words(f"{t + 1}").mean(1))
            else:
                parts += [self.words(f"{t + 1}:").expand(len(visual), -1, -1), visual[:, t]]
        return torch.cat(parts, dim=1)

    @in_own_precision
    def decode(self, states: Tensor, mask: Tensor, targets: Sequence[Targets]) -> list[Tensor]:
        """See `Student.decode`. T5 uses only distances, so a target may stand anywhere in the packed row."""
        packed = Packed(targets, len(states))
        sees = torch.tril(packed.owner[:, None] == packed.owner[None, :])
        bias = states.new_zeros(sees.shape).masked_fill(~sees, torch.finfo(states.dtype).min)
        logits = self.language_model(
            encoder_outputs=(states,),
            attention_mask=mask,
            decoder_input_ids=packed.ids,
            decoder_attention_mask=bias[None, None],
            use_cache=False,
        ).logits
        return packed.unpack(logits)

    @torch.no_grad()
    @in_own_precision
    def generate(self, states: Tensor, mask: Tensor, start: int, max_new_tokens: int = 128) -> list[str]:
        inputs = {"encoder_outputs": BaseModelOutput(last_hidden_state=states), "decoder_start_token_id": start}
        return self.written_by(self.language_model, max_new_tokens, attention_mask=mask, **inputs)

    def write_processing(self, folder: Path) -> None:
        """See `Student.write_processing`. An unused sentinel of T5 gets the name of the picture token."""
        sentinel = "<extra_id_1>"
        for name in ("tokenizer.json", "tokenizer_config.json"):
            text = (folder / name).read_text(encoding="utf-8")
            (folder / name).write_text(text.replace(f'"{sentinel}"', '"<image>"'), encoding="utf-8")
        self.model.config.image_token_index = self.tokenizer.convert_tokens_to_ids(sentinel)
        processor = {"processor_class": "Blip2Processor", "num_query_tokens": self.model.config.num_query_tokens}
        (folder / "processor_config.json").write_text(json.dumps(processor, indent=2) + "\n", encoding="utf-8")
