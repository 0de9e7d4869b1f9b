"""Random crop from a reflected border and random horizontal flip: the standard CIFAR augmentation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from cards_deck.training.augmentations import AUGMENTATIONS


@AUGMENTATIONS.register("crop_flip")
@dataclass(frozen=True)
class CropFlip:
    """Shift each image by up to `border` and flip half of them.

    Attributes:
        border: largest shift, as a fraction of the side (1/8: the usual 4 px of 32).
    """

    border: float = 0.125

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Map uint8 [n, 3, h, w] to uint8 [n, 3, h, w]."""
        n, _, height, width = images.shape
        pad = round(self.border * height)
        device = images.device
        padded = F.pad(images.float(), (pad,) * 4, mode="reflect").to(torch.uint8) if pad else images
        top, left = torch.randint(0, 2 * pad + 1, (2, n), generator=generator, device=device)
        flip = torch.rand(n, generator=generator, device=device) < 0.5
        rows = top[:, None] + torch.arange(height, device=device)
        columns = torch.arange(width, device=device).expand(n, width)
        columns = left[:, None] + torch.where(flip[:, None], columns.flip(1), columns)
        images_index = torch.arange(n, device=device)[:, None, None]
        pixels = padded.permute(0, 2, 3, 1)[images_index, rows[:, :, None], columns[:, None, :]]
        return pixels.permute(0, 3, 1, 2)
