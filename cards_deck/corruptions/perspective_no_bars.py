"""Perspective: the picture as a board that is turned, stretched and moved."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from cards_deck.corruptions._base import REGISTRY, Draws, Images
from cards_deck.corruptions._transformed import transformed


@REGISTRY.register("perspective_no_bars")
@dataclass(frozen=True)
class PerspectiveNoBars:
    """Moved by level / 100 of the side, sheared by level / 100 and stretched by 2 ** (0.015 level), each of both axes
    to either side by chance, and nearer towards the lower right corner; the untouched picture beyond its border.

    Mintun et al., NeurIPS 2021 (levels for CIFAR-10; in no benchmark). Lengths are shares of the side.
    """

    level: tuple[float, ...] = (2, 4, 6, 8, 10)

    def __call__(self, images: Images, severity: int, draws: Draws) -> Images:
        """See `Corruption`."""
        size, share = images.shape[1], self.level[severity - 1] / 10
        signs = np.where(draws.random(6) > 0.5, -1, 1)
        shear_x, shear_y, move_x, move_y, stretch_x, stretch_y = (
            signs * share * np.array([0.1, 0.1, size / 10, size / 10, 0.15, 0.15])
        ).T
        nearer = np.full(len(images), share * 0.2 / size)
        rows = [2**stretch_x, shear_x, move_x, shear_y, 2**stretch_y, move_y, nearer, nearer]
        return transformed(images, Image.Transform.PERSPECTIVE, np.stack(rows, axis=1))
