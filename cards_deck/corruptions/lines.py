"""Lines: grey scratches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cards_deck.corruptions._base import REGISTRY, Draws, Images

_GREY = 128.0


@REGISTRY.register("lines")
@dataclass(frozen=True)
class Lines:
    """int(level * size / 10) grey lines, one pixel wide and anti-aliased, about a common angle.

    CIFAR-10-C-bar (Mintun et al., NeurIPS 2021). Each goes through a random point and reaches one side length to either
    side of it. Their number grows with the size and their width does not, so that the share of grey stays.
    """

    level: tuple[float, ...] = (0.5, 1, 1.5, 2, 2.5)

    def __call__(self, images: Images, severity: int, draws: Draws) -> Images:
        """See `Corruption`."""
        size = images.shape[1]
        angle, spread = 2 * np.pi * draws.random(1), draws.uniform(0.1, 1, 1)
        drawn = draws.random(int(self.level[severity - 1] / 10 * size), 3)
        angle = angle + 2 * np.pi * spread * (drawn[..., 2] - 0.5)
        reach = np.stack([np.cos(angle), np.sin(angle)], axis=-1) * size
        middle = size * drawn[..., :2]
        starts, ends = (middle - reach).astype(np.int64), (middle + reach).astype(np.int64)
        out = images.copy()
        for line in range(drawn.shape[1]):
            cover = coverage(starts[:, line], ends[:, line], size)
            on = np.nonzero(cover)
            share = cover[on][:, np.newaxis]
            out[on] = ((1 - share) * out[on] + share * _GREY).astype(np.uint8)
        return out


def coverage(start: npt.NDArray[np.int64], end: npt.NDArray[np.int64], size: int) -> npt.NDArray[np.float64]:
    """How much of every pixel a line covers, float64 [n, size, size]; start, end: row and column, [n, 2].

    One minus the pixel's distance to the line, within the box of the end points. This is what skimage.draw.line_aa
    (Zingl's variant of Bresenham's algorithm) draws step by step; its distances are float32.
    """
    offset = (np.arange(size) - start[..., np.newaxis]) * np.where(start < end, 1, -1)[..., np.newaxis]
    length = np.abs(end - start)
    within = (offset >= 0) & (offset <= length[..., np.newaxis])  # [n, (rows, columns), size]
    down, across = offset[:, 0, :, np.newaxis], offset[:, 1, np.newaxis, :]
    rise, run = length[:, 0, np.newaxis, np.newaxis], length[:, 1, np.newaxis, np.newaxis]
    hypotenuse = np.sqrt(np.maximum(rise**2 + run**2, 1)).astype(np.float32)
    distance = np.abs(run * down - rise * across).astype(np.float32) / hypotenuse
    inside = within[:, 0, :, np.newaxis] & within[:, 1, np.newaxis, :]
    return np.where(inside, np.maximum(1 - distance.astype(np.float64), 0), 0)
