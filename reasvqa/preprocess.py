"""Turn decoded frames into the pixel values that a vision encoder expects."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Preprocess:
    """Resize and normalise frames as the checkpoint's `preprocessor_config.json` says.

    Resizing (bicubic, antialiased) is torch's, so torchvision is not needed.
    """

    size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __call__(self, frames: np.ndarray) -> Tensor:
        """Convert frames, uint8 (T, H, W, 3) RGB, to normalised pixels, float32 (T, 3, size, size)."""
        pixels = torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2).float() / 255
        pixels = F.interpolate(pixels, (self.size, self.size), mode="bicubic", antialias=True).clamp(0, 1)
        return (pixels - torch.tensor(self.mean).view(3, 1, 1)) / torch.tensor(self.std).view(3, 1, 1)
