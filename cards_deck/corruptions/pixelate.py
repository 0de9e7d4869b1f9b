"""Pixelate: a low-resolution picture shown large."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from cards_deck.corruptions._base import REGISTRY, Draws, Images


@REGISTRY.register("pixelate")
@dataclass(frozen=True)
class Pixelate:
    """Pillow's BOX filter down to int(size * factor) pixels and up again; each step rounds to uint8.

    Nothing random. The factor is a ratio, so it holds for every size.
    """

    factor: tuple[float, ...] = (0.95, 0.9, 0.85, 0.75, 0.65)

    def __call__(self, images: Images, severity: int, draws: Draws) -> Images:
        """See `Corruption`."""
        size = images.shape[1]
        small = int(size * self.factor[severity - 1])
        return np.stack([_down_and_up(image, small, size) for image in images])


def _down_and_up(image: Images, small: int, size: int) -> Images:
    box = Image.Resampling.BOX
    return np.asarray(Image.fromarray(image).resize((small, small), box).resize((size, size), box))
