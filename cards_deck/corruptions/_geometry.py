"""Linear interpolation, zooming and motion blur on batches.

Everything here is elementwise over the batch, no matrix product and no sum over images: a BLAS call may round
differently for another batch size, and then an image would not get the same pixels alone as in a batch.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import numpy.typing as npt
from scipy import ndimage, sparse

from cards_deck.corruptions._base import Floats

Indices = npt.NDArray[np.int64]


@cache
def zoom_operator(size: int, factor: float) -> sparse.csr_array:
    """Published `clipped_zoom` along one axis, as a matrix [size, size] of at most two numbers a row.

    Cropped to ceil(size / factor) in the middle, enlarged by scipy's order-1 zoom, trimmed to `size` again. It is read
    off scipy's own zoom of the identity, so it holds its rounding of lengths and its last point.
    """
    crop = math.ceil(size / factor)
    top = (size - crop) // 2
    operator = ndimage.zoom(np.eye(crop), (factor, 1), order=1)  # [enlarged, crop]
    trim = (len(operator) - size) // 2
    return sparse.csr_array(np.pad(operator[trim : trim + size], ((0, 0), (top, size - crop - top))))


def clipped_zoom(stack: Floats, factor: float) -> Floats:
    """Enlarge the middle of images that lie along the last axis, float64 [size, size, n]; the result is transposed.

    [row, column, image] -> [column, row, image]: a product over the rows, turned, then the same product again.
    """
    operator = zoom_operator(len(stack), factor)
    rows = (operator @ stack.reshape(len(stack), -1)).reshape(stack.shape)
    return np.asarray(operator @ rows.swapaxes(0, 1).reshape(len(stack), -1)).reshape(stack.shape)


def motion_blur(images: npt.NDArray[np.uint8], radius: float, sigma: float, angles: Floats) -> npt.NDArray[np.uint8]:
    """ImageMagick's motion blur, each image along its own angle in degrees, [n, size, size, c] -> the same.

    2 * ceil(radius) + 1 taps of a one-sided Gaussian along a line, in whole pixels, edge pixels repeated outside;
    rounded to the nearest level as ImageMagick does (the published code reads its 8-bit PNG).
    """
    width = 2 * math.ceil(radius) + 1
    kernel = np.exp(-(np.arange(width) ** 2) / (2 * sigma**2))
    kernel /= kernel.sum()
    size, pad = images.shape[1], width - 1
    padded = np.pad(images, ((0, 0), (pad, pad), (pad, pad), (0, 0)), mode="edge")
    down, across = motion_offsets(width, angles)
    out = np.empty(images.shape)
    for image, source, y, x in zip(out, padded, down + pad, across + pad, strict=True):
        image[...] = sum(k * source[i : i + size, j : j + size] for k, i, j in zip(kernel, y, x, strict=True))
    return np.floor(out + 0.5).astype(np.uint8)


def motion_offsets(width: int, angles: Floats) -> tuple[Indices, Indices]:
    """Row and column offsets of the taps of ImageMagick's motion kernel, int64 [n, width] each; angles in degrees."""
    radians = np.deg2rad(angles)[:, np.newaxis]
    down, across = width * np.sin(radians), width * np.cos(radians)
    steps = np.arange(width) / np.hypot(down, across)
    return np.ceil(steps * down - 0.5).astype(np.int64), np.ceil(steps * across - 0.5).astype(np.int64)


def reflect_101(index: Indices, size: int) -> Indices:
    """Indices outside [0, size) mirrored at the edge pixels' centres (cv2.BORDER_REFLECT_101, numpy's "reflect")."""
    period = 2 * (size - 1)
    index = index % period
    return np.minimum(index, period - index)


def reflect_half(index: Indices, size: int) -> Indices:
    """Indices outside [0, size) mirrored at the edge pixels' borders (scipy's "reflect", numpy's "symmetric")."""
    index = index % (2 * size)
    return np.minimum(index, 2 * size - 1 - index)
