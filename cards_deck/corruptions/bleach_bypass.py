"""Bleach bypass: as film whose silver was left in, with hard contrast and pale colours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cards_deck.corruptions._base import REGISTRY, Draws, Images, unit
from cards_deck.corruptions._film import luma, wrapped


@REGISTRY.register("bleach_bypass")
@dataclass(frozen=True)
class BleachBypass:
    """level / 10 of the image is the image with its own brightness laid over it: darkened where it is dark, lightened
    where it is light.

    Mintun et al., NeurIPS 2021 (levels for CIFAR-10; in no benchmark). As published, twice a byte wraps around
    where dark colours are strong, and so do the few sums outside the range. Nothing random, nothing scales with the
    size.
    """

    level: tuple[float, ...] = (2, 4, 6, 8, 10)

    def __call__(self, images: Images, severity: int, draws: Draws) -> Images:
        """See `Corruption`."""
        amount = self.level[severity - 1] / 10
        bright = luma(images)
        light = np.clip(10.0 * (bright - 0.45), 0, 1.0)
        darker = 2 * images * bright / 255  # twice a byte is a byte, as published
        lighter = 1.0 - 2.0 * (1.0 - bright) * (1.0 - unit(images))
        laid = ((1 - light) * darker + light * lighter) * 255
        return wrapped((1 - amount) * images + amount * laid)
