"""Blue noise sample: pixels dropped to black, never many in one place."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cards_deck.corruptions._base import REGISTRY, Draws, Images
from cards_deck.corruptions._cbar_noise import radius_squared, spectral_noise


@REGISTRY.register("blue_noise_sample")
@dataclass(frozen=True)
class BlueNoiseSample:
    """Black wherever a field of blue noise (amplitude proportional to frequency, std 1) is at most 0.3 * level - 2.5.

    CIFAR-10-C-bar (Mintun et al., NeurIPS 2021). The grain is one pixel at every size, as published; the share of
    black pixels, 1 % to 11 %, does not depend on the size.
    """

    level: tuple[float, ...] = (0.7, 1.4, 2.1, 3.5, 4.2)

    def __call__(self, images: Images, severity: int, draws: Draws) -> Images:
        """See `Corruption`."""
        amplitude = np.sqrt(radius_squared(images.shape[1]))
        threshold = self.level[severity - 1] * 3.0 / 10 - 2.5
        kept = np.stack([spectral_noise(generator, amplitude) > threshold for generator in draws.generators])
        return images * kept[..., np.newaxis]
