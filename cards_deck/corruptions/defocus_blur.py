"""Defocus blur: the object is out of focus."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from cards_deck.corruptions._base import REGISTRY, Draws, Floats, Images, scale_of, to_uint8, unit


@REGISTRY.register("defocus_blur")
@dataclass(frozen=True)
class DefocusBlur:
    """Convolution with a disk of `radius` pixels, itself softened by a small Gaussian of sigma `alias`.

    Borders mirror at the edge pixels' centres. Nothing random. radius and alias are in pixels at 32 x 32 and grow with
    size / 32, as does the Gaussian's window (3 x 3 at 32 x 32).
    """

    radius: tuple[float, ...] = (0.3, 0.4, 0.5, 1, 1.5)
    alias: tuple[float, ...] = (0.4, 0.5, 0.6, 0.2, 0.1)

    def __call__(self, images: Images, severity: int, draws: Draws) -> Images:
        """See `Corruption`."""
        scale = scale_of(images)
        kernel = disk(self.radius[severity - 1] * scale, self.alias[severity - 1] * scale, max(1, round(scale)))
        reach, size = len(kernel) // 2, images.shape[1]
        padded = np.pad(unit(images), ((0, 0), (reach, reach), (reach, reach), (0, 0)), mode="reflect")
        out = np.zeros(images.shape)
        for i, j in np.argwhere(kernel):
            out += kernel[i, j] * padded[:, i : i + size, j : j + size]
        return to_uint8(out)


def disk(radius: float, alias: float, window: int) -> Floats:
    """A disk of sum 1 blurred by a Gaussian of sigma `alias` cut to 2 * window + 1 taps, [2 * reach + 1] squared."""
    reach = math.floor(radius) + window
    steps = np.arange(-reach, reach + 1)
    inside = (steps**2 + steps[:, np.newaxis] ** 2 <= radius**2).astype(np.float32)
    gauss = np.exp(-(np.arange(-window, window + 1) ** 2) / (2 * alias**2))
    gauss = (gauss / gauss.sum()).astype(np.float32)  # the published kernel is made in float32
    rows = np.array([np.convolve(row, gauss, mode="same") for row in inside / inside.sum()])
    columns = np.array([np.convolve(column, gauss, mode="same") for column in rows.T])
    return columns.T.astype(np.float64)
