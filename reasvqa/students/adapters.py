"""Prepare, keep and load the trained part of a student: projection and LoRA (paper, section 4.1)."""

from pathlib import Path
from typing import cast

import peft
import safetensors.torch
import torch
import torch.nn.functional as F
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn

from reasvqa.config import TrainConfig
from reasvqa.students.base import Student

NARROW = 256  # up to this width, adding weights costs less than two more products


class LoraInWeights(peft.tuners.lora.Linear):
    """A LoRA layer that adds to the weights in each pass, (W + BA)x, where peft adds to the outputs, Wx + BAx.

    A training step of the miniature takes a sixth less time; in a wide layer the gradient, as large as W, costs more.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Compute the same function as peft, for one adapter without dropout."""
        (name,) = self.active_adapters
        linear, down, up = (cast(nn.Linear, of) for of in (self.get_base_layer(), self.lora_A[name], self.lora_B[name]))
        return F.linear(x, torch.addmm(linear.weight, up.weight, down.weight, alpha=self.scaling[name]), linear.bias)


def prepare(student: Student, config: TrainConfig) -> None:
    """Freeze the student except its projection, and add LoRA to all linear layers of its language model, in place.

    Trained parameters are in float32, frozen ones keep their dtype.
    """
    student.requires_grad_(False)
    if config.lora:
        lora = peft.LoraConfig(
            r=config.lora_rank,
            lora_alpha=config.lora_alpha,  # pyright: ignore[reportArgumentType]  # any number works
            lora_dropout=config.lora_dropout,
            target_modules=list(student.lora_targets),
        )
        narrow = student.language_model.get_input_embeddings().embedding_dim <= NARROW
        if narrow and student.dtype == torch.float32 and not config.lora_dropout:  # bfloat16 sums lose small terms
            lora._register_custom_module({nn.Linear: LoraInWeights})
        peft.inject_adapter_in_model(lora, student.language_model)
    student.projection.requires_grad_(True)
    for module in student.modules():
        if isinstance(module, LoraLayer):
            module.cast_input_dtype_enabled = False  # autocast casts in the cheaper direction
    for parameter in student.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()


def merge(student: Student) -> None:
    """Add LoRA to the weights, in float32, and remove its layers, in place. Then all parameters are frozen and have the
    dtype that the frozen ones had before."""
    for name, layer in list(student.named_modules()):
        if isinstance(layer, peft.tuners.lora.Linear):
            linear = cast(nn.Linear, layer.get_base_layer())
            with torch.no_grad():
                linear.weight.copy_(linear.weight.float() + layer.get_delta_weight("default").float())
            student.set_submodule(name, linear)
    student.projection.to(student.dtype)
    student.requires_grad_(False)


def trained_state(module: nn.Module) -> dict[str, Tensor]:
    """Return the trained parameters by name, on the CPU."""
    return {n: p.detach().cpu().contiguous() for n, p in module.named_parameters() if p.requires_grad}


def load_trained(module: nn.Module, path: Path) -> None:
    """Load the `trained_state` of an equally prepared module from a safetensors file. Raise ValueError if the file does
    not hold exactly the trained parameters."""
    state = safetensors.torch.load_file(path)
    own = {name for name, parameter in module.named_parameters() if parameter.requires_grad}
    if differing := sorted(own ^ state.keys())[:5]:
        raise ValueError(f"{path}: not the weights of this student; they differ in {differing}")
    module.load_state_dict(state, strict=False)
