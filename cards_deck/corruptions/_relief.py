"""What makes spatter's drops look wet: edges, distances to them, equalised and embossed; OpenCV's results in numpy.

Fields are [n, size, size] and every image is worked on by itself. After OpenCV 4's Canny, distanceTransform,
equalizeHist, filter2D and blur.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Bytes = npt.NDArray[np.uint8]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int32]
Float32s = npt.NDArray[np.float32]

_TAN_22 = round((2**0.5 - 1) * (1 << 15))  # the tangent of 22.5 degrees, in fixed point as in Canny
_TOUCHING = np.array([np.zeros((3, 3)), np.ones((3, 3)), np.zeros((3, 3))])  # neighbours in the same image only
_UNIT = 1 << 16  # distances are whole numbers of 1 / 65536 pixel
_STRAIGHT, _DIAGONAL, _KNIGHT = (round(length * _UNIT) for length in (1, 1.4, 2.1969))
_FAR = 1 << 30
_EMBOSS = ((-2, -1, 0), (-1, 1, 1), (0, 1, 2))


def canny(field: Bytes, low: int, high: int) -> Bools:
    """Edges: ridges of the gradient |dx| + |dy| above `low` that hang together with one above `high`."""
    dx, dy = _sobel(field)
    strength = np.pad(abs(dx) + abs(dy), ((0, 0), (1, 1), (1, 1)))
    here, steep, flat = strength[:, 1:-1, 1:-1], abs(dy) << 15, abs(dx) * _TAN_22
    left, right = strength[:, 1:-1, :-2], strength[:, 1:-1, 2:]
    above, below = strength[:, :-2, 1:-1], strength[:, 2:, 1:-1]
    falling = (here > strength[:, :-2, :-2]) & (here > strength[:, 2:, 2:])
    rising = (here > strength[:, :-2, 2:]) & (here > strength[:, 2:, :-2])
    ridge = np.where((dx ^ dy) < 0, rising, falling)
    ridge = np.where(steep > flat + (abs(dx) << 16), (here > above) & (here >= below), ridge)
    ridge = np.where(steep < flat, (here > left) & (here >= right), ridge) & (here > low)
    parts, count = ndimage.label(ridge, _TOUCHING)
    kept = np.zeros(count + 1, np.bool_)
    kept[parts[ridge & (here > high)]] = True
    edges: Bools = kept[parts]
    return edges


def _sobel(field: Bytes) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    x = np.pad(field.astype(np.int64), ((0, 0), (1, 1), (1, 1)), mode="edge")
    across, down = x[:, :, 2:] - x[:, :, :-2], x[:, 2:] - x[:, :-2]
    return across[:, :-2] + 2 * across[:, 1:-1] + across[:, 2:], down[:, :, :-2] + 2 * down[:, :, 1:-1] + down[:, :, 2:]


def chamfer_distance(edges: Bools) -> Float32s:
    """Pixels to the nearest edge by steps of length 1 (straight), 1.4 (diagonal) and 2.1969 (a knight's move).

    Over 16,000 where the image has no edge.
    """
    size = edges.shape[2]
    padded = np.full((edges.shape[1] + 2, len(edges), size + 4), _FAR, np.int32)
    padded[2:, :, 2:-2][edges.swapaxes(0, 1)] = 0
    _spread_down(padded)
    upwards = np.full_like(padded, _FAR)
    upwards[2:] = padded[:1:-1]
    _spread_down(upwards)
    return np.asarray(upwards[:1:-1, :, 2:-2].swapaxes(0, 1) / _UNIT, np.float32)


def _spread_down(rows: Ints) -> None:
    """Lower the distances by those of the two rows above, and of the same row; [2 + size, n, 2 + size + 2]."""
    size = rows.shape[2] - 4
    along = _STRAIGHT * np.arange(size + 4, dtype=np.int32)
    moves = [(1, 0, _STRAIGHT), *((1, x, _DIAGONAL) for x in (-1, 1))]
    moves += [(up, x, _KNIGHT) for up, x in ((1, -2), (1, 2), (2, -1), (2, 1))]
    for y in range(2, len(rows)):
        inner = rows[y, :, 2:-2]
        for up, x, length in moves:
            np.minimum(inner, rows[y - up, :, 2 + x : 2 + x + size] + length, out=inner)
        np.minimum(rows[y], np.minimum.accumulate(rows[y] - along, axis=1) + along, out=rows[y])
        mirrored = rows[y, :, ::-1]
        np.minimum(mirrored, np.minimum.accumulate(mirrored - along, axis=1) + along, out=mirrored)
        rows[y, :, :2] = rows[y, :, -2:] = _FAR


def equalized(field: Bytes) -> Bytes:
    """Each image's levels spread so that they are about equally frequent; one of a single level stays as it is."""
    flat = field.reshape(len(field), -1)
    bins = flat + 256 * np.arange(len(flat))[:, np.newaxis]
    counts = np.bincount(bins.ravel(), minlength=256 * len(flat)).reshape(-1, 256)
    lowest = flat.min(axis=1)
    others = flat.shape[1] - np.take_along_axis(counts, lowest[:, np.newaxis].astype(np.int64), axis=1)
    above = np.cumsum(counts, axis=1) - (flat.shape[1] - others)
    levels = np.rint(above.astype(np.float32) * (np.float32(255) / np.maximum(others, 1).astype(np.float32)))
    table: Bytes = np.where(others == 0, np.arange(256), np.maximum(levels, 0)).astype(np.uint8)
    return np.asarray(table.ravel()[bins].reshape(field.shape))


def embossed(field: Bytes, reach: int) -> Bytes:
    """Lit from the upper left, by differences over `reach` pixels."""
    weights = [weight for row in _EMBOSS for weight in row]
    total = np.zeros(field.shape, np.int64)
    for weight, part in zip(weights, _window(field, reach, step=reach), strict=True):
        total += weight * part.astype(np.int64)
    return np.asarray(np.clip(total, 0, 255), np.uint8)


def box_mean(field: Bytes | Float32s, reach: int) -> npt.NDArray[np.float64]:
    """The mean over squares of 2 * reach + 1 pixels."""
    total = np.zeros(field.shape)
    for part in _window(field, reach, step=1):
        total += part
    return total * (1 / (2 * reach + 1) ** 2)


def _window(field: npt.NDArray[Any], reach: int, step: int) -> Iterator[npt.NDArray[Any]]:
    """The field moved by -reach, -reach + step, ... reach in both directions, mirrored at the edge pixels' centres."""
    size = field.shape[1]
    padded = np.pad(field, ((0, 0), (reach, reach), (reach, reach)), mode="reflect")
    for i in range(0, 2 * reach + 1, step):
        for j in range(0, 2 * reach + 1, step):
            yield padded[:, i : i + size, j : j + size]
