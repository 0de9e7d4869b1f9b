"""Bytes through liblzma as an adaptive arithmetic coder, with the output's length bounded when they are read back."""

from __future__ import annotations

import lzma
from collections.abc import Mapping
from typing import Any

import numpy as np

from cards_deck.coding import Bytes

# No header and no checksum (the file has a SHA-256); no context, since neighbouring bytes tell nothing of each other
# here; and a dictionary that bounds the memory of reading.
_FILTERS: list[Mapping[str, Any]] = [
    {"id": lzma.FILTER_LZMA2, "preset": 6, "dict_size": 1 << 20, "lc": 0, "lp": 0, "pb": 0}
]


def squeeze(data: Bytes) -> Bytes:
    """The compressed bytes."""
    packed = lzma.compress(data.tobytes(), format=lzma.FORMAT_RAW, filters=_FILTERS)
    return np.frombuffer(packed, np.uint8)


def expand(data: Bytes, longest: int) -> Bytes:
    """The inverse of `squeeze`; ValueError where the data are broken, go on, or hold more than `longest` bytes."""
    reader = lzma.LZMADecompressor(format=lzma.FORMAT_RAW, filters=_FILTERS)
    try:
        found = reader.decompress(data.tobytes(), max_length=longest + 1)
    except lzma.LZMAError as error:
        raise ValueError(f"its compressed bytes are broken: {error}") from None
    if len(found) > longest or not reader.eof or reader.unused_data:
        raise ValueError(f"its compressed bytes are truncated, or hold more than {longest} bytes")
    return np.frombuffer(found, np.uint8)
