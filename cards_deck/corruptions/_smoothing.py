"""Gaussian smoothing of a batch of images or fields."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Field = TypeVar("Field", bound=npt.NDArray[np.floating[Any]])


def gaussian(x: Field, sigma: float, *, truncate: float = 4.0, mode: str = "nearest") -> Field:
    """Convolve the rows and columns of x [n, size, size, ...] with a Gaussian cut at truncate * sigma.

    The defaults are those of skimage.filters.gaussian: cut at 4 sigma, edge pixels repeated.
    """
    if int(truncate * sigma + 0.5) == 0:  # a kernel of one tap
        return x
    smoothed: Field = ndimage.gaussian_filter(x, (sigma, sigma), mode=mode, truncate=truncate, axes=(1, 2))
    return smoothed
