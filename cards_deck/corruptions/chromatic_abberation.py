"""Chromatic aberration (spelt as published): the three colours come apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cards_deck.corruptions._base import REGISTRY, Draws, Floats, Images
from cards_deck.corruptions._cbar_spline import TIE, cubic_taps


@REGISTRY.register("chromatic_abberation")
@dataclass(frozen=True)
class ChromaticAbberation:
    """Each channel is moved by level * size / 100 pixels into a direction of its own; black moves in.

    Mintun et al., NeurIPS 2021 (levels for CIFAR-10; in no benchmark). The published code leaves out the spline's
    prefilter, so that all channels are smoothed as well; kept.
    """

    level: tuple[float, ...] = (1.4, 2.8, 4.2, 5.6, 7)

    def __call__(self, images: Images, severity: int, draws: Draws) -> Images:
        """See `Corruption`."""
        angles = 2 * np.pi * draws.random(3)
        away = self.level[severity - 1] / 100 * images.shape[1]
        out = np.empty(images.shape)
        for image, moved, down, across in zip(images, out, np.cos(angles) * away, np.sin(angles) * away, strict=True):
            for channel in range(3):
                moved[..., channel] = _moved(image[..., channel].astype(np.float64), down[channel], across[channel])
        return np.floor(np.clip(out, 0, 255) + (0.5 + TIE)).astype(np.uint8)


def _moved(plane: Floats, down: float, across: float) -> Floats:
    """scipy.ndimage.shift(plane, (down, across), prefilter=False), [size, size] -> the same."""
    steps = np.arange(len(plane), dtype=np.float64)
    rows, columns = (zip(*cubic_taps(steps - by, len(plane)), strict=True) for by in (down, across))
    tall = sum(plane.take(tap, 0) * weight[:, np.newaxis] for tap, weight in rows)
    return np.asarray(sum(np.take(tall, tap, 1) * weight for tap, weight in columns))
