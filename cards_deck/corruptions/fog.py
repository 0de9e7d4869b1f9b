"""Fog: a plasma fractal of light over the picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cards_deck.corruptions._base import REGISTRY, Draws, Floats, Images, to_uint8, unit

_FIRST_WIBBLE = 100.0


@REGISTRY.register("fog")
@dataclass(frozen=True)
class Fog:
    """(x + amount * plasma) * max / (max + amount), max the brightest value of the image.

    The plasma is a diamond-square height map whose random steps shrink by `decay` from one level to the next. Its side
    is the smallest power of two that covers the image: a larger image gets the same coarse clouds and finer detail.
    """

    amount: tuple[float, ...] = (0.2, 0.5, 0.75, 1, 1.5)
    decay: tuple[float, ...] = (3, 3, 2.5, 2, 1.75)

    def __call__(self, images: Images, severity: int, draws: Draws) -> Images:
        """See `Corruption`."""
        size, amount = images.shape[1], self.amount[severity - 1]
        side = 1 << (size - 1).bit_length()
        plasma = plasma_fractal(draws.random(side * side - 1), side, self.decay[severity - 1])
        x = unit(images)
        brightest = x.max(axis=(1, 2, 3), keepdims=True)
        x += amount * plasma[:, :size, :size, np.newaxis]
        return to_uint8(x * brightest / (brightest + amount))


def plasma_fractal(draws: Floats, side: int, decay: float) -> Floats:
    """Height maps in [0, 1] by the diamond-square algorithm on a torus, float64 [n, side, side].

    draws: uniform in [0, 1), [n, side * side - 1], used in the published order (squares, diamonds below, diamonds
    beside, level by level). After github.com/FLHerne/mapgen, as changed by Hendrycks.
    """
    height = np.zeros((len(draws), side, side))
    step, wibble, used = side, _FIRST_WIBBLE, 0
    while step >= 2:
        half, count = step // 2, (side // step) ** 2
        parts = [draws[:, used + k * count : used + (k + 1) * count] for k in range(3)]
        noise = [wibble * (-wibble + 2 * wibble * part.reshape(-1, side // step, side // step)) for part in parts]
        _fill_squares(height, step, half, noise[0])
        _fill_diamonds(height, step, half, noise[1], noise[2])
        step, wibble, used = half, wibble / decay, used + 3 * count
    height -= height.min(axis=(1, 2), keepdims=True)
    height /= height.max(axis=(1, 2), keepdims=True)
    return height


def _fill_squares(height: Floats, step: int, half: int, noise: Floats) -> None:
    corner = height[:, ::step, ::step]
    total = corner + np.roll(corner, -1, axis=1)
    total += np.roll(total, -1, axis=2)
    height[:, half::step, half::step] = total / 4 + noise


def _fill_diamonds(height: Floats, step: int, half: int, below: Floats, beside: Floats) -> None:
    centre, corner = height[:, half::step, half::step], height[:, ::step, ::step]
    total = (centre + np.roll(centre, 1, axis=1)) + (corner + np.roll(corner, -1, axis=2))
    height[:, ::step, half::step] = total / 4 + below
    total = (centre + np.roll(centre, 1, axis=2)) + (corner + np.roll(corner, -1, axis=1))
    height[:, half::step, ::step] = total / 4 + beside
