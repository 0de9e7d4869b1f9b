"""Gaussian blur: a soft lens."""

from __future__ import annotations

from dataclasses import dataclass

from cards_deck.corruptions._base import REGISTRY, Draws, Images, scale_of, to_uint8, unit
from cards_deck.corruptions._smoothing import gaussian


@REGISTRY.register("gaussian_blur")
@dataclass(frozen=True)
class GaussianBlur:
    """Convolution with a Gaussian, edge pixels repeated. Nothing random.

    sigma is in pixels at 32 x 32 and grows with size / 32.
    """

    sigma: tuple[float, ...] = (0.4, 0.6, 0.7, 0.8, 1)

    def __call__(self, images: Images, severity: int, draws: Draws) -> Images:
        """See `Corruption`."""
        return to_uint8(gaussian(unit(images), self.sigma[severity - 1] * scale_of(images)))
