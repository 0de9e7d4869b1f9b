"""Saturate: colours fade or glare."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cards_deck.corruptions._base import REGISTRY, Draws, Images, to_uint8, unit
from cards_deck.corruptions._colour import hsv_to_rgb, rgb_to_hsv


@REGISTRY.register("saturate")
@dataclass(frozen=True)
class Saturate:
    """S * factor + shift in HSV, clipped: greyer at severities 1 and 2, more colourful from 3 on.

    Nothing random, nothing scales with the size.
    """

    factor: tuple[float, ...] = (0.3, 0.1, 1.5, 2, 2.5)
    shift: tuple[float, ...] = (0, 0, 0, 0.1, 0.2)

    def __call__(self, images: Images, severity: int, draws: Draws) -> Images:
        """See `Corruption`."""
        hue, saturation, value = rgb_to_hsv(unit(images))
        saturation = np.clip(saturation * self.factor[severity - 1] + self.shift[severity - 1], 0, 1)
        return to_uint8(hsv_to_rgb(hue, saturation, value))
