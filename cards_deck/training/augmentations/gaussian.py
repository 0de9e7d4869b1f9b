"""Additive Gaussian noise on [0, 1] pixels, clamped, over another augmentation (std 0.1 in the CARDs study,
Diffenderfer et al., NeurIPS 2021)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from cards_deck.errors import InputError
from cards_deck.training.augmentations import AUGMENTATIONS


@AUGMENTATIONS.register("gaussian")
@dataclass(frozen=True)
class Gaussian:
    """Noise on every image.

    Attributes:
        std: standard deviation of the noise, in units of [0, 1] pixels (not the variance).
        vary: draw each image's standard deviation from U(0, std) instead.
        over: the augmentation applied first, with its defaults. `augmix` keeps the contrast and weather robustness
            that noise alone loses (10 points of contrast when tried).
    """

    std: float = 0.1
    vary: bool = False
    over: str = "crop_flip"

    def __post_init__(self) -> None:
        if not 0 <= self.std <= 1:
            raise InputError(f"gaussian: `std` is in units of [0, 1] pixels and must lie in [0, 1], got {self.std}")
        if self.over not in AUGMENTATIONS.names() or self.over == "gaussian":
            raise InputError(f"gaussian: `over` must name another augmentation, got {self.over!r}")
        if hasattr(AUGMENTATIONS[self.over], "mixup"):
            raise InputError(f"gaussian: {self.over} mixes features, not images alone: `over` cannot name it")

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Map uint8 [n, 3, h, w] to uint8 [n, 3, h, w]."""
        images = AUGMENTATIONS.build(self.over)(images, generator)
        device = images.device
        std = torch.full((images.shape[0], 1, 1, 1), 255 * self.std, device=device)
        if self.vary:
            std = std * torch.rand(std.shape, generator=generator, device=device)
        noise = torch.randn(images.shape, generator=generator, device=device)
        return torch.addcmul(images.float(), noise, std).round_().clamp_(0, 255).to(torch.uint8)
