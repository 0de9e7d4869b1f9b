"""What the learned gates see of a spectrum: its mean over rings of equal frequency, and linear functions of those."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

from cards_deck.spectrum import Floats


@functools.lru_cache(maxsize=8)
def _rings(size: int) -> tuple[NDArray[np.intp], NDArray[np.intp], Floats]:
    """(order of the bins by ring, where each ring starts, weight of each bin in its ring's mean)."""
    rows, columns = np.fft.fftfreq(size) * size, np.arange(size // 2 + 1)
    ring = np.rint(np.hypot(rows[:, None], columns)).astype(np.intp).ravel()
    mirrored = np.ones((size, size // 2 + 1))
    mirrored[:, 1 : (size + 1) // 2] = 2  # bins that stand for their mirror image as well
    weight = mirrored.ravel() / np.bincount(ring, mirrored.ravel())[ring]
    order = np.argsort(ring, kind="stable")
    return order, np.searchsorted(ring[order], np.arange(ring.max() + 1)), weight[order].astype(np.float32)


def ring_count(size: int) -> int:
    """How many rings a spectrum of images of this size has: whole numbers of cycles per image, to the corner."""
    return len(_rings(size)[1])


def ring_means(planes: Floats) -> Floats:
    """float32 [n, r]: mean over each ring of planes [n, h, h//2+1], first the zero frequency. A row does not depend, in
    any bit, on the others."""
    order, starts, weight = _rings(planes.shape[1])
    flat = np.take(planes.reshape(len(planes), order.size), order, axis=1)
    flat *= weight
    return np.add.reduceat(flat, starts, axis=1)


def linear(features: Floats, weights: Floats, bias: Floats) -> Floats:
    """features [n, r] @ weights [r, k] + bias [k], float32. A matrix product of the library would round a row
    differently in batches of different sizes."""
    return np.asarray((features[:, :, None] * weights).sum(axis=1) + bias, np.float32)


def product(rows: Floats, table: Floats) -> Floats:
    """rows [n, i] @ table [i, j]; a matrix product of the library would round a row by how many others there are."""
    return np.asarray((rows[:, :, None] * table).sum(axis=1), np.float32)


def normalised(scores: Floats) -> Floats:
    """Softmax over the last axis of scores [n, k]; rows sum to 1."""
    shifted = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True), np.float32)
