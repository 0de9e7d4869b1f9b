"""Fish eye: seen through a screen of small lenses."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cards_deck.corruptions._base import REGISTRY, Draws, Floats, Images

_LENSES = 501


@REGISTRY.register("fish_eye")
@dataclass(frozen=True)
class FishEye:
    """Half balls of glass of refractive index 1 + level / 5 at random places, each over what those before it show.

    Mintun et al., NeurIPS 2021 (levels for CIFAR-10, of the version that they call fish_eye_v2; in no benchmark). A
    lens has a radius of a twentieth of the side, 3 pixels at least, and their number is the same at every size; linear.
    """

    level: tuple[float, ...] = (0.2, 0.4, 0.6, 0.8, 1)

    def __call__(self, images: Images, severity: int, draws: Draws) -> Images:
        """See `Corruption`."""
        n, size = images.shape[:2]
        index = 1 + self.level[severity - 1] * 2 / 10
        radius = max(0.05 * size, 3)
        border = math.ceil(radius) + 2
        wide = size + 2 * border
        frame = np.zeros((n, wide, wide, 3), np.float32)
        frame[:, border:-border, border:-border] = images
        values = frame.reshape(-1, 3)
        first = (np.arange(n) * wide**2)[:, np.newaxis, np.newaxis]

        def seen(rows: npt.NDArray[np.int64], columns: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
            return np.asarray(values[first + (rows + border) * wide + columns + border])

        for centre in np.moveaxis(draws.uniform(0, size, _LENSES, 2), 1, 0):
            corner = np.floor(centre - radius).astype(np.int64)
            steps = np.arange(math.ceil(2 * radius) + 1)
            rows = (corner[:, :1] + steps)[:, :, np.newaxis]
            columns = (corner[:, 1:] + steps)[:, np.newaxis]
            down, across, inside = _refracted(rows, columns, centre, radius, index)
            top, left = np.floor(down).astype(np.int64), np.floor(across).astype(np.int64)
            low, right = (down - top)[..., np.newaxis], (across - left)[..., np.newaxis]
            upper = seen(top, left) * (1 - right) + seen(top, left + 1) * right
            lower = seen(top + 1, left) * (1 - right) + seen(top + 1, left + 1) * right
            inside &= (rows >= 0) & (rows < size) & (columns >= 0) & (columns < size)
            shown = (upper * (1 - low) + lower * low)[inside]
            values[(first + (rows + border) * wide + columns + border)[inside]] = shown
        return np.clip(frame[:, border:-border, border:-border], 0, 255).astype(np.uint8)


def _refracted(
    rows: npt.NDArray[np.int64], columns: npt.NDArray[np.int64], centre: Floats, radius: float, index: float
) -> tuple[Floats, Floats, npt.NDArray[np.bool_]]:
    """Where each pixel's ray comes from, in rows and columns [n, row, column], and which pixels the lens covers."""
    down = rows - centre[:, :1, np.newaxis]
    across = columns - centre[:, 1:, np.newaxis]
    share = 1 - down**2 / radius**2 - across**2 / radius**2
    height = radius * np.sqrt(np.maximum(share, 0))
    return (
        rows - _bent(down, height, index),
        columns - _bent(across, height, index),
        across**2 < radius**2 - down**2,
    )


def _bent(away: Floats, height: Floats, index: float) -> Floats:
    """By how much an upright ray is bent towards the lens's middle, which is `away`, at its surface's `height`."""
    length = np.hypot(away, height)
    sine = away / np.where(length == 0, 1, length)
    return np.asarray(np.tan(np.arcsin(sine) - np.arcsin(sine / index)) * height)
