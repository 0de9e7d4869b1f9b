"""Contrast: haze of light and poor exposure flatten the picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cards_deck.corruptions._base import REGISTRY, Draws, Images, to_uint8, unit


@REGISTRY.register("contrast")
@dataclass(frozen=True)
class Contrast:
    """(x - mean) * factor + mean, the mean per image and channel. Nothing random, nothing scales with the size."""

    factor: tuple[float, ...] = (0.75, 0.5, 0.4, 0.3, 0.15)

    def __call__(self, images: Images, severity: int, draws: Draws) -> Images:
        """See `Corruption`."""
        x = unit(images)
        # Image by image, because the order in which numpy sums may follow the shape of the batch.
        means = np.stack([np.mean(image, axis=(0, 1), keepdims=True) for image in x])
        return to_uint8((x - means) * self.factor[severity - 1] + means)
