"""Hue shift: all colours move around the circle."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cards_deck.corruptions._base import REGISTRY, Draws, Images, to_uint8, unit
from cards_deck.corruptions._colour import hsv_to_rgb, rgb_to_hsv


@REGISTRY.register("hue_shift")
@dataclass(frozen=True)
class HueShift:
    """The hue moves by level / 20 of the circle, to either side by chance.

    Mintun et al., NeurIPS 2021 (levels for CIFAR-10; in no benchmark). Nothing scales with the size.
    """

    level: tuple[float, ...] = (2, 4, 6, 8, 10)

    def __call__(self, images: Images, severity: int, draws: Draws) -> Images:
        """See `Corruption`."""
        amount = self.level[severity - 1] * 0.5 / 10
        turn = np.where(draws.random(1, 1) < 0.5, -amount, amount) % 1.0
        hue, saturation, value = rgb_to_hsv(unit(images))
        return to_uint8(hsv_to_rgb(hue + turn, saturation, value))
