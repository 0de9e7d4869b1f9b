"""Brightness: daylight varies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cards_deck.corruptions._base import REGISTRY, Draws, Images, to_uint8, unit
from cards_deck.corruptions._colour import hsv_to_rgb, rgb_to_hsv


@REGISTRY.register("brightness")
@dataclass(frozen=True)
class Brightness:
    """V + delta in HSV, clipped. Nothing random, nothing scales with the size."""

    delta: tuple[float, ...] = (0.05, 0.1, 0.15, 0.2, 0.3)

    def __call__(self, images: Images, severity: int, draws: Draws) -> Images:
        """See `Corruption`."""
        hue, saturation, value = rgb_to_hsv(unit(images))
        return to_uint8(hsv_to_rgb(hue, saturation, np.clip(value + self.delta[severity - 1], 0, 1)))
