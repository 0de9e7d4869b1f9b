"""Plasma noise: swirls of colour, as screen savers draw them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cards_deck.corruptions._base import REGISTRY, Draws, Floats, Images

_MOST_TURNS = 6
_TURN = 0.3  # of each step, to its left
_GROWTH = (1.93, 1.15)  # of the swirls' frequency from step to step, and of their phase's divisor


@REGISTRY.register("plasma_noise")
@dataclass(frozen=True)
class PlasmaNoise:
    """(1 - 0.0251 * level) * x + 6.4 * level grey levels of sines of a position that was swirled four to six times.

    Mintun et al., NeurIPS 2021 (ImageNet-C-bar; levels for CIFAR-10). Swirls are a share of the side wide, so they hold
    for every size; what is added lies around 0 and is darker than what is taken away.
    """

    level: tuple[float, ...] = (1.4, 2.8, 4.2, 5.6, 7)

    def __call__(self, images: Images, severity: int, draws: Draws) -> Images:
        """See `Corruption`."""
        size = images.shape[1]
        intensity = self.level[severity - 1] * 64 / 10
        drawn = [
            (g.uniform(0, 6 * np.pi), g.integers(4, 7), g.uniform(0.5, 1.0), g.uniform(0.075, 0.2))
            for g in draws.generators
        ]
        time, turns, sharpness, scale = np.array(drawn).T[..., np.newaxis, np.newaxis]
        steps = np.arange(size) / (scale * size)
        colours = _plasma(steps, np.swapaxes(steps, 1, 2), time, turns, sharpness)
        return np.clip((1 - intensity / 255) * images + intensity * colours, 0, 255).astype(np.uint8)


def _plasma(x: Floats, y: Floats, time: Floats, turns: Floats, sharpness: Floats) -> Floats:
    """Colours in [-1, 1], float64 [n, size, size, 3], at positions x [n, 1, size] and y [n, size, 1]."""
    x, y = np.broadcast_arrays(x, y)
    frequency, later, finer = 1.0, 1.0, np.ones_like(time)
    for turn in range(_MOST_TURNS):
        across = np.cos(y * frequency + time / later) / finer
        down = np.sin(x * frequency + time / later) / finer
        on = turn < turns
        x, y = x + on * (across - _TURN * down), y + on * (down + _TURN * across)
        frequency, later, finer = frequency * _GROWTH[0], later * _GROWTH[1], finer * (2.25 - sharpness)
    return np.stack([np.sin(x - time), np.sin((x + y + np.sin(time)) * 0.5), np.sin(y + time)], axis=-1)
