"""Colour dither (spelt as published): few levels to a channel, the rest spread over the neighbours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cards_deck.corruptions._base import REGISTRY, Draws, Images


@REGISTRY.register("color_dither")
@dataclass(frozen=True)
class ColorDither:
    """Each channel keeps 14 - level levels, and half of a pixel's error goes to its right neighbour.

    Mintun et al., NeurIPS 2021 (levels for CIFAR-10; in no benchmark). After Floyd and Steinberg (1976), but as
    published: what they give to the row below goes to the same row, where all of it but one sixteenth comes too late.
    What a pixel is handed is truncated to whole grey levels each time: seven sixteenths, but in the first row, then one
    sixteenth, but in the last. Nothing random; the grain is one pixel at every size.
    """

    level: tuple[float, ...] = (2, 4, 6, 8, 10)

    def __call__(self, images: Images, severity: int, draws: Draws) -> Images:
        """See `Corruption`."""
        size, levels = images.shape[1], 14 - int(self.level[severity - 1])
        greys = (255 * np.arange(levels) / (levels - 1)).astype(np.int64)
        nearest = greys[levels * np.arange(256) // 256]
        left, out = images.astype(np.int64), np.empty_like(images)
        for x in range(size):
            out[:, :, x] = nearest[left[:, :, x]]
            error = left[:, :, x] - out[:, :, x]
            for rows, share in ((slice(1, None), 7 / 16), (slice(None, -1), 1 / 16)):
                if x + 1 < size:
                    handed = left[:, rows, x + 1] + error[:, rows] * share
                    left[:, rows, x + 1] = np.clip(handed, 0, 255)
        return out
