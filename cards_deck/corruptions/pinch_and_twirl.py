"""Pinch and twirl: nine whirlpools."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from cards_deck.corruptions._base import REGISTRY, Draws, Floats, Images
from cards_deck.corruptions._cbar_warp import framed, linear_taps

Indices = npt.NDArray[np.int64]


@REGISTRY.register("pinch_and_twirl")
@dataclass(frozen=True)
class PinchAndTwirl:
    """In each of cells x cells squares a disc is pinched and turned, to the left or to the right by chance.

    CIFAR-10-C-bar (Mintun et al., NeurIPS 2021). 3 cells per axis at 32 pixels (the published code takes 5 at 224) and
    here at every size, so that the whirls keep their size in the picture. Rows and columns that the cells leave over
    (2 of 32) stay. Linear, black outside; float64 where the published code, under the numpy of its day, had float32.
    """

    level: tuple[float, ...] = (5.5, 6, 6.5, 8.5, 10)
    cells: int = 3

    def __call__(self, images: Images, severity: int, draws: Draws) -> Images:
        """See `Corruption`."""
        n, size = images.shape[:2]
        cell, index, weights = _whirls(size, self.cells, self.level[severity - 1])
        turned = draws.integers(0, 2, self.cells**2)
        place = turned.take(cell, axis=1) * size**2 + np.arange(size**2)  # [n, size * size], into both directions' taps
        source = framed(images)
        frame = source.shape[1]
        corner = index.take(place) + np.arange(n)[:, np.newaxis] * frame**2
        pixels = source.reshape(-1, 3)
        left_upper, right_upper, left_lower, right_lower = (
            pixels.take(corner + step, axis=0) for step in (0, 1, frame, frame + 1)
        )
        up, down, left, right = (weight.take(place)[..., np.newaxis] for weight in weights)
        out = (left_upper * left + right_upper * right) * up + (left_lower * left + right_lower * right) * down
        return np.asarray(np.clip(out, 0, 255).astype(np.uint8).reshape(images.shape))


@cache
def _whirls(size: int, cells: int, level: float) -> tuple[Indices, Indices, Floats]:
    """Cell of every pixel [size * size]; upper left tap [2 * size * size] and weights (up, down, left, right) of both
    directions."""
    side = size // cells
    steps = np.arange(size)
    block = np.minimum(steps // side, cells - 1)
    cell = block[np.newaxis, :] * cells + block[:, np.newaxis]  # the published order: columns of cells first
    offset = steps - (block * side + side / 2)
    down, across = np.meshgrid(offset, offset, indexing="ij")
    inside = (steps[:, np.newaxis] < side * cells) & (steps < side * cells)
    maps = [_twirled(down, across, side / 2, level, turn, inside) for turn in (1, -1)]
    centre = steps - offset
    rows = np.stack([np.where(moved, centre[:, np.newaxis] + y, steps[:, np.newaxis]) for moved, y, _ in maps])
    columns = np.stack([np.where(moved, centre + x, steps) for moved, _, x in maps])
    top, up, low = linear_taps(rows.ravel(), size)
    first, left, right = linear_taps(columns.ravel(), size)
    return cell.ravel(), top * (size + 3) + first, np.stack([up, low, left, right])


def _twirled(
    down: Floats, across: Floats, radius: float, level: float, turn: int, inside: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.bool_], Floats, Floats]:
    """Which pixels move, and the offsets from the cell's centre that they are read at."""
    distance = np.sqrt(down**2 + across**2)
    moved = inside & (distance <= radius) & (np.round(distance, 3) != 0)
    share = np.where(moved, distance / radius, 1)
    stretch = np.sin(np.pi * 0.5 * share) ** -(level * 0.4 / 10 + 0.1)
    angle = turn * level * (np.pi / 2) / 10 * (1 - share) ** 2
    y, x = down * stretch, across * stretch
    return moved, y * np.cos(angle) - x * np.sin(angle), y * np.sin(angle) + x * np.cos(angle)
