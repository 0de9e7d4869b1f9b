"""The compiled kernels: where they are, their C structures and entry points."""

from __future__ import annotations

import ctypes
import os
from functools import cache

from cards_deck.errors import InputError
from cards_deck.inference.engines._sparse.build import FOLDER, LIBRARY, source_hash

LEVELS = {"plain": 0, "avx2": 1, "avx512": 2}
TOGETHER = 16  # images that a thread works on at a time: SPARSE_TOGETHER
WIDTHS = (4, 8, 16)  # floats in a vector
LEVEL_VARIABLE = "CARDS_DECK_SIMD"
RUN_BYTES = 8  # of sparse_weights.RUN

OPS = (
    "input", "conv2d", "arrange", "pointwise", "max_pool", "avg_pool", "global_avg_pool", "flatten", "linear",
    "output",
)  # fmt: skip

_INT, _LONG, _POINTER = ctypes.c_int32, ctypes.c_int64, ctypes.c_void_p


class Value(ctypes.Structure):
    """A value's place: see `_sparse/sparse.h`."""

    _fields_ = [
        (name, _LONG)
        for name in (
            "arena",
            "offset",
            "planes",
            "plane",
            "origin",
            "packed",
            "lines",
            "line",
            "pitch",
            "height",
            "width",
        )
    ]


class Op(ctypes.Structure):
    """An operation."""

    _fields_ = [
        *((name, _INT) for name in ("kind", "pre", "post", "has_other")),
        ("kernels", _POINTER),
        *((name, Value) for name in ("in_", "other", "out")),
        *((name, _POINTER) for name in ("scale", "shift", "lanes")),
        *((name, _INT) for name in ("sets", "block", "wide", "binary", "rows", "group", "bare", "adds", "together")),
        *((name, _LONG) for name in ("outputs", "guard", "before")),
        *((name, _POINTER) for name in ("offsets", "values", "runs", "first_entry")),
        *((name, _POINTER) for name in ("order", "taps", "shifts", "masks")),
        *((name, _LONG) for name in ("kernel", "stride", "padding")),
    ]  # fmt: skip


class Network(ctypes.Structure):
    """All operations of a card."""

    _fields_ = [
        ("ops", ctypes.POINTER(Op)),
        *((name, _LONG) for name in ("count", "per_image", "image_bytes", "classes")),
        ("sizes", _LONG * 2),
        ("scratch", _LONG),
    ]


@cache
def library() -> ctypes.CDLL | None:
    """The loaded library; None where it was not compiled, or from other sources or for another machine than these."""
    if not (FOLDER / LIBRARY).is_file():
        return None
    try:
        loaded = ctypes.CDLL(str(FOLDER / LIBRARY))
        loaded.sparse_source.restype = ctypes.c_char_p
        loaded.sparse_abi.restype = _LONG
        loaded.sparse_kernels.restype = loaded.sparse_pool_new.restype = _POINTER
        loaded.sparse_kernels.argtypes = [_INT, _LONG]
        loaded.sparse_pool_free.argtypes = [_POINTER]
        loaded.sparse_run.argtypes = [_POINTER, _POINTER, _POINTER, _LONG, _POINTER, _POINTER, _POINTER, _POINTER, _INT]
        loaded.sparse_run.restype = loaded.sparse_pool_free.restype = None
        sizes = ctypes.sizeof(Op) * 1_000_000 + ctypes.sizeof(Network) * 1000 + RUN_BYTES
        fits = loaded.sparse_source() == source_hash().encode() and loaded.sparse_abi() == sizes
    except (OSError, AttributeError):
        return None
    return loaded if fits else None


def kernels(loaded: ctypes.CDLL) -> dict[int, int]:
    """Floats in a vector -> the kernels for it, in this machine's best instruction set.

    CARDS_DECK_SIMD may name another; one that the machine has not is passed over. InputError for an unknown name.
    """
    named = os.environ.get(LEVEL_VARIABLE, "")
    if named and named not in LEVELS:
        raise InputError(f"{LEVEL_VARIABLE} must be one of {', '.join(LEVELS)}, got {named!r}: unset it, or name one")
    wanted = LEVELS.get(named, -1)
    for level in (wanted, loaded.sparse_best_level()):
        if found := {width: table for width in WIDTHS if (table := loaded.sparse_kernels(level, width))}:
            return found
    raise AssertionError("every build has kernels for its own machine")
