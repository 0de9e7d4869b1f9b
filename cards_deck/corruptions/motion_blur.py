"""Motion blur: the camera moves sideways."""

from __future__ import annotations

from dataclasses import dataclass

from cards_deck.corruptions._base import REGISTRY, Draws, Images, scale_of
from cards_deck.corruptions._geometry import motion_blur


@REGISTRY.register("motion_blur")
@dataclass(frozen=True)
class MotionBlur:
    """ImageMagick's one-sided motion blur along a random angle within 45 degrees of the horizontal.

    radius and sigma are in pixels at 32 x 32 and grow with size / 32.
    """

    radius: tuple[float, ...] = (6, 6, 6, 8, 9)
    sigma: tuple[float, ...] = (1, 1.5, 2, 2, 2.5)

    def __call__(self, images: Images, severity: int, draws: Draws) -> Images:
        """See `Corruption`."""
        scale, angles = scale_of(images), draws.uniform(-45, 45, 1)[:, 0]
        return motion_blur(images, self.radius[severity - 1] * scale, self.sigma[severity - 1] * scale, angles)
