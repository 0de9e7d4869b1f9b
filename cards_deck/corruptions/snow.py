"""Snow: flakes blurred along their fall, and a whitened scene."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cards_deck.corruptions._base import REGISTRY, Draws, Floats, Images, scale_of, to_uint8
from cards_deck.corruptions._geometry import clipped_zoom, motion_blur

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # cv2.COLOR_RGB2GRAY


@REGISTRY.register("snow")
@dataclass(frozen=True)
class Snow:
    """A field N(mean, std), enlarged by `zoom`, zero below `threshold`, motion-blurred downwards, added twice (once
    turned by 180 degrees) to the image, which keeps a share `mix` of itself and takes the rest from a whitened copy.

    zoom, radius and sigma belong to 32 x 32 and grow with size / 32, so that flakes keep their size in the picture.
    """

    mean: tuple[float, ...] = (0.1, 0.1, 0.15, 0.25, 0.3)
    std: tuple[float, ...] = (0.2, 0.2, 0.3, 0.3, 0.3)
    zoom: tuple[float, ...] = (1, 1, 1.75, 2.25, 1.25)
    threshold: tuple[float, ...] = (0.6, 0.5, 0.55, 0.6, 0.65)
    radius: tuple[float, ...] = (8, 10, 10, 12, 14)
    sigma: tuple[float, ...] = (3, 4, 4, 6, 12)
    mix: tuple[float, ...] = (0.95, 0.9, 0.9, 0.85, 0.8)

    def __call__(self, images: Images, severity: int, draws: Draws) -> Images:
        """See `Corruption`."""
        layer = self._layer(severity - 1, images.shape[1], scale_of(images), draws)
        x = (images / 255.0).astype(np.float32)
        grey = x[..., 0] * _LUMA[0] + x[..., 1] * _LUMA[1] + x[..., 2] * _LUMA[2]
        white = np.maximum(x, (grey * np.float32(1.5) + np.float32(0.5))[..., np.newaxis])
        mix = self.mix[severity - 1]
        x = np.float32(mix) * x + np.float32(1 - mix) * white
        return to_uint8(x + layer + np.rot90(layer, k=2, axes=(1, 2)))

    def _layer(self, s: int, size: int, scale: float, draws: Draws) -> Floats:
        """The flakes in [0, 1], [n, size, size, 1]."""
        field = self.mean[s] + self.std[s] * draws.normal(size, size)
        field = np.moveaxis(clipped_zoom(np.moveaxis(field, 0, -1), self.zoom[s] * scale), -1, 0).swapaxes(1, 2)
        field[field < self.threshold[s]] = 0
        angles = draws.uniform(-135, -45, 1)[:, 0]
        flakes = to_uint8(field)[..., np.newaxis]
        return motion_blur(flakes, self.radius[s] * scale, self.sigma[s] * scale, angles) / 255.0
