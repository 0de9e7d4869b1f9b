"""Colour balance (spelt as published): paler or stronger colours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageEnhance

from cards_deck.corruptions._base import REGISTRY, Draws, Images


@REGISTRY.register("color_balance")
@dataclass(frozen=True)
class ColorBalance:
    """Colours come level / 10 nearer to grey, or go as far away from it, by chance.

    Mintun et al., NeurIPS 2021 (levels for CIFAR-10; in no benchmark). Nothing scales with the size.
    """

    level: tuple[float, ...] = (2, 4, 6, 8, 10)

    def __call__(self, images: Images, severity: int, draws: Draws) -> Images:
        """See `Corruption`."""
        factors = 1.0 + np.where(draws.random(1) < 0.5, -1, 1) * self.level[severity - 1] / 10
        pairs = zip(images, factors[:, 0], strict=True)
        return np.stack([np.asarray(ImageEnhance.Color(Image.fromarray(i)).enhance(float(f))) for i, f in pairs])
