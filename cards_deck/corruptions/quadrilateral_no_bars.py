"""Quadrilateral: the picture's four corners moved, each by itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from cards_deck.corruptions._base import REGISTRY, Draws, Images
from cards_deck.corruptions._transformed import transformed


@REGISTRY.register("quadrilateral_no_bars")
@dataclass(frozen=True)
class QuadrilateralNoBars:
    """What lies between four points is shown, each up to level / 30 of the side away from its corner in both axes; the
    untouched picture beyond its border.

    Mintun et al., NeurIPS 2021 (levels for CIFAR-10; in no benchmark). Lengths are shares of the side.
    """

    level: tuple[float, ...] = (2, 4, 6, 8, 10)

    def __call__(self, images: Images, severity: int, draws: Draws) -> Images:
        """See `Corruption`."""
        size = images.shape[1]
        corners = np.array([[0, 0], [0, size], [size, size], [size, 0]])
        points = corners + self.level[severity - 1] / 10 * size / 3 * draws.uniform(-1, 1, 4, 2)
        return transformed(images, Image.Transform.QUAD, points.reshape(len(images), 8))
