"""Zoom blur: the camera moves towards the object."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cards_deck.corruptions._base import REGISTRY, Draws, Images, to_uint8
from cards_deck.corruptions._geometry import clipped_zoom


@REGISTRY.register("zoom_blur")
@dataclass(frozen=True)
class ZoomBlur:
    """The mean of the image and of its enlargements by arange(1, stop, step), which counts the image twice.

    Lists of 7, 12, 16, 21 and 26 factors: floating-point `arange` includes 1.06 and 1.11. Nothing random. Factors are
    ratios, so they hold for every size. float32, as published.
    """

    stop: tuple[float, ...] = (1.06, 1.11, 1.16, 1.21, 1.26)
    step: float = 0.01

    def __call__(self, images: Images, severity: int, draws: Draws) -> Images:
        """See `Corruption`."""
        size = images.shape[1]
        stack = (np.moveaxis(images, 0, -1) / 255.0).astype(np.float32).reshape(size, size, -1)
        exact, total = stack.astype(np.float64), np.zeros_like(stack)
        factors = np.arange(1, self.stop[severity - 1], self.step)
        for factor in factors:
            total += clipped_zoom(exact, float(factor)).astype(np.float32)
        mean = (stack + total.swapaxes(0, 1)) / (len(factors) + 1)
        return np.moveaxis(to_uint8(mean).reshape(size, size, 3, -1), -1, 0)
