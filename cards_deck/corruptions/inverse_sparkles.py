"""Inverse sparkles: the picture seen through a star in a white sheet."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cards_deck.corruptions._base import REGISTRY, Draws, Images
from cards_deck.corruptions._cbar_rays import MOST_RAYS, glow, ray_lengths


@REGISTRY.register("inverse_sparkles")
@dataclass(frozen=True)
class InverseSparkles:
    """White, but for a star of radius size / 4 near the middle, whose edge is steeper at a higher level.

    CIFAR-10-C-bar (Mintun et al., NeurIPS 2021). Lengths are shares of the side, so they hold for every size.
    """

    level: tuple[float, ...] = (1, 1.5, 2.5, 4.5, 5)

    def __call__(self, images: Images, severity: int, draws: Draws) -> Images:
        """See `Corruption`."""
        size = images.shape[1]
        centre = draws.uniform(0.25, 0.75, 2) * size
        rays = draws.integers(50, MOST_RAYS, 1)[:, 0]
        lengths = [
            ray_lengths(generator, count, 0.25 * size) for generator, count in zip(draws.generators, rays, strict=True)
        ]
        power = self.level[severity - 1] * 65 / 10 / 50
        light = glow(size, centre, rays, np.array(lengths), power)
        return (255 + light[..., np.newaxis] * (images.astype(np.float64) - 255)).astype(np.uint8)
