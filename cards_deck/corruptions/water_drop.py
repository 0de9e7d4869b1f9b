"""Water drop: the rings that a drop makes in water."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cards_deck.corruptions._base import REGISTRY, Draws, Images
from cards_deck.corruptions._cbar_warp import sampled


@REGISTRY.register("water_drop")
@dataclass(frozen=True)
class WaterDrop:
    """Pixels up to half a side from the drop are read level / 40 of a wavelength further out or in, by a sine of their
    distance; linear, black outside.

    Mintun et al., NeurIPS 2021 (levels for CIFAR-10; in no benchmark). Place and wavelength are shares of the side.
    """

    level: tuple[float, ...] = (3.6, 5.2, 6.8, 8.4, 10)

    def __call__(self, images: Images, severity: int, draws: Draws) -> Images:
        """See `Corruption`."""
        size = images.shape[1]
        amplitude = self.level[severity - 1] * 0.25 / 10
        row, column = np.moveaxis(draws.uniform(0.25, 0.75, 2, 1, 1) * size, 1, 0)
        wavelength, phase = draws.uniform(0.05, 0.2, 1, 1) * size, draws.uniform(0, 2 * np.pi, 1, 1)
        steps = np.arange(size)
        down, across = steps[:, np.newaxis] - row, steps - column
        distance = np.hypot(down, across)
        wave = amplitude * np.sin(distance / wavelength * np.pi * 2 - phase)
        share = np.where(distance > size // 2, 0, wave * wavelength / np.where(distance == 0, wavelength, distance))
        seen = sampled(images, steps[:, np.newaxis] + share * down, steps + share * across)
        return np.clip(seen, 0, 255).astype(np.uint8)
