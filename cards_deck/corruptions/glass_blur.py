"""Frosted glass blur: pixels shuffled among their neighbours, between two small blurs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cards_deck.corruptions._base import REGISTRY, Draws, Images, scale_of, to_uint8, unit
from cards_deck.corruptions._smoothing import gaussian


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
        blurred = to_uint8(gaussian(unit(images), sigma)).reshape(-1, 3)
        source = shuffled_sources(draws, size, delta, self.iterations[severity - 1])
        source += np.arange(len(images))[:, np.newaxis] * size**2
        shuffled = blurred.take(source, axis=0).reshape(images.shape)
        return to_uint8(gaussian(unit(shuffled), sigma))


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
