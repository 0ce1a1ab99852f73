"""Convert LAVIS checkpoints (.pth) of BLIP-2 with T5 to transformers' `Blip2ForConditionalGeneration` and back.

The two libraries hold the same tensors under different names, which `lavis_keys` maps. Only the vision attention's
biases differ in shape: LAVIS keeps those of queries and values, and has none for keys.
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from transformers import Blip2ForConditionalGeneration

    from reasvqa.learning.targets import Example

# transformers' name -> LAVIS's, applied in order. No pattern fits a name that another one has changed.
_RENAMES = (
    (r"^vision_model\.embeddings\.class_embedding$", "visual_encoder.cls_token"),
    (r"^vision_model\.embeddings\.position_embedding$", "visual_encoder.pos_embed"),
    (r"^vision_model\.embeddings\.patch_embedding\.", "visual_encoder.patch_embed.proj."),
    (r"^vision_model\.post_layernorm\.", "ln_vision."),
    (r"^vision_model\.encoder\.layers\.(\d+)\.layer_norm(\d)\.", r"visual_encoder.blocks.\1.norm\2."),
    (r"^vision_model\.encoder\.layers\.(\d+)\.self_attn\.projection\.", r"visual_encoder.blocks.\1.attn.proj."),
    (r"^vision_model\.encoder\.layers\.(\d+)\.self_attn\.", r"visual_encoder.blocks.\1.attn."),
    (r"^vision_model\.encoder\.layers\.(\d+)\.mlp\.", r"visual_encoder.blocks.\1.mlp."),
    (r"^qformer\.layernorm\.", "Qformer.bert.embeddings.LayerNorm."),
    (r"^qformer\.(.*)attention\.attention\.", r"Qformer.bert.\1attention.self."),
    (r"^qformer\.", "Qformer.bert."),
    (r"^language_projection\.", "t5_proj."),
    (r"^language_model\.", "t5_model."),
)


class LavisError(ValueError):
    """A LAVIS checkpoint does not fit the model; the message lists the keys that do not."""


def lavis_keys(name: str) -> tuple[str, ...]:
    """Return LAVIS's key for a parameter of transformers' model; two keys for the vision attention's biases."""
    for pattern, replacement in _RENAMES:
        name = re.sub(pattern, replacement, name)
    if name.endswith("attn.qkv.bias"):
        stem = name.removesuffix("qkv.bias")
        return f"{stem}q_bias", f"{stem}v_bias"
    return (name,)


def load_lavis_checkpoint(model: "Blip2ForConditionalGeneration", path: str | Path, partial: bool = False) -> list[str]:
    """Load a LAVIS checkpoint's weights into `model`: all of them or, on an error, none.

    Args:
        model: a BLIP-2 with a T5 language model of the checkpoint's sizes.
        path: a .pth file, read without executing pickled code; weights lie in it directly or under "model".
        partial: accept only some of the weights, as LAVIS writes them after fine-tuning.

    Returns:
        The names of the model's parameters that the checkpoint does not hold; empty unless `partial`.

    Raises:
        LavisError: the file is not a checkpoint; keys or shapes do not fit; parameters are missing and `partial` is
            False. The message lists them.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise LavisError(
            f"{path}: not a checkpoint that can be read safely ({(str(error) or 'empty').splitlines()[0]})"
        ) from error
    state = content.get("model", content) if isinstance(content, dict) else None
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise LavisError(f"{path}: expected a dictionary of tensors, or one under 'model'")
    found: dict[str, Tensor] = {}
    missing: list[str] = []
    used: set[str] = set()
    for name, value in model.state_dict().items():
        keys = lavis_keys(name)
        if not all(key in state for key in keys):
            missing.append(name)
            continue
        used.update(keys)
        parts = [state[key] for key in keys]
        # LAVIS has the biases of queries and values; those of the keys, in between, are zero.
        found[name] = torch.cat([parts[0], torch.zeros_like(parts[0]), parts[1]]) if len(parts) == 2 else parts[0]
        if found[name].shape != value.shape:
            shapes = f"{keys[0]} has shape {tuple(found[name].shape)}, but {name} has {tuple(value.shape)}"
            raise LavisError(f"{path}: {shapes}: another model size?")
    unmatched = sorted(key for key in state if key not in used and key.split(".")[-1] != "position_ids")
    if unmatched:
        raise LavisError(f"{path}: keys without a counterpart in the model: {', '.join(unmatched)}")
    if missing and not partial:
        listed = f"{len(missing)} parameters of the model are not in the checkpoint: {', '.join(missing)}"
        raise LavisError(f"{path}: {listed}. A fine-tuned delta? Use partial=True.")
    _untie(model.language_model, found)
    # LAVIS's last vision norm adds 1e-5 to the variance, transformers' 1e-6. `save_pretrained` does not keep it.
    model.vision_model.post_layernorm.eps = 1e-5
    model.load_state_dict(found, strict=False)
    return missing


def save_lavis_checkpoint(model: "Blip2ForConditionalGeneration", path: str | Path) -> None:
    """Write `model` as a LAVIS checkpoint, {"model": weights under LAVIS's names}; raise LavisError if LoRA is not
    merged. The biases of the vision attention's keys, which the softmax cancels, are left out."""
    state: dict[str, Tensor] = {}
    for name, value in model.state_dict().items():
        if ".lora_" in name:
            remedy = "Take the merged weights: run.export(folder, merged=True), load_student(folder).model."
            raise LavisError(f"{name}: LAVIS has no place for LoRA. {remedy}")
        keys = lavis_keys(name)
        if len(keys) == 1:
            state[keys[0]] = value.clone()
        else:
            query, _, values = value.chunk(3)
            state[keys[0]], state[keys[1]] = query.clone(), values.clone()
    torch.save({"model": state}, path)


def export_annotations(examples: Sequence["Example"], path: str | Path) -> None:
    """Write training examples as the annotation file of LAVIS's data set "reasvqa": a JSON list of objects with "id",
    "video", "clip" ([start, end] in seconds, or null), "source", "target" and "reasoning" (or null)."""
    rows = [
        {name: getattr(e.sample, name) for name in ("id", "video", "clip")}
        | {name: getattr(e, name) for name in ("source", "target", "reasoning")}
        for e in examples
    ]
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def _untie(language_model: Any, found: dict[str, Tensor]) -> None:
    """Give T5's output matrix its own tensor if the checkpoint's differs from the embeddings, as FlanT5's does:
    transformers ties the two when it constructs a model."""
    head, shared = found.get("language_model.lm_head.weight"), found.get("language_model.shared.weight")
    tied = language_model.lm_head.weight is language_model.shared.weight
    if tied and head is not None and shared is not None and not torch.equal(head, shared):
        language_model.lm_head.weight = nn.Parameter(language_model.lm_head.weight.detach().clone())
        language_model.config.tie_word_embeddings = False
