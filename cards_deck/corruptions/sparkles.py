"""Sparkles: five white stars."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cards_deck.corruptions._base import REGISTRY, Draws, Images
from cards_deck.corruptions._cbar_rays import MOST_RAYS, glow, ray_lengths

_STARS = 5


@REGISTRY.register("sparkles")
@dataclass(frozen=True)
class Sparkles:
    """Five stars of radius level * size / 100 blend the image towards white, one after the other.

    CIFAR-10-C-bar (Mintun et al., NeurIPS 2021). Rays are at least 1 pixel long at every size, as published: at level
    0.7 all are, at 32 pixels. The five blends are multiplied up in float64; the published code keeps float32 between.
    """

    level: tuple[float, ...] = (0.7, 3.5, 5.6, 6.3, 7)

    def __call__(self, images: Images, severity: int, draws: Draws) -> Images:
        """See `Corruption`."""
        size = images.shape[1]
        radius = self.level[severity - 1] * 0.1 / 10 * size
        centres = size * draws.random(_STARS, 2)
        rays = draws.integers(50, MOST_RAYS, _STARS)
        lengths = np.array(
            [
                [ray_lengths(generator, count, radius) for count in counts]
                for generator, counts in zip(draws.generators, rays, strict=True)
            ]
        )
        np.maximum(lengths, 1, out=lengths)
        dark = np.ones(images.shape[:3])
        for star in range(_STARS):
            dark *= 1 - glow(size, centres[:, star], rays[:, star], lengths[:, star], power=1)
        return (255 - (255 - images.astype(np.float64)) * dark[..., np.newaxis]).astype(np.uint8)
