"""Frost: ice crystals on the lens."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cards_deck.corruptions._base import REGISTRY, Draws, Images
from cards_deck.corruptions._textures import frost_textures


@REGISTRY.register("frost")
@dataclass(frozen=True)
class Frost:
    """keep * image + add * a random crop of one of five pictures of frost; see `frost_source`.

    The pictures are scaled by 0.2 * size / 32, so that crystals keep their size in the picture.
    """

    keep: tuple[float, ...] = (1, 1, 0.9, 0.85, 0.75)
    add: tuple[float, ...] = (0.2, 0.3, 0.4, 0.4, 0.45)

    def __call__(self, images: Images, severity: int, draws: Draws) -> Images:
        """See `Corruption`."""
        ice = np.stack([_crop(generator, images.shape[1]) for generator in draws.generators])
        mixed = self.keep[severity - 1] * images + self.add[severity - 1] * ice
        return np.clip(mixed, 0, 255).astype(np.uint8)


def _crop(generator: np.random.Generator, size: int) -> Images:
    textures = frost_textures(size)
    texture = textures[generator.integers(len(textures))]
    row, column = (generator.integers(length - size) for length in texture.shape[:2])
    return texture[row : row + size, column : column + size]
