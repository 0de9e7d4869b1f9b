"""Pseudocolour: brightness drawn in five random colours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cards_deck.corruptions._base import REGISTRY, Draws, Images
from cards_deck.corruptions._film import luma

_STEPS = 4  # of brightness, between five colours


@REGISTRY.register("pseudocolor")
@dataclass(frozen=True)
class Pseudocolor:
    """level / 20 of the image is a colour by its brightness, between one colour and the next in part evenly and in part
    smoothly.

    Mintun et al., NeurIPS 2021 (levels for CIFAR-10; in no benchmark). As published, the smooth part goes up from the
    first colour by a difference in bytes, which wraps around where the next colour is darker. Nothing scales with the
    size.
    """

    level: tuple[float, ...] = (1.4, 2.8, 4.2, 5.6, 7)

    def __call__(self, images: Images, severity: int, draws: Draws) -> Images:
        """See `Corruption`."""
        amount = self.level[severity - 1] * 0.5 / 10
        smoothness = draws.uniform(0.25, 0.75, 1, 1, 1)
        colours = draws.integers(0, 255, _STEPS + 1, 3)[:, :, np.newaxis, np.newaxis]  # [n, colour, 1, 1, channel]
        bright = luma(images)
        step = np.minimum(np.floor(bright * _STEPS), _STEPS - 1)
        out = np.zeros(images.shape)
        for place in range(_STEPS):
            first, second = colours[:, place], colours[:, place + 1]
            low, high = place / _STEPS, (place + 1) / _STEPS
            even = _STEPS * (bright - low)
            share = (np.clip(bright, low, high) - low) / (high - low)
            smooth = first + (second - first) % 256 * np.clip(3 * share**2 - 2 * share**3, 0, 1)
            colour = (1 - smoothness) * ((1 - even) * first + even * second) + smoothness * smooth
            out += (step == place) * colour
        return np.clip((1 - amount) * images + amount * out, 0, 255).astype(np.uint8)
