"""The safetensors layout, written byte for byte the same each time and read with every length checked.

The safetensors library writes its metadata in random order, so equal cards would not have equal hashes; and it reads
metadata only from a path, so the bytes that were hashed could differ from those decoded. Its files and ours are
interchangeable (a test writes with one and reads with the other).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from cards_deck.checks import is_whole
from cards_deck.files import strict_json

Array = np.ndarray[Any, np.dtype[Any]]
DTYPES: Mapping[str, np.dtype[Any]] = {
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "I8": np.dtype("i1"),
    "U8": np.dtype("u1"),
}
MAX_HEADER = 1 << 20
MAX_ELEMENTS = 1 << 28
_NAMES = {dtype: name for name, dtype in DTYPES.items()}


def encode(tensors: Mapping[str, Array], metadata: Mapping[str, str]) -> bytes:
    """Bytes of a safetensors file. ValueError for a dtype that is not in `DTYPES`."""
    header: dict[str, Any] = {"__metadata__": dict(sorted(metadata.items()))}
    blocks: list[bytes] = []
    offset = 0
    # Widest values first, as the library does, so that every tensor is aligned to its own width.
    for name in sorted(tensors, key=lambda name: (-tensors[name].itemsize, name)):
        array = tensors[name]
        little = array.dtype.newbyteorder("<") if array.itemsize > 1 else array.dtype
        if little not in _NAMES:
            raise ValueError(f"tensor {name!r} has dtype {array.dtype}: only {', '.join(DTYPES)} are stored")
        block = array.astype(little, copy=False).tobytes()
        header[name] = {
            "dtype": _NAMES[little],
            "shape": list(array.shape),
            "data_offsets": [offset, offset + len(block)],
        }
        offset += len(block)
        blocks.append(block)
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > MAX_HEADER:
        raise ValueError(f"the header would have {len(text)} bytes, more than the {MAX_HEADER} allowed")
    return b"".join([len(text).to_bytes(8, "little"), text, *blocks])


def decode(data: bytes) -> tuple[dict[str, Array], dict[str, str]]:
    """(tensors, metadata) of a safetensors file; ValueError says which rule the bytes break.

    The arrays are read-only views of `data`. Nothing is allocated before its declared length was checked.
    """
    if len(data) < 8:
        raise ValueError(f"it has {len(data)} bytes and is not a safetensors file")
    length = int.from_bytes(data[:8], "little")
    if length > MAX_HEADER or data[8:9] != b"{":
        raise ValueError("it does not begin with a safetensors header")
    if 8 + length > len(data):
        raise ValueError("it ends inside its header: the file is truncated")
    header = strict_json(data[8 : 8 + length])
    if not isinstance(header, dict):
        raise ValueError("its header is not an object")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise ValueError("its metadata must map texts to texts")
    return _tensors(header, data, 8 + length), metadata


def _tensors(header: dict[str, Any], data: bytes, start: int) -> dict[str, Array]:
    entries = {name: _entry(name, described) for name, described in header.items()}
    position = 0
    for name in sorted(entries, key=lambda name: entries[name][2]):
        dtype, shape, begin, end = entries[name]
        if begin != position or end - begin != dtype.itemsize * math.prod(shape):
            raise ValueError(f"tensor {name!r} leaves a hole, overlaps another or has a wrong length")
        position = end
    if start + position != len(data):
        raise ValueError(f"its tensors take {start + position} bytes and the file has {len(data)}: truncated or padded")
    return {
        name: np.frombuffer(data, dtype, math.prod(shape), start + begin).reshape(shape)
        for name, (dtype, shape, begin, _) in entries.items()
    }


def _entry(name: str, described: object) -> tuple[np.dtype[Any], tuple[int, ...], int, int]:
    if not isinstance(described, dict) or set(described) != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"tensor {name!r} is not described by dtype, shape and data_offsets")
    if described["dtype"] not in list(DTYPES):
        raise ValueError(f"tensor {name!r} has dtype {described['dtype']!r}: only {', '.join(DTYPES)} are read")
    shape, offsets = checked_shape(described["shape"], name), described["data_offsets"]
    if not (isinstance(offsets, list) and len(offsets) == 2 and all(is_whole(v, 0) for v in offsets)):
        raise ValueError(f"tensor {name!r} has offsets {offsets!r}")
    return DTYPES[described["dtype"]], shape, offsets[0], offsets[1]


def checked_shape(shape: object, name: str) -> tuple[int, ...]:
    """A declared shape as a tuple; ValueError unless it has at most 8 lengths and `MAX_ELEMENTS` elements."""
    if not isinstance(shape, list) or len(shape) > 8 or not all(is_whole(v, 0, MAX_ELEMENTS) for v in shape):
        raise ValueError(f"tensor {name!r} has shape {shape!r}")
    if math.prod(shape) > MAX_ELEMENTS:
        raise ValueError(f"tensor {name!r} has {math.prod(shape)} elements, more than the {MAX_ELEMENTS} allowed")
    return tuple(shape)
