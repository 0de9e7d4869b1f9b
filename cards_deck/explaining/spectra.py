"""Half spectra as people look at them: mean amplitude by frequency, and the whole plane as a picture."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cards_deck.spectrum import Floats


def radii(size: int) -> NDArray[np.int64]:
    """int64 [size, size//2+1]: the nearest whole radius of each frequency of a half spectrum, in cycles per image."""
    rows, columns = np.fft.fftfreq(size, 1 / size), np.fft.rfftfreq(size, 1 / size)
    return np.asarray(np.rint(np.hypot(rows[:, None], columns[None, :])), np.int64)


def radial_profile(spectrum: Floats, radius: NDArray[np.int64]) -> Floats:
    """Mean log amplitude [h//2] of a half spectrum [h, h//2+1] on rings of radius 1 .. h//2 cycles per image."""
    rings = spectrum.shape[0] // 2
    mirrored = np.ones(spectrum.shape)
    mirrored[:, 1 : (spectrum.shape[0] + 1) // 2] = 2  # these columns stand for their mirror images too
    total = np.bincount(radius.ravel(), (spectrum * mirrored).ravel(), rings + 1)
    count = np.bincount(radius.ravel(), mirrored.ravel(), rings + 1)
    return (total[1 : rings + 1] / count[1 : rings + 1]).astype(np.float32)


def plane(spectrum: Floats) -> Floats:
    """The whole plane float32 [h, h] of a half spectrum [h, h//2+1], zero frequency in the middle."""
    size = spectrum.shape[0]
    mirror = spectrum[(-np.arange(size)) % size][:, size - np.arange(spectrum.shape[1], size)]
    return np.fft.fftshift(np.concatenate([spectrum, mirror], axis=1))


def shade(values: Floats, low: float | None = None, high: float | None = None) -> NDArray[np.uint8]:
    """Values as uint8 from `low` to `high`, by default their 1 % and 99 % quantiles (the mean would drown the rest)."""
    if low is None or high is None:
        low, high = np.quantile(values, [0.01, 0.99]).tolist()
    return np.asarray(np.rint(np.clip((values - low) / max(high - low, 1e-6), 0, 1) * 255), np.uint8)
