"""Tilt: the picture turned in space about both of its axes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import sparse

from cards_deck.corruptions._base import Draws, Floats, Images
from cards_deck.corruptions.sequences._base import (
    REGISTRY,
    Frames,
    bilinear_matrix,
    columns_of,
    empty_frames,
    images_of,
)

_PARTS = 32  # OpenCV 2 to 4 read at multiples of 1/32 pixel


@REGISTRY.register("tilt")
@dataclass(frozen=True)
class Tilt:
    """Turned by -11.25 to 11.25 degrees about both axes and seen in perspective from as far as the diagonal is long.

    Nothing is random. Lengths are shares of the side, so they hold for every size. Linear, rounded, black outside; at
    multiples of 1/32 pixel, as cv2.warpPerspective read them when the files were made.
    """

    step: float = 0.75
    frames: int = 31

    def __call__(self, images: Images, frames: int, draws: Draws) -> Frames:
        """See `Perturbation`."""
        out, size = empty_frames(images, frames), images.shape[1]
        columns = columns_of(images)
        for frame in range(frames):
            sampled = _matrix(size, (frame - self.frames // 2) * self.step) @ columns
            out[:, frame] = images_of(sampled + 0.5, size).astype(np.uint8)
        return out


def perspective(size: int, degrees: float) -> Floats:
    """Homography from the picture to the tilted picture, [3, 3], for (column, row, 1)."""
    middle, far = size / 2, np.sqrt(2) * size
    cosine, sine = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    about_across = np.array([[1, 0, 0], [0, cosine, -sine], [0, sine, cosine]])
    about_down = np.array([[cosine, 0, -sine], [0, 1, 0], [sine, 0, cosine]])
    # A pixel is a point at height 1 (a quirk of the published matrices: their last two rows are alike), turned, moved
    # away by the focal length and projected back.
    centred = np.array([[1, 0, -middle], [0, 1, -middle], [0, 0, 1]])
    turned = about_across @ about_down @ centred
    turned[2] += np.array([0, 0, far])
    projection = np.array([[far, 0, middle], [0, far, middle], [0, 0, 1]])
    return np.asarray(projection @ turned)


@lru_cache(maxsize=64)
def _matrix(size: int, degrees: float) -> sparse.csr_array:
    inverse = np.linalg.inv(perspective(size, degrees))
    y, x = np.indices((size, size)).astype(np.float64)
    across, down, depth = (row[0] * x + row[1] * y + row[2] for row in inverse)
    columns, rows = (np.rint(_PARTS * position / depth) / _PARTS for position in (across, down))
    return bilinear_matrix(rows, columns, size, edge="black")
