"""The file of what a gate has learned: float32 arrays by name, which the manifest names beside the gate's scalars."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from cards_deck import tensorfile

FORMAT, VERSION = "cards-deck/gate", "1"
MAX_FILE = 1 << 26  # bytes: 16 million numbers
MAX_ARRAYS = 256
Arrays = Mapping[str, NDArray[np.float32]]


def gate_bytes(arrays: Arrays) -> bytes:
    """The file of a gate's arrays; equal arrays give equal bytes. ValueError for too many or too large ones."""
    data = tensorfile.encode(dict(arrays), {"format": FORMAT, "version": VERSION})
    if len(data) > MAX_FILE or len(arrays) > MAX_ARRAYS:
        raise ValueError(f"a gate may hold {MAX_ARRAYS} arrays in {MAX_FILE} bytes, not {len(arrays)} in {len(data)}")
    return data


def gate_from_bytes(data: bytes) -> dict[str, NDArray[np.float32]]:
    """The inverse of `gate_bytes`; ValueError for anything else."""
    if len(data) > MAX_FILE:
        raise ValueError(f"it has {len(data)} bytes, more than the {MAX_FILE} allowed")
    entries, metadata = tensorfile.decode(data)
    if metadata != {"format": FORMAT, "version": VERSION}:
        raise ValueError(f"it must be {FORMAT!r} of version {VERSION}")
    if not 1 <= len(entries) <= MAX_ARRAYS:
        raise ValueError(f"it must hold 1 to {MAX_ARRAYS} arrays, not {len(entries)}")
    for name, array in entries.items():
        if array.dtype != np.float32 or not np.isfinite(array).all():
            raise ValueError(f"its array {name!r} must be float32 and finite")
    return {name: array.astype(np.float32) for name, array in entries.items()}
