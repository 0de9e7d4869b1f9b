"""Transverse chromatic aberration (spelt as published): a lens enlarges each colour by another factor."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from cards_deck.corruptions._base import REGISTRY, Draws, Floats, Images
from cards_deck.corruptions._cbar_spline import TIE, cubic_taps


@REGISTRY.register("transverse_chromatic_abberation")
@dataclass(frozen=True)
class TransverseChromaticAbberation:
    """The three channels, in random order, enlarged about the middle by 1, 1 + level / 40 and 1 + level / 20.

    CIFAR-10-C-bar (Mintun et al., NeurIPS 2021). The published code leaves out the spline's prefilter, so that all
    three are smoothed as well, the first by (1, 4, 1) / 6 along each axis; kept. Factors are ratios, so they hold for
    every size; enlarged sides are rounded to whole pixels.
    """

    level: tuple[float, ...] = (1, 2, 5, 9, 10)

    def __call__(self, images: Images, severity: int, draws: Draws) -> Images:
        """See `Corruption`."""
        largest = self.level[severity - 1] * 0.5 / 10
        planes = np.ascontiguousarray(np.moveaxis(images, -1, 1), dtype=np.float64)
        order = np.stack([generator.permutation(3) for generator in draws.generators])  # channel -> which factor
        everyone = np.arange(len(images))
        out = np.empty_like(planes)
        for place, factor in enumerate((1.0, 1.0 + largest / 2, 1.0 + largest)):
            channel = np.argmax(order == place, axis=1)
            out[everyone, channel] = _enlarged(planes[everyone, channel], factor)
        return np.floor(np.clip(np.moveaxis(out, 1, -1), 0, 255) + (0.5 + TIE)).astype(np.uint8)


def _enlarged(planes: Floats, factor: float) -> Floats:
    """The middle of scipy.ndimage.zoom(prefilter=False), [n, size, size] -> the same."""
    taps, weights = _zoom_taps(planes.shape[1], factor)
    tall = sum(planes.take(tap, 1) * weight[:, np.newaxis] for tap, weight in zip(taps, weights, strict=True))
    return np.asarray(sum(np.take(tall, tap, 2) * weight for tap, weight in zip(taps, weights, strict=True)))


@cache
def _zoom_taps(size: int, factor: float) -> tuple[npt.NDArray[np.int64], Floats]:
    enlarged = round(size * factor)
    edge = (enlarged - size) // 2
    return cubic_taps(np.arange(edge, edge + size, dtype=np.float64) * ((size - 1) / (enlarged - 1)), size)
