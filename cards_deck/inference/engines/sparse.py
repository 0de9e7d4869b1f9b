"""Sparse networks run as sparse: compiled kernels that skip the weights that are not there. See `_sparse/`.

Each kept weight costs one multiply-add per pixel and the others nothing; binary weights cost an addition. Measured in
`benchmarks/engines.py`; `_sparse/accumulate.h` says which share of the machine's peak is reached, and what bounds it.
"""

from __future__ import annotations

import ctypes
import threading
import weakref
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cards_deck.card import Card
from cards_deck.errors import MissingExtraError
from cards_deck.inference.engines import sparse_library as c
from cards_deck.inference.engines._sparse import build
from cards_deck.inference.engines.sparse_plan import Planner
from cards_deck.inference.engines.sparse_steps import checked
from cards_deck.spectrum import Floats, Images, check_images

ALIGNMENT = 64


@dataclass
class _Workspace:
    """Memory of one call at a time, for up to `count` images."""

    count: int
    image: Floats
    batch: Floats
    scratch: Floats


class SparseRunner:
    """One card. Calls from several threads run side by side, each in its own memory; those with `threads` > 1 take
    turns in using the further threads."""

    def __init__(self, card: Card, image_size: int, threads: int) -> None:
        loaded = c.library()
        if loaded is None:
            raise MissingExtraError(
                "the sparse engine is not compiled here: install a C compiler (gcc or clang), then run `python -m "
                f"{build.__name__}`"
            )
        plan = Planner(card, image_size, c.kernels(loaded)).plan()
        self._library, self._plan, self._size, self._threads = loaded, plan, image_size, threads
        self._network = c.Network(
            plan.ops, len(plan.ops), plan.per_image, 3 * image_size**2, plan.classes,
            (ctypes.c_int64 * 2)(*plan.sizes), plan.scratch,
        )  # fmt: skip
        self._pool = loaded.sparse_pool_new(threads) if threads > 1 else None
        if self._pool:
            # Not at exit: a daemon thread may still be in a call, and the process ends the helpers anyway.
            weakref.finalize(self, loaded.sparse_pool_free, self._pool).atexit = False
        self._free: list[_Workspace] = []
        self._lock = threading.Lock()

    def __call__(self, images: Images) -> Floats:
        """Logits float32 [n, classes] of uint8 [n, h, h, 3]."""
        check_images(images, self._size)
        pixels = np.ascontiguousarray(images)
        logits = np.empty((len(pixels), self._plan.classes), np.float32)
        space = self._workspace(min(len(pixels), self._threads * c.TOGETHER))
        self._library.sparse_run(
            ctypes.byref(self._network), self._pool, pixels.ctypes.data, len(pixels), logits.ctypes.data,
            space.image.ctypes.data, space.batch.ctypes.data, space.scratch.ctypes.data, self._threads,
        )  # fmt: skip
        with self._lock:
            self._free.append(space)
        return logits

    def _workspace(self, count: int) -> _Workspace:
        with self._lock:
            for space in self._free:
                if space.count >= count:
                    self._free.remove(space)
                    return space
            if self._free:
                self._free.pop()  # too small: replaced by the one made now
        image, batch = self._plan.sizes
        return _Workspace(
            count, _zeros(image * self._threads), _zeros(batch * count), _zeros(self._plan.scratch * self._threads)
        )


def _zeros(floats: int) -> NDArray[np.float32]:
    space = np.zeros(4 * floats + ALIGNMENT, np.uint8)
    start = -space.ctypes.data % ALIGNMENT
    return space[start : start + 4 * floats].view(np.float32)


def supports(card: Card) -> bool:
    """Whether every operation of the card has a kernel, in the card's precision: one with ranges computes in 8 bits."""
    if getattr(card, "ranges", None):
        return False
    try:
        checked(card)
    except ValueError:
        return False
    return True


def load(card: Card, *, image_size: int, threads: int) -> SparseRunner:
    """A runner that takes any number of images."""
    return SparseRunner(card, image_size, threads)
