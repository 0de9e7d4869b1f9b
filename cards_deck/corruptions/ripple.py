"""Ripple: rows and columns shifted along sine waves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cards_deck.corruptions._base import REGISTRY, Draws, Images
from cards_deck.corruptions._cbar_warp import framed, linear_taps


@REGISTRY.register("ripple")
@dataclass(frozen=True)
class Ripple:
    """Row y is read at y + amplitude * sin(2 pi y / wavelength + phase), columns likewise; linear, black outside.

    CIFAR-10-C-bar (Mintun et al., NeurIPS 2021). The amplitude is level * size / 400 and the wavelengths 0.1 to 0.3 of
    the side, so both grow with the size. The axes do not mix: columns are resampled, then rows.
    """

    level: tuple[float, ...] = (5.5, 6, 6.5, 7.5, 8)

    def __call__(self, images: Images, severity: int, draws: Draws) -> Images:
        """See `Corruption`."""
        size = images.shape[1]
        amplitude = self.level[severity - 1] * 0.025 / 10 * size
        wavelength = draws.uniform(0.1, 0.3, 2, 1) * size
        phase = 2 * np.pi * draws.random(2, 1)
        steps = np.arange(size)
        low, left, right = linear_taps(steps + amplitude * np.sin(2 * np.pi * steps / wavelength + phase), size)
        left, right = left[..., np.newaxis], right[..., np.newaxis]  # [n, (rows, columns), size, 1]
        out = np.empty(images.shape)
        for image, source, (y, x), (y0, x0), (y1, x1) in zip(out, framed(images), low, left, right, strict=True):
            wide = source.take(x, 1) * x0 + source.take(x + 1, 1) * x1
            image[...] = wide.take(y, 0) * y0[..., np.newaxis] + wide.take(y + 1, 0) * y1[..., np.newaxis]
        return np.clip(out, 0, 255).astype(np.uint8)
