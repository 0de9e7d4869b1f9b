"""Noise with a given amplitude spectrum and random phases, as CIFAR-10-C-bar draws it."""

from __future__ import annotations

from functools import cache

import numpy as np
from scipy import fft

from cards_deck.corruptions._base import Draws, Floats


@cache
def radius_squared(size: int) -> Floats:
    """Squared distance of every pixel to (size / 2, size / 2), float64 [size, size]."""
    steps = np.arange(size) - size / 2
    return np.asarray(steps[:, np.newaxis] ** 2 + steps**2)


def spectral_noise(generator: np.random.Generator, amplitude: Floats) -> Floats:
    """One field of noise of standard deviation 1, float64 [size, size]; amplitude: of every frequency, 0 in the middle.

    The right half of the published phases is the left half turned by 180 degrees, which does not make the field real:
    its real part is taken. One image at a time, because a transform of many may round differently from one of a few.
    """
    size = len(amplitude)
    left = _turns(generator, (size, size // 2))
    halves = [left, left[::-1, ::-1]]
    if size % 2:
        above = _turns(generator, (size // 2, 1))
        halves.insert(1, np.concatenate([above, np.ones((1, 1)), above[::-1]]))
    spectrum = np.roll(amplitude * np.concatenate(halves, axis=1), size // 2, axis=(0, 1))
    noise: Floats = fft.ifft2(spectrum, overwrite_x=True).real
    return np.asarray(noise / noise.std())


def coloured_noise(draws: Draws, amplitude: Floats) -> Floats:
    """A field of `spectral_noise` for every channel, float64 [n, size, size, 3]."""
    fields = [[spectral_noise(generator, amplitude) for _ in range(3)] for generator in draws.generators]
    return np.moveaxis(np.array(fields), 1, -1)


def _turns(
    generator: np.random.Generator, shape: tuple[int, int]
) -> np.ndarray[tuple[int, ...], np.dtype[np.complex128]]:
    phases = 2 * np.pi * generator.random(shape)
    return np.cos(phases) + 1j * np.sin(phases)
