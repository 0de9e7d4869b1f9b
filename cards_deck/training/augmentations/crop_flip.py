"""Random crop from a reflected border and random horizontal flip: the standard CIFAR augmentation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from cards_deck.errors import InputError
from cards_deck.training.augmentations import AUGMENTATIONS


@AUGMENTATIONS.register("crop_flip")
@dataclass(frozen=True)
class CropFlip:
    """Shift each image by up to `border` and flip half of them.

    Attributes:
        border: largest shift, as a fraction of the side (1/8: the usual 4 px of 32).
    """

    border: float = 0.125

    def __post_init__(self) -> None:
        if not 0 <= self.border <= 0.5:
            raise InputError(
                f"crop_flip: `border` is a fraction of the side and must lie in [0, 0.5], got {self.border}"
            )

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Map uint8 [n, 3, h, w] to uint8 [n, 3, h, w]."""
        n, _, height, width = images.shape
        pad = round(self.border * height)
        device = images.device
        padded = F.pad(images.float(), (pad,) * 4, mode="reflect").to(torch.uint8) if pad else images
        top, left = torch.randint(0, 2 * pad + 1, (2, n), generator=generator, device=device)
        flip = torch.rand(n, generator=generator, device=device) < 0.5
        windows = padded.unfold(2, height, 1).unfold(3, width, 1)  # a view: [n, 3, top, left, height, width]
        cropped = windows[torch.arange(n, device=device), :, top, left]
        return torch.where(flip[:, None, None, None], cropped.flip(3), cropped)
