"""Elastic transform: small stretches and ripples of the picture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cards_deck.corruptions._base import REGISTRY, Draws, Floats, Images, to_uint8
from cards_deck.corruptions._geometry import Indices, reflect_101, reflect_half
from cards_deck.corruptions._smoothing import gaussian

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
        planes = [(images[..., channel] / 255.0).astype(np.float32) for channel in range(3)]
        rows, columns = affine_coordinates(size, draws.uniform(-jitter, jitter, 3, 2).astype(np.float32))
        planes = _sampled(planes, rows, columns, reflect_101)
        fields = draws.uniform(-1, 1, 2, size, size)  # across, then down
        if alpha > 0:
            fields = gaussian(fields.reshape(-1, size, size), sigma, truncate=3, mode="reflect").reshape(fields.shape)
            across, down = np.moveaxis((fields * alpha).astype(np.float32), 1, 0)
            grid = np.arange(size)
            planes = _sampled(planes, grid[:, np.newaxis] + down, grid + across, reflect_half)
        return np.stack([to_uint8(plane) for plane in planes], axis=-1)


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


def _sampled(planes: list[Float32s], rows: Floats, columns: Floats, border: Border) -> list[Float32s]:
    """Linear interpolation of planes [n, size, size] at [n, size, size] coordinates."""
    n, size, _ = planes[0].shape
    top, left = np.floor(rows), np.floor(columns)
    down, across = rows - top, columns - left
    i, j = top.astype(np.int64), left.astype(np.int64)
    first = (np.arange(n) * size * size).reshape(-1, 1, 1)
    i0, i1 = (first + border(k, size) * size for k in (i, i + 1))
    j0, j1 = border(j, size), border(j + 1, size)
    corners = i0 + j0, i0 + j1, i1 + j0, i1 + j1

    def sampled(plane: Float32s) -> Float32s:
        a, b, c, d = (plane.astype(np.float64).take(corner) for corner in corners)
        upper, lower = a * (1 - across) + b * across, c * (1 - across) + d * across
        return np.asarray(upper * (1 - down) + lower * down, np.float32)

    return [sampled(plane) for plane in planes]
