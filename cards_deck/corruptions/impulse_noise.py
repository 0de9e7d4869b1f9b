"""Impulse noise: salt and pepper, as dead pixels and bit errors make."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cards_deck.corruptions._base import REGISTRY, Draws, Images


@REGISTRY.register("impulse_noise")
@dataclass(frozen=True)
class ImpulseNoise:
    """A fraction `amount` of the values, channels independently, becomes 0 or 255 with equal chance.

    As skimage.util.random_noise(mode="s&p") decides it. Nothing scales with the size.
    """

    amount: tuple[float, ...] = (0.01, 0.02, 0.03, 0.05, 0.07)

    def __call__(self, images: Images, severity: int, draws: Draws) -> Images:
        """See `Corruption`."""
        flipped = draws.random(*images.shape[1:]) <= self.amount[severity - 1]
        salted = draws.random(*images.shape[1:]) <= 0.5
        return np.where(flipped, np.where(salted, np.uint8(255), np.uint8(0)), images)
