"""What every corruption shares: the registry, the per-image random streams and the published truncation."""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from numpy.random.bit_generator import ISeedSequence

from cards_deck.registry import Registry

Images = npt.NDArray[np.uint8]  # [n, size, size, 3]
Floats = npt.NDArray[np.float64]

PUBLISHED_SIZE = 32  # the image side that the published constants belong to


class _Key(ISeedSequence):
    """A key for Philox. `Philox(key=...)` gives the same stream, but first draws entropy that it throws away."""

    def __init__(self, digest: bytes) -> None:
        self._digest = digest

    def generate_state(self, n_words: int, dtype: Any = np.uint32) -> npt.NDArray[Any]:
        return np.frombuffer(self._digest, np.dtype(dtype).newbyteorder("<"), n_words).astype(dtype)


class Draws:
    """Random numbers for a batch in which every image has a stream of its own.

    The stream is Philox, keyed by (seed, corruption, severity, SHA-256 of the image's pixels), so that an image
    draws the same numbers in every subset, order, batch and process. Equal images draw equal numbers. (numpy may change
    what its generators return from one release to another; tests pin the pixels.)
    """

    def __init__(self, images: Images, name: str, severity: int, seed: int) -> None:
        self._images = images
        self._prefix = f"{seed}/{name}/{severity}/".encode()

    @cached_property
    def generators(self) -> list[np.random.Generator]:
        """One generator per image, made when a corruption first asks for one."""
        keys = [_Key(self._digest(image)) for image in self._images]
        return [np.random.Generator(np.random.Philox(key)) for key in keys]  # type: ignore[arg-type]

    def _digest(self, image: Images) -> bytes:
        pixels = hashlib.sha256(np.ascontiguousarray(image).data).digest()
        return hashlib.sha256(self._prefix + pixels).digest()

    def normal(self, *shape: int) -> Floats:
        """Standard normal numbers, float64 [n, *shape]."""
        out = np.empty((len(self._images), *shape))
        for generator, row in zip(self.generators, out, strict=True):
            generator.standard_normal(out=row)
        return out

    def random(self, *shape: int) -> Floats:
        """Uniform numbers in [0, 1), float64 [n, *shape]."""
        out = np.empty((len(self._images), *shape))
        for generator, row in zip(self.generators, out, strict=True):
            generator.random(out=row)
        return out

    def uniform(self, low: float, high: float, *shape: int) -> Floats:
        """Uniform numbers in [low, high), float64 [n, *shape]."""
        return low + (high - low) * self.random(*shape)

    def integers(self, low: int, high: int, *shape: int) -> npt.NDArray[np.int64]:
        """Uniform integers in [low, high), int64 [n, *shape]."""
        out = np.empty((len(self._images), *shape), np.int64)
        for generator, row in zip(self.generators, out, strict=True):
            row[...] = generator.integers(low, high, shape)
        return out

    def poisson(self, mean: Floats) -> Floats:
        """Poisson counts with the means [n, ...], as float64."""
        out = np.empty(mean.shape)
        for generator, row, lam in zip(self.generators, out, mean, strict=True):
            row[...] = generator.poisson(lam)
        return out


class Corruption(Protocol):
    """A frozen dataclass whose fields hold the published constants, severities 1 to 5."""

    def __call__(self, images: Images, severity: int, draws: Draws) -> Images:
        """`images` uint8 [n, size, size, 3] -> the same shape and type; each image answered by itself."""
        ...


REGISTRY: Registry[Corruption] = Registry("corruption")


def scale_of(images: npt.NDArray[Any]) -> float:
    """How much larger than the published 32 pixels the images are; lengths in pixels are multiplied by this."""
    return float(images.shape[1] / PUBLISHED_SIZE)


def unit(images: Images) -> Floats:
    """uint8 -> float64 in [0, 1], by the division that the published code uses."""
    return np.divide(images, 255.0)


def to_uint8(values: npt.NDArray[np.floating[Any]]) -> Images:
    """Values in about [0, 1] -> uint8: clipped, times 255, truncated (never rounded), as published."""
    pixels: Images = (np.clip(values, 0, 1) * 255).astype(np.uint8)
    return pixels
