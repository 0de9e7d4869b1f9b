"""Attacks in chunks of images, several at a time."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from cards_deck.errors import InputError
from cards_deck.spectrum import Images

Rows = NDArray[np.intp]

CHUNK = 32  # images attacked together: bounds memory


def check_levels(levels: int) -> None:
    """InputError unless the radius is a whole number of grey levels from 0 to 255."""
    if not 0 <= levels <= 255:
        raise InputError(f"an attack's radius must be 0 to 255 grey levels, not {levels}")


def in_chunks(attack: Callable[[Images, Rows, int], Images], images: Images, threads: int) -> Images:
    """`attack(images of the chunk, their rows, the chunk's number)` of every chunk, put together in order."""
    rows = np.arange(len(images))
    parts = [rows[start : start + CHUNK] for start in range(0, len(images), CHUNK)]
    with ThreadPoolExecutor(threads) as pool:
        done = list(pool.map(lambda job: attack(images[job[1]], job[1], job[0]), enumerate(parts)))
    return np.concatenate(done) if done else images.copy()
