"""Technicolor: three strips of film, each dyed by what the other two let through."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cards_deck.corruptions._base import REGISTRY, Draws, Images
from cards_deck.corruptions._film import wrapped


@REGISTRY.register("technicolor")
@dataclass(frozen=True)
class Technicolor:
    """level / 10 of the image is each channel times the mattes of the other two, which are brighter where the channel
    is weaker than the mean of the others.

    Mintun et al., NeurIPS 2021 (levels for CIFAR-10; in no benchmark). As published, bright saturated values wrap
    around to dark ones. Nothing random, nothing scales with the size.
    """

    level: tuple[float, ...] = (2, 4, 6, 8, 10)

    def __call__(self, images: Images, severity: int, draws: Draws) -> Images:
        """See `Corruption`."""
        amount = self.level[severity - 1] / 10
        pairs = ((0, (1, 2)), (1, (0, 2)), (2, (0, 1)))
        half = images / 2
        mattes = [1.0 - (images[..., c] / 255 - (half[..., a] + half[..., b]) / 255) for c, (a, b) in pairs]
        dyed = np.stack([mattes[a] * mattes[b] * images[..., c] for c, (b, a) in pairs], axis=-1)
        return wrapped((1 - amount) * images + amount * dyed)
