"""Reading the pickles of the official CIFAR archives without running anything that they say.

A pickle is a program: it may import and call anything. Here it may do what the official batches do, which is to build
dicts, lists, strings, numbers and uint8 arrays. Any other global is refused by its name before it is imported.
"""

from __future__ import annotations

import io
import pickle
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cards_deck.errors import DataError

_BROKEN = (
    pickle.UnpicklingError, EOFError, OSError, LookupError, AttributeError, ValueError, TypeError, ImportError,
    OverflowError, MemoryError, struct.error,
)  # fmt: skip


class _ArrayClass:
    """Stands for `numpy.ndarray` itself, which the pickle only hands on to `_Reconstruct`."""

    __slots__ = ()


class _ByteType:
    """Stands for `numpy.dtype` and for the uint8 type that it returns; the official batches hold no other."""

    __slots__ = ()

    def __call__(self, code: object, align: object = False, copy: object = True) -> _ByteType:
        if code != "u1":
            raise pickle.UnpicklingError(f"its arrays must be uint8 ('u1'), not {code!r}")
        return self

    def __setstate__(self, state: object) -> None:
        """Byte order and the like, which uint8 has none of."""


class _Array:
    """A uint8 array in the making. NumPy's own `__setstate__` is not called: garbled states make it crash."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: NDArray[np.uint8] = np.empty(0, np.uint8)

    def __setstate__(self, state: object) -> None:
        match state:
            case (1, (int() as rows, int() as columns), _ByteType(), False | 0, str() | bytes() as raw):
                data = raw.encode("latin1") if isinstance(raw, str) else raw
                self.value = np.frombuffer(data, np.uint8).reshape(rows, columns)
            case _:
                raise pickle.UnpicklingError("its arrays must be whole, uint8, of two dimensions, row by row")


class _Reconstruct:
    """Stands for `numpy.core.multiarray._reconstruct`; the official batches only ever ask for an empty array."""

    __slots__ = ()

    def __call__(self, cls: object, shape: object, kind: object) -> _Array:
        if not isinstance(cls, _ArrayClass) or shape != (0,) or kind not in ("b", b"b"):
            raise pickle.UnpicklingError("it builds an array in a way in which no official batch does")
        return _Array()


# Two names for the first: NumPy 2 writes `numpy._core`, the official batches are older.
_ALLOWED: dict[tuple[str, str], object] = {
    ("numpy.core.multiarray", "_reconstruct"): _Reconstruct(),
    ("numpy._core.multiarray", "_reconstruct"): _Reconstruct(),
    ("numpy", "ndarray"): _ArrayClass(),
    ("numpy", "dtype"): _ByteType(),
}


class _Unpickler(pickle._Unpickler):
    """The unpickler that is written in Python: the C one reports internal errors on some garbled files."""

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
    return {key: value.value if isinstance(value, _Array) else value for key, value in batch.items()}
