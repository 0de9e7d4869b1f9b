"""Caustic noise: light on the bottom of moving water."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cards_deck.corruptions._base import REGISTRY, Draws, Images
from cards_deck.corruptions._caustics import caustics


@REGISTRY.register("caustic_noise")
@dataclass(frozen=True)
class CausticNoise:
    """x + 25.5 level grey levels of light.

    Mintun et al., NeurIPS 2021 (levels for CIFAR-10; in no benchmark). The pattern repeats after a share of the side.
    """

    level: tuple[float, ...] = (3, 4, 5, 6, 7)

    def __call__(self, images: Images, severity: int, draws: Draws) -> Images:
        """See `Corruption`."""
        size, intensity = images.shape[1], self.level[severity - 1] * 255 / 10
        drawn = [(g.uniform(0.5, 2.0), g.uniform(0.75, 1.25)) for g in draws.generators]
        light = np.stack([caustics(size, time, scale * size) for time, scale in drawn])
        return np.clip(images + intensity * light[..., np.newaxis], 0, 255).astype(np.uint8)
