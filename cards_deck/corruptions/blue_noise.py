"""Blue noise: fine coloured grain, none of it coarse."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cards_deck.corruptions._base import REGISTRY, Draws, Images
from cards_deck.corruptions._cbar_noise import coloured_noise, radius_squared


@REGISTRY.register("blue_noise")
@dataclass(frozen=True)
class BlueNoise:
    """x + 19.6 * level grey levels of noise of amplitude proportional to the frequency, a field of its own per channel.

    Mintun et al., NeurIPS 2021 (levels for CIFAR-10; in no benchmark). The grain is one pixel at every size.
    """

    level: tuple[float, ...] = (0.4, 0.8, 1.2, 1.6, 2)

    def __call__(self, images: Images, severity: int, draws: Draws) -> Images:
        """See `Corruption`."""
        noise = coloured_noise(draws, np.sqrt(radius_squared(images.shape[1])))
        return np.clip(images + self.level[severity - 1] * 196 / 10 * noise, 0, 255).astype(np.uint8)
