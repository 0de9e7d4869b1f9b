"""Caustics: the net of light that waves throw on the bottom."""

from __future__ import annotations

import numpy as np

from cards_deck.corruptions._base import Floats

_FINE = 0.005  # how sharp they are


def caustics(size: int, time: float, period: float) -> Floats:
    """Light on the bottom in [0, 1], float64 [size, size], repeating after `period` pixels."""
    angle = (np.arange(size) / period % 1) * 6.28318530718 - 250
    y, x = angle[:, np.newaxis], angle
    down, across, light = y, x, np.ones((size, size))
    for wave in range(5):
        turn = time * (1 - 3.5 / (wave + 1))
        down, across = (
            y + np.cos(turn - down) + np.sin(turn + across),
            x + np.sin(turn - across) + np.cos(turn + down),
        )
        light += 1 / np.hypot(y * _FINE / np.sin(down + turn), x * _FINE / np.cos(across + turn))
    return np.asarray(np.clip(np.abs(1.17 - (light / 5) ** 1.4) ** 8, 0, 1))
