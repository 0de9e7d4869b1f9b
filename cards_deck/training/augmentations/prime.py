"""PRIME (Modas et al., ECCV 2022): chains of three random transformations, mixed with the image itself as in AugMix.

The transformations are one linear filter, one smooth map of the pixel values, one smooth displacement: none is one of
CIFAR-10-C's, but the last is akin to its elastic transform. Values are rounded to 8 bits after each, as pixels of an
image file are.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from cards_deck.errors import InputError
from cards_deck.training.augmentations import AUGMENTATIONS
from cards_deck.training.augmentations.chains import MixedChains
from cards_deck.training.augmentations.primitives import FEWEST_WAVES, filtered, recoloured, warped


@AUGMENTATIONS.register("prime")
@dataclass(frozen=True)
class Prime(MixedChains):
    """Crop and flip, then PRIME; the defaults are the published ones for CIFAR.

    Attributes:
        width: number of chains mixed with Dirichlet(1) weights.
        depth: longest chain; each chain's length is drawn from 1 to `depth`.
        filter_strength: largest standard deviation of a filter's weights.
        color_strength: largest variance of the waves of a map of values.
        waves: largest frequency of such a map and of a displacement, at least 3.
        jsd: train with the Jensen-Shannon consistency of the clean and two mixed views (weight 12, as published).
            Three times the cost of a step.
    """

    width: int = 3
    depth: int = 3
    filter_strength: float = 4.0
    color_strength: float = 0.01
    waves: int = 100
    jsd: bool = False

    def __post_init__(self) -> None:
        if self.width < 1 or self.depth < 1 or self.waves <= FEWEST_WAVES:
            raise InputError(
                f"prime: `width` and `depth` must be at least 1 and `waves` at least {FEWEST_WAVES + 1}, got "
                f"{self.width}, {self.depth}, {self.waves}"
            )
        if not (0 <= self.filter_strength <= 100 and 0 <= self.color_strength <= 1):
            raise InputError(
                f"prime: `filter_strength` must lie in [0, 100] and `color_strength` in [0, 1], got "
                f"{self.filter_strength}, {self.color_strength}"
            )

    def run_chains(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Apply 1 to `depth` random transformations to each of uint8 [m, 3, h, w]; writes into `images`."""
        m, device = images.shape[0], images.device
        length = torch.randint(1, self.depth + 1, (m,), generator=generator, device=device)
        for step in range(self.depth):
            choice = torch.randint(0, 3, (m,), generator=generator, device=device)
            for index in range(3):
                rows = torch.nonzero((length > step) & (choice == index)).squeeze(1)
                images[rows] = self._transform(index, images[rows], generator)
        return images

    def _transform(self, index: int, images: Tensor, generator: torch.Generator) -> Tensor:
        if index == 0:
            return filtered(images, self.filter_strength, generator)
        if index == 1:
            return recoloured(images, self.color_strength, self.waves, generator)
        return warped(images, self.waves, generator)
