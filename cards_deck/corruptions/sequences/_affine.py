"""Rotation and scaling about the middle, as torchvision and Pillow did them when CIFAR-10-P was made."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy import sparse

from cards_deck.corruptions._base import Floats, Images
from cards_deck.corruptions.sequences._base import bilinear_matrix, images_of

_LAST_BITS = 1e-6  # a sum of weights that is 1 but for its last bits must not lose a grey level


def affine(columns: Floats, size: int, *, angle: float = 0.0, scale: float = 1.0) -> Images:
    """Images turned by `angle` degrees and enlarged by `scale`; linear, truncated to uint8, black outside.

    columns: float64 [size * size, n * 3], of `columns_of` -> uint8 [n, size, size, 3].
    """
    sampled = _matrix(size, angle, scale) @ columns
    return images_of(sampled + _LAST_BITS, size).astype(np.uint8)


@lru_cache(maxsize=128)
def _matrix(size: int, angle: float, scale: float) -> sparse.csr_array:
    """Where torchvision.transforms.functional.affine (of 2018) reads: its fixed point is size / 2 + 1/2.

    In Pillow's coordinates, where the first pixel reaches from 0 to 1, that is half a pixel off the middle.
    """
    cosine, sine = np.cos(np.deg2rad(angle)) / scale, np.sin(np.deg2rad(angle)) / scale
    centre = size * 0.5 + 0.5
    offset = np.arange(size) + 0.5 - centre
    y, x = offset[:, np.newaxis], offset
    rows, columns = cosine * y - sine * x + centre, cosine * x + sine * y + centre
    return bilinear_matrix(rows - 0.5, columns - 0.5, size, edge="repeat")
