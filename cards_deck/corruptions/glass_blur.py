"""Frosted glass blur: pixels shuffled among their neighbours, between two small blurs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from cards_deck.corruptions._base import REGISTRY, Draws, Floats, Images, scale_of, to_uint8, unit


@REGISTRY.register("glass_blur")
@dataclass(frozen=True)
class GlassBlur:
    """Gaussian blur, `iterations` of a local shuffle with offsets in [-max_delta, max_delta), Gaussian blur.

    The published "swap" of two array views moves one pixel only: the far pixel is copied to the near one and stays
    where it is. That, and the offsets that are never +max_delta, are kept. sigma and max_delta are in pixels at
    32 x 32 and grow with size / 32 (max_delta rounded).
    """

    sigma: tuple[float, ...] = (0.05, 0.25, 0.4, 0.25, 0.4)
    max_delta: tuple[int, ...] = (1, 1, 1, 1, 1)
    iterations: tuple[int, ...] = (1, 1, 1, 2, 2)

    def __call__(self, images: Images, severity: int, draws: Draws) -> Images:
        """See `Corruption`."""
        scale, size = scale_of(images), images.shape[1]
        sigma, delta = self.sigma[severity - 1] * scale, max(1, round(self.max_delta[severity - 1] * scale))
        shuffled = to_uint8(_blurred(unit(images), sigma)).reshape(-1, size * size, 3)
        source = shuffled_sources(draws, size, delta, self.iterations[severity - 1])
        shuffled = np.take_along_axis(shuffled, source[:, :, np.newaxis], axis=1)
        return to_uint8(_blurred(unit(shuffled.reshape(images.shape)), sigma))


def _blurred(x: Floats, sigma: float) -> Floats:
    """skimage.filters.gaussian with its defaults: edge pixels repeated, cut at 4 sigma."""
    return np.asarray(ndimage.gaussian_filter(x, (0, sigma, sigma, 0), mode="nearest", truncate=4.0))


def shuffled_sources(draws: Draws, size: int, delta: int, iterations: int) -> npt.NDArray[np.int64]:
    """Which pixel of the image ends up where, flat indices int64 [n, size * size].

    Positions are visited one after the other, from the lower right, because a later one may read what an earlier one
    wrote; each step is done for the whole batch. Draws (column, row) offsets in the published order.
    """
    visited = np.arange(size - delta, delta, -1)
    columns_rows = draws.integers(-delta, delta, iterations, len(visited) ** 2, 2)
    positions = (visited[:, np.newaxis] * size + visited).ravel()
    images = len(columns_rows)
    moves = columns_rows[..., 1] * size + columns_rows[..., 0] + positions
    moves = np.ascontiguousarray(np.moveaxis(moves, 0, -1)) * images + np.arange(images)  # [iterations, visited, n]
    source = np.repeat(np.arange(size * size), images).reshape(size * size, images)
    for step in moves:
        for position, flat in zip(positions, step, strict=True):
            source[position] = source.take(flat)
    return np.ascontiguousarray(source.T)
