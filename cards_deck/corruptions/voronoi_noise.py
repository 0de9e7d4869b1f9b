"""Voronoi noise: cells around random points."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cards_deck.corruptions._base import REGISTRY, Draws, Floats, Images

_MIX = ((13.85, 47.77), (99.41, 88.48))  # of a cell's column and row, before the sine that makes them look random


@REGISTRY.register("voronoi_noise")
@dataclass(frozen=True)
class VoronoiNoise:
    """Brighter the further a pixel is from the nearest point, or darker, by chance; 25.5 level grey levels in all.

    Mintun et al., NeurIPS 2021 (levels for CIFAR-10; in no benchmark). Cells are a share of the side wide.
    """

    level: tuple[float, ...] = (1.8, 2.6, 3.4, 4.2, 5)

    def __call__(self, images: Images, severity: int, draws: Draws) -> Images:
        """See `Corruption`."""
        size = images.shape[1]
        time, density = 10 * draws.random(1, 1), draws.uniform(0.5, 0.9, 1, 1)
        steps = np.arange(size) / (draws.uniform(0.05, 0.2, 1) * size) + 1
        intensity = self.level[severity - 1] * 255 / 10 * np.where(draws.random(1, 1) > 0.5, -1, 1)
        near = np.clip(_distance(steps, time) * density, 0, 1)
        cells = np.clip(3 * near**2 - 2 * near**3, 0, 1) - 0.5
        return np.clip(images + (intensity * cells)[..., np.newaxis], 0, 255).astype(np.uint8)


def _distance(steps: Floats, time: Floats) -> Floats:
    """To the nearest point, 1 at most, float64 [n, row, column]; steps [n, size] count cells, each of which has a
    point."""
    x, y = steps[:, np.newaxis], steps[:, :, np.newaxis]
    nearest = np.ones((len(steps), steps.shape[1], steps.shape[1]))
    for i in (-1, 0, 1):
        for j in (-1, 0, 1):
            column, row = np.floor(x) + i, np.floor(y) + j
            across, down = (_hash(a * column + b * row, time) for a, b in _MIX)
            nearest = np.minimum(nearest, np.hypot(i + across - x % 1, j + down - y % 1))
    return nearest


def _hash(mixed: Floats, time: Floats) -> Floats:
    return np.asarray((np.sin(mixed) * np.sqrt(mixed) * time * 0.0025) % 1)
