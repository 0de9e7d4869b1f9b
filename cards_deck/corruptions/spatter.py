"""Spatter: drops of water or mud on the lens."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cards_deck.corruptions._base import REGISTRY, Draws, Floats, Images, scale_of, to_uint8
from cards_deck.corruptions._relief import box_mean, canny, chamfer_distance, embossed, equalized
from cards_deck.corruptions._smoothing import gaussian

Float32s = npt.NDArray[np.float32]

WATER = np.array([175, 238, 238], np.float32) / np.float32(255)  # pale turquoise
_MUD = np.array([63, 42, 20], np.float32) / np.float32(255)  # brown
_FARTHEST = 20  # pixels, at 32 x 32


@REGISTRY.register("spatter")
@dataclass(frozen=True)
class Spatter:
    """Where a field N(mean, std) blurred by `sigma` exceeds `threshold` there is water, at severities 4 and 5 mud.

    Water adds light in proportion to the field and to a relief embossed from the distances to the drops' edges, at
    most `last`. Mud covers the picture where the drops, blurred by `last`, are at least 0.8. An image that catches no
    water stays as it is (there the published code divides by zero).

    sigma, mud's blur, distances, smoothing windows and the emboss belong to 32 x 32 and grow with size / 32 (windows
    rounded), so that drops keep their size in the picture. A wider blur levels the noise; its std grows to make up.
    """

    mean: tuple[float, ...] = (0.62, 0.65, 0.65, 0.65, 0.65)
    std: tuple[float, ...] = (0.1, 0.1, 0.3, 0.1, 0.1)
    sigma: tuple[float, ...] = (0.7, 0.8, 1, 0.7, 0.5)
    threshold: tuple[float, ...] = (0.7, 0.7, 0.69, 0.69, 0.68)
    last: tuple[float, ...] = (0.5, 0.5, 0.5, 0.6, 0.6)
    mud: tuple[bool, ...] = (False, False, False, True, True)

    def __call__(self, images: Images, severity: int, draws: Draws) -> Images:
        """See `Corruption`."""
        s, scale, size = severity - 1, scale_of(images), images.shape[1]
        sigma = self.sigma[s]
        std = self.std[s] * levelling(sigma) / levelling(sigma * scale)
        liquid = gaussian(self.mean[s] + std * draws.normal(size, size), sigma * scale)
        x = images.astype(np.float32) / np.float32(255)
        if self.mud[s]:
            cover = gaussian((liquid > self.threshold[s]).astype(np.float32), self.last[s] * scale)
            cover = np.where(cover < np.float32(0.8), np.float32(0), cover)[..., np.newaxis]
            return to_uint8(x * (1 - cover) + _MUD * cover)
        light = wet(np.where(liquid < self.threshold[s], 0, liquid), scale) * np.float32(self.last[s])
        return to_uint8(x + light[..., np.newaxis] * WATER)


def levelling(sigma: float) -> float:
    """The standard deviation that white noise of 1 keeps under this blur."""
    size = 2 * int(4 * sigma + 0.5) + 1
    impulse = np.zeros((1, size, size))
    impulse[0, size // 2, size // 2] = 1
    return float(np.sqrt(np.sum(gaussian(impulse, sigma) ** 2)))


def wet(liquid: Floats, scale: float) -> Float32s:
    """The light that drops catch, brightest 1 in each image: float32 [n, size, size]."""
    reach = max(1, round(scale))
    field = (liquid * 255).astype(np.int64).astype(np.uint8)  # a rare value above 1 wraps, as published
    distance = np.minimum(chamfer_distance(canny(field, 50, 150)) / np.float32(scale), np.float32(_FARTHEST))
    levels = equalized(box_mean(distance, reach).astype(np.float32).astype(np.uint8))
    relief = np.rint(box_mean(embossed(levels, reach), reach)).astype(np.float32)
    light = field * relief
    brightest = light.max(axis=(1, 2), keepdims=True)
    return np.asarray(light / np.where(brightest == 0, 1, brightest), np.float32)
