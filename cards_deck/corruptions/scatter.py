"""Scatter: every pixel is read somewhere near it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cards_deck.corruptions._base import REGISTRY, Draws, Floats, Images
from cards_deck.corruptions._cbar_warp import sampled


@REGISTRY.register("scatter")
@dataclass(frozen=True)
class Scatter:
    """Pixels are read up to level * size / 100 rows and columns away, not beyond the border; linear.

    Mintun et al., NeurIPS 2021 (levels for CIFAR-10; in no benchmark).
    """

    level: tuple[float, ...] = (1.8, 2.6, 3.4, 4.2, 5)

    def __call__(self, images: Images, severity: int, draws: Draws) -> Images:
        """See `Corruption`."""
        size = images.shape[1]
        steps, turn = np.arange(size), 10 * draws.random(1, 1)
        away = self.level[severity - 1] / 100 * size * (2 * _hash(steps, turn) - 1)
        columns = np.clip(steps + away, 0, size - 1)
        rows = np.clip(steps[:, np.newaxis] + np.swapaxes(away, 1, 2), 0, size - 1)
        return sampled(images.astype(np.float64), rows, columns).astype(np.uint8)


def _hash(steps: npt.NDArray[np.int64], turn: Floats) -> Floats:
    """Numbers in [0, 1) that look random, float64 [n, row, column]."""
    i, j = np.sin(steps * turn), np.cos(steps * turn)
    return np.asarray((np.sin(12.9898 * i + 78.233 * np.swapaxes(j, 1, 2)) * 43758.5453) % 1)
