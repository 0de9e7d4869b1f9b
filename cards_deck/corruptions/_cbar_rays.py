"""Stars: light that falls off along rays of random lengths."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cards_deck.corruptions._base import Floats

MOST_RAYS = 200  # the published code draws from 50 to 199
_JITTER = 25 / 100  # standard deviation of the rays' lengths, relative to the radius


def ray_lengths(generator: np.random.Generator, rays: int, radius: float) -> Floats:
    """Random lengths around `radius` in pixels, repeated from the first after the last, float64 [MOST_RAYS + 1]."""
    lengths = radius + _JITTER * radius * generator.standard_normal(rays)
    return np.asarray(lengths.take(np.arange(MOST_RAYS + 1), mode="wrap"))


def glow(size: int, centre: Floats, rays: npt.NDArray[np.int64], lengths: Floats, power: float) -> Floats:
    """Light in [0, 1] of one star per image, float64 [n, size, size].

    centre: row and column, [n, 2]; rays: their number, [n]; lengths: in pixels, [n, MOST_RAYS + 1]. At a distance r the
    light is (length / r) ** (2 * power), and a quarter less on a ray than half-way to the next one.
    """
    steps = np.arange(size)
    down, across = steps - centre[:, :1], steps - centre[:, 1:]
    down, across = down[:, :, np.newaxis], across[:, np.newaxis, :]
    place = (np.arctan2(across, down) + np.pi) / (2 * np.pi) * rays[:, np.newaxis, np.newaxis]
    ray = place.astype(np.int64)
    between = place - ray
    ray += np.arange(len(lengths))[:, np.newaxis, np.newaxis] * lengths.shape[1]
    near, far = lengths.take(ray), lengths.take(ray + 1)
    light = (near + between * (far - near)) ** 2 / (down**2 + across**2 + 1e-4)
    if power != 1:
        light **= power
    return np.clip((1 - (between - 0.5) ** 2) * light, 0, 1)
