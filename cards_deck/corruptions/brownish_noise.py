"""Brownish noise: soft coloured clouds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cards_deck.corruptions._base import REGISTRY, Draws, Images
from cards_deck.corruptions._cbar_noise import coloured_noise, radius_squared


@REGISTRY.register("brownish_noise")
@dataclass(frozen=True)
class BrownishNoise:
    """x + 6.4 * level grey levels of noise of amplitude 1 / (frequency squared + 1), a field of its own per channel.

    CIFAR-10-C-bar (Mintun et al., NeurIPS 2021). Frequencies are in cycles per image, so the clouds keep their size in
    the picture. Each field has a mean of its own, which shifts the whole channel.
    """

    level: tuple[float, ...] = (2.5, 4, 5.5, 6.5, 7)

    def __call__(self, images: Images, severity: int, draws: Draws) -> Images:
        """See `Corruption`."""
        noise = coloured_noise(draws, 1 / (radius_squared(images.shape[1]) + 1))
        return np.clip(images + self.level[severity - 1] * 64 / 10 * noise, 0, 255).astype(np.uint8)
