"""What every perturbation shares: the registry, and resampling a batch with one map of coordinates."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt
from scipy import sparse

from cards_deck.corruptions._base import Draws, Floats, Images
from cards_deck.registry import Registry

Frames = npt.NDArray[np.uint8]  # [n, frames, size, size, 3]


class Perturbation(Protocol):
    """A frozen dataclass whose fields hold the published constants; `frames` is the published number of frames."""

    @property
    def frames(self) -> int: ...

    def __call__(self, images: Images, frames: int, draws: Draws) -> Frames:
        """The first `frames` frames of each image's sequence, uint8 [n, frames, size, size, 3]."""
        ...


REGISTRY: Registry[Perturbation] = Registry("perturbation")


def empty_frames(images: Images, frames: int) -> Frames:
    """Room for the frames, uint8 [n, frames, size, size, 3]."""
    return np.empty((len(images), frames, *images.shape[1:]), np.uint8)


def columns_of(images: Images) -> Floats:
    """Images as the columns of a matrix, float64 [size * size, n * 3], for `sample`."""
    return np.moveaxis(images, 0, 2).reshape(images.shape[1] ** 2, -1).astype(np.float64)


def images_of(columns: Floats, size: int) -> Floats:
    """The inverse of `columns_of`, float64 [n, size, size, 3]."""
    return np.moveaxis(columns.reshape(size, size, -1, 3), 2, 0)


def bilinear_matrix(rows: Floats, columns: Floats, size: int, *, edge: str) -> sparse.csr_array:
    """[size * size, size * size]: the picture read at (row, column) [size, size], counted from pixel centres.

    edge "black": pixels outside count as 0 (OpenCV's constant border); "repeat": edge pixels are repeated for
    half a pixel and everything further out is black (Pillow).
    """
    top, left = np.floor(rows), np.floor(columns)
    down, across = rows - top, columns - left
    inside = (rows >= -0.5) & (rows < size - 0.5) & (columns >= -0.5) & (columns < size - 0.5)
    where, index, weight = [], [], []
    for step_down, down_weight in ((0, 1 - down), (1, down)):
        for step_across, across_weight in ((0, 1 - across), (1, across)):
            row, column = (top + step_down).astype(np.int64), (left + step_across).astype(np.int64)
            within = (row >= 0) & (row < size) & (column >= 0) & (column < size)
            share = down_weight * across_weight * (within if edge == "black" else inside)
            used = np.nonzero(share.ravel())[0]
            where.append(used)
            index.append((row.clip(0, size - 1) * size + column.clip(0, size - 1)).ravel()[used])
            weight.append(share.ravel()[used])
    entries = (np.concatenate(weight), (np.concatenate(where), np.concatenate(index)))
    return sparse.csr_array(entries, shape=(size**2, size**2))
