"""Elastic transform: small stretches and ripples of the picture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from cards_deck.corruptions._base import REGISTRY, Draws, Floats, Images, to_uint8
from cards_deck.corruptions._geometry import Indices, reflect_101, reflect_half

Float32s = npt.NDArray[np.float32]
Border = Callable[[Indices, int], Indices]


@REGISTRY.register("elastic_transform")
@dataclass(frozen=True)
class ElasticTransform:
    """A random affine map, then a displacement by smoothed random fields; both with linear interpolation.

    alpha (length of the displacement), sigma (its smoothness) and affine (jitter of three points) are shares of the
    size. Severity 1 has no displacement: affine only, as published.
    """

    alpha: tuple[float, ...] = (0, 0.05, 0.08, 0.1, 0.1)
    sigma: tuple[float, ...] = (0, 0.2, 0.06, 0.04, 0.03)
    affine: tuple[float, ...] = (0.08, 0.07, 0.06, 0.05, 0.03)

    def __call__(self, images: Images, severity: int, draws: Draws) -> Images:
        """See `Corruption`."""
        size, s = images.shape[1], severity - 1
        alpha, sigma, jitter = size * self.alpha[s], size * self.sigma[s], size * self.affine[s]
        x = (images / 255.0).astype(np.float32)
        rows, columns = affine_coordinates(size, draws.uniform(-jitter, jitter, 3, 2).astype(np.float32))
        x = _sampled(x, rows, columns, reflect_101)
        fields = draws.uniform(-1, 1, 2, size, size)  # across, then down
        if alpha == 0:
            return to_uint8(x)
        smooth = ndimage.gaussian_filter(fields, (0, 0, sigma, sigma), mode="reflect", truncate=3)
        across, down = np.moveaxis((smooth * alpha).astype(np.float32), 1, 0)
        grid = np.arange(size)
        return to_uint8(_sampled(x, grid[:, np.newaxis] + down, grid + across, reflect_half))


def affine_coordinates(size: int, jitter: Float32s) -> tuple[Floats, Floats]:
    """Where each output pixel is read: rows and columns, float64 [n, size, size].

    The map takes three fixed points to the points moved by `jitter` (float32 [n, 3, 2], as x, y). Coordinates are
    multiples of 1/32 pixel, as cv2.warpAffine of OpenCV 2 to 4 rounds them (OpenCV 5 does not).
    """
    centre, square = size // 2, size // 3
    points = np.array([[1, 1], [1, -1], [-1, -1]], np.float32) * np.float32(square) + np.float32(centre)
    first, second, third = np.moveaxis((points + jitter).astype(np.float64), 1, 0)
    of_x, of_y = (second - third) / (2 * square), (first - second) / (2 * square)
    shift = third - (centre - square) * (of_x + of_y)
    scale = 1 / (of_x[:, 0] * of_y[:, 1] - of_y[:, 0] * of_x[:, 1])
    a, b, c, d = of_y[:, 1] * scale, -of_y[:, 0] * scale, -of_x[:, 1] * scale, of_x[:, 0] * scale
    columns = _fixed_point(size, a, b, -a * shift[:, 0] - b * shift[:, 1])
    rows = _fixed_point(size, c, d, -c * shift[:, 0] - d * shift[:, 1])
    return rows, columns


def _fixed_point(size: int, of_x: Floats, of_y: Floats, shift: Floats) -> Floats:
    """of_x * x + of_y * y + shift for each pixel, each part rounded to 1/1024, their sum to 1/32."""
    grid = np.arange(size)
    along = np.rint(of_x[:, np.newaxis] * grid * 1024)[:, np.newaxis, :]
    down = np.rint((of_y[:, np.newaxis] * grid + shift[:, np.newaxis]) * 1024)[:, :, np.newaxis]
    return np.asarray(np.floor((along + down + 16) / 32) / 32)


def _sampled(x: Float32s, rows: Floats, columns: Floats, border: Border) -> Float32s:
    """Linear interpolation of x [n, size, size, 3] at [n, size, size] coordinates."""
    n, size = x.shape[:2]
    flat, first = x.reshape(-1, 3).astype(np.float64), (np.arange(n) * size * size).reshape(-1, 1, 1)
    top, left = np.floor(rows), np.floor(columns)
    down, across = (rows - top)[..., np.newaxis], (columns - left)[..., np.newaxis]
    i, j = top.astype(np.int64), left.astype(np.int64)
    i0, i1 = (first + border(k, size) * size for k in (i, i + 1))
    j0, j1 = border(j, size), border(j + 1, size)
    upper = flat.take(i0 + j0, 0) * (1 - across) + flat.take(i0 + j1, 0) * across
    lower = flat.take(i1 + j0, 0) * (1 - across) + flat.take(i1 + j1, 0) * across
    return np.asarray(upper * (1 - down) + lower * down, np.float32)
