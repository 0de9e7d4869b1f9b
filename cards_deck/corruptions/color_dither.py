"""Colour dither (spelt as published): few levels to a channel, the rest spread over the neighbours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cards_deck.corruptions._base import REGISTRY, Draws, Images

_SPREAD = ((0, 1, 7), (1, -1, 3), (1, 0, 5), (1, 1, 1))  # rows down, columns right, sixteenths of the error


@REGISTRY.register("color_dither")
@dataclass(frozen=True)
class ColorDither:
    """Error diffusion (Floyd and Steinberg 1976) to 14 - level levels of each channel.

    Mintun et al., NeurIPS 2021 (levels for CIFAR-10; in no benchmark). As published, what a pixel is handed is
    truncated to whole grey levels each time, and the first row and column are handed nothing. Nothing random; the grain
    is one pixel at every size.
    """

    level: tuple[float, ...] = (2, 4, 6, 8, 10)

    def __call__(self, images: Images, severity: int, draws: Draws) -> Images:
        """See `Corruption`."""
        size, levels = images.shape[1], 14 - int(self.level[severity - 1])
        greys = (255 * np.arange(levels) / (levels - 1)).astype(np.int64)
        nearest = greys[levels * np.arange(256) // 256]
        left, out = images.astype(np.int64), np.empty_like(images)
        for y, x in np.ndindex(size, size):
            value = nearest[left[:, y, x]]
            out[:, y, x] = value
            error = left[:, y, x] - value
            for down, right, share in _SPREAD:
                row, column = y + down, x + right
                if row < size and 0 < column < size and row > 0:
                    handed = left[:, row, column] + error * share / 16
                    left[:, row, column] = np.clip(handed, 0, 255)
        return out
