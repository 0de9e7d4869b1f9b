"""Reading the pickles of the official CIFAR archives without running anything that they say.

A pickle is a program: it may import and call anything. Here it may do what the official batches do, which is to build
dicts, lists, strings, numbers and uint8 arrays. Any other global is refused by its name before it is imported.
"""

from __future__ import annotations

import io
import pickle
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cards_deck.errors import DataError

_BROKEN = (
    pickle.UnpicklingError, EOFError, OSError, LookupError, AttributeError, ValueError, TypeError, ImportError,
    OverflowError, MemoryError,
)  # fmt: skip


class _ArrayClass:
    """Stands for `numpy.ndarray` itself, which the pickle only hands on to `_EmptyArray`."""

    __slots__ = ()


class _EmptyArray:
    """Stands for `numpy.core.multiarray._reconstruct`; the official batches only ever ask for an empty array."""

    __slots__ = ()

    def __call__(self, cls: object, shape: object, kind: object) -> NDArray[np.int8]:
        if not isinstance(cls, _ArrayClass) or shape != (0,) or kind not in ("b", b"b"):
            raise pickle.UnpicklingError("it builds an array in a way in which no official batch does")
        return np.empty(0, np.int8)


class _ByteType:
    """Stands for `numpy.dtype`; the official batches only hold uint8."""

    __slots__ = ()

    def __call__(self, code: object, align: object = False, copy: object = True) -> np.dtype[np.uint8]:
        if code != "u1":
            raise pickle.UnpicklingError(f"its arrays must be uint8 ('u1'), not {code!r}")
        return np.dtype("u1", copy=True)


# Two names for the first: NumPy 2 writes `numpy._core`, the official batches are older.
_ALLOWED: dict[tuple[str, str], object] = {
    ("numpy.core.multiarray", "_reconstruct"): _EmptyArray(),
    ("numpy._core.multiarray", "_reconstruct"): _EmptyArray(),
    ("numpy", "ndarray"): _ArrayClass(),
    ("numpy", "dtype"): _ByteType(),
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no official batch needs")
        return _ALLOWED[module, name]


def read_batch(data: bytes, source: str) -> dict[str, Any]:
    """The dict that `data`, the bytes of the file `source`, holds; DataError, naming it, for anything else.

    Strings of Python 2 are read as Latin-1, which keeps every byte.
    """
    try:
        batch = _Unpickler(io.BytesIO(data), encoding="latin1").load()
    except _BROKEN as error:
        raise DataError(
            f"{source}: it must be a batch of the official archive, and is refused: {error}; download the archive again"
        ) from error
    if not isinstance(batch, dict):
        raise DataError(f"{source}: it must hold a dict, not {type(batch).__name__}; download the archive again")
    return batch
