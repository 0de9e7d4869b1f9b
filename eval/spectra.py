"""Spectra as curves: the mean log amplitude at each distance from the centre of the frequency plane."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def radial_profile(spectrum: NDArray[np.floating]) -> list[float]:
    """Mean of `spectrum` [h, h // 2 + 1] (half plane, as `rfft2` gives it) over each whole radius 0 to h // 2.

    A bin belongs to the nearest whole radius; bins whose mirror image is left out of the half plane count twice. Six
    digits.
    """
    size = spectrum.shape[0]
    rows, columns = np.fft.fftfreq(size) * size, np.arange(size // 2 + 1)
    radius = np.rint(np.hypot(rows[:, None], columns[None, :])).astype(np.int64)
    count = np.ones(spectrum.shape)
    count[:, 1 : (size + 1) // 2] = 2
    inside = radius <= size // 2
    total = np.bincount(radius[inside], weights=(spectrum * count)[inside])
    return [round(float(value), 6) for value in total / np.bincount(radius[inside], weights=count[inside])]
