"""Images -> log-amplitude spectra, and the distance between spectra that the gate uses. Pure functions.

The distance is the radially weighted log ratio: sqrt(sum_f w_f (log amplitude_f - reference_f)^2). A linear ratio is
unbounded where the image is stronger than the reference, and misroutes about half of clean single images.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from cards_deck.errors import InputError
from cards_deck.references import References

__all__ = [
    "Floats",
    "Images",
    "References",
    "build_references",
    "check_images",
    "distances",
    "log_amplitude",
    "mean_log_amplitude",
    "radial_weight",
]

Images = NDArray[np.uint8]
Floats = NDArray[np.float32]

# Rounding to 8 bits is noise of standard deviation 1/(255 sqrt(12)): below it an amplitude means nothing.
FLOOR = np.float32(1 / (255 * np.sqrt(12)))
QUANTILE_LEVELS = 1001
_CHUNK = 32  # images at a time: their spectra stay in the processor's cache


def check_images(images: object, size: int | None = None) -> None:
    """InputError unless `images` is a uint8 array [n, h, h, 3], of side `size` where given."""
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8:
        found = images.dtype if isinstance(images, np.ndarray) else type(images).__name__
        raise InputError(f"images must be a uint8 array [n, h, w, 3], not {found}")
    if images.ndim != 4 or images.shape[3] != 3 or images.shape[1] != images.shape[2] or images.shape[1] < 1:
        raise InputError(f"images must be square, [n, h, h, 3], not {list(images.shape)}")
    if size is not None and images.shape[1] != size:
        raise InputError(f"images must be {size} pixels wide and high, not {images.shape[1]}: resize them first")


def log_amplitude(images: Images) -> Floats:
    """uint8 [n, h, h, 3] -> float32 [n, h, h//2+1]: log of the amplitude, root mean square over the channels.

    Orthonormal 2-D DFT of pixels in [0, 1]. A row does not depend, in any bit, on the other images.
    """
    check_images(images)
    count, size = images.shape[:2]
    spectra = np.empty((count, size, size // 2 + 1), np.float32)
    for start in range(0, count, _CHUNK):
        spectra[start : start + _CHUNK] = _log_amplitude(images[start : start + _CHUNK])
    return spectra


def _log_amplitude(images: Images) -> Floats:
    import scipy.fft  # 0.3 s to import: paid by the processes that answer images, not by those that only read decks

    planes = np.ascontiguousarray(images.transpose(0, 3, 1, 2), dtype=np.float32)
    planes *= np.float32(1 / 255)
    transformed = scipy.fft.rfft2(planes, norm="ortho", workers=1)
    squares = np.square(transformed.real)
    squares += np.square(transformed.imag)
    power = squares[:, 0] + squares[:, 1] + squares[:, 2]
    power *= np.float32(1 / 3)
    amplitude: Floats = np.sqrt(power, out=power)
    amplitude += FLOOR
    return np.log(amplitude, out=amplitude)


def radial_weight(size: int) -> Floats:
    """float32 [size, size//2+1]: proportional to the frequency's radius, mirrored bins counted twice, sum 1, DC 0."""
    rows, columns = np.fft.fftfreq(size) * size, np.arange(size // 2 + 1)
    weight = np.hypot(rows[:, None], columns[None, :])
    weight[:, 1 : (size + 1) // 2] *= 2
    return np.asarray(weight / max(weight.sum(), 1e-12), np.float32)


@functools.lru_cache(maxsize=8)
def _root_weight(size: int) -> Floats:
    weight: Floats = np.sqrt(radial_weight(size)).ravel()
    weight.flags.writeable = False
    return weight


def distances(spectra: Floats, references: Floats) -> Floats:
    """float32 [n, a]: distance of each spectrum [n, h, h//2+1] to each reference [a, h, h//2+1].

    Differences are taken before squaring: |s|^2 - 2 s.r + |r|^2 by a matrix product would cancel, and its rounding
    would depend on how many images are in the batch.
    """
    weight = _root_weight(references.shape[1])
    found = np.empty((len(spectra), len(references)), np.float32)
    weighted = spectra.reshape(len(spectra), weight.size) * weight
    for index, reference in enumerate(references):
        difference = weighted - reference.ravel() * weight
        found[:, index] = np.sqrt(np.square(difference, out=difference).sum(axis=1))
    return found


def mean_log_amplitude(images: Images, *, batch: int = 512) -> Floats:
    """float32 [h, h//2+1]: mean over the images of their log-amplitude spectra. InputError for no images."""
    check_images(images)
    if not len(images):
        raise InputError("the mean spectrum of no images is not defined: give at least one")
    total = np.zeros((images.shape[1], images.shape[1] // 2 + 1))
    for start in range(0, len(images), batch):
        total += log_amplitude(images[start : start + batch]).sum(axis=0, dtype=np.float64)
    return (total / len(images)).astype(np.float32)


def build_references(named_images: Mapping[str, Images], *, batch: int = 512) -> References:
    """References from uint8 [n, h, h, 3] training images of each augmentation, as the server will see such images
    (after augmentation, rounding and resizing). A thousand images each are enough.

    Raises InputError for no augmentation, no images or several sizes.
    """
    names = tuple(named_images)
    if not names or len({images.shape[1] for images in named_images.values()}) != 1:
        raise InputError("references need at least one augmentation, all of one image size")
    spectra = np.stack([mean_log_amplitude(named_images[name], batch=batch) for name in names])
    own: list[Floats] = []
    nearest: list[Floats] = []
    for index, name in enumerate(names):
        images = named_images[name]
        parts = [distances(log_amplitude(images[i : i + batch]), spectra) for i in range(0, len(images), batch)]
        found = np.concatenate(parts)
        own.append(found[:, index])
        nearest.append(found.min(axis=1))
    scale = np.array([column.mean(dtype=np.float64) for column in own], np.float32)
    tails = np.stack([quantile_levels(column) for column in own])
    return References(names, spectra, scale, quantile_levels(np.concatenate(nearest)), tails)


def quantile_levels(values: Floats) -> Floats:
    """Quantiles of the values at `QUANTILE_LEVELS` evenly spaced levels from 0 to 1, rising whatever the rounding."""
    found = np.quantile(values, np.linspace(0, 1, QUANTILE_LEVELS))
    return np.maximum.accumulate(found).astype(np.float32)
