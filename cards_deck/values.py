"""The kept values of a weight: which numbers they are, and the bytes that hold them.

A float weight holds its values, in 32 or 16 bits. A quantized one holds whole numbers, its codes, and a positive
float32 scale, one for all or one for each output: value = code * scale, one float32 multiplication, so that codes and
values give each other exactly. Codes of 8 bits lie from -127 to 127, ternary ones are -1, 0 or 1 and signs -1 or 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cards_deck.coding import Bytes
from cards_deck.coding._lzma import expand, squeeze
from cards_deck.tensorfile import Array

Floats = NDArray[np.float32]
Codes = NDArray[np.int8]
FLOAT_KINDS: Mapping[int, str] = {16: "float16", 32: "float32"}
CODE_KINDS: Mapping[int, str] = {8: "int8", 2: "ternary", 1: "sign"}  # by the card's bits
DTYPES: Mapping[str, np.dtype[Any]] = {
    "float32": np.dtype("<f4"),
    "float16": np.dtype("<f2"),
    "int8": np.dtype("i1"),
    "ternary": np.dtype("i1"),
    "sign": np.dtype("i1"),
}
CODINGS = ("plain", "squeezed")
_TRITS = 5  # ternary codes a byte: 3 ** 5 = 243


def spread(scale: Floats, shape: tuple[int, ...]) -> Floats:
    """A scale [1] or [outputs] so shaped that it multiplies a weight of `shape`."""
    return scale.reshape(-1, *[1] * (len(shape) - 1))


def codes_of(array: Floats, scale: Floats, bits: int) -> Codes:
    """int8 codes, in `array`'s shape, of a quantized weight; ValueError unless they give `array` back bit for bit."""
    step = spread(scale, array.shape)
    with np.errstate(over="ignore"):
        codes = np.rint(array / step)
    if np.abs(codes).max(initial=0) > (127 if bits == 8 else 1):
        raise ValueError(f"holds values beyond the codes of {bits} bits")
    small: Codes = codes.astype(np.int8)
    if not np.array_equal((small * step).view(np.uint32), np.ascontiguousarray(array).view(np.uint32)):
        raise ValueError("holds values that are not a code times its scale")
    return small


def encode(values: Array, kind: str) -> tuple[str, Array]:
    """(coding, entry) of a row of kept values of `kind`, whichever coding is shorter."""
    plain = _plain(values, kind)
    if kind in ("ternary", "sign"):
        return "plain", plain
    upper, lower = _planes(plain)
    squeezed = np.concatenate([squeeze(upper), lower])
    return ("squeezed", squeezed) if len(squeezed) < plain.nbytes else ("plain", plain)


def decode(coding: object, kind: str, entry: Array, count: int) -> Array:
    """The inverse of `encode` for `count` values; ValueError for other data."""
    dtype = DTYPES[kind]
    if coding == "squeezed" and kind not in ("ternary", "sign"):
        if entry.dtype != np.uint8 or entry.ndim != 1 or len(entry) < (dtype.itemsize - 1) * count:
            raise ValueError(f"must be bytes that hold {count} {kind} values")
        split = len(entry) - (dtype.itemsize - 1) * count
        upper = expand(entry[:split], count)
        if len(upper) != count:
            raise ValueError(f"must hold {count} {kind} values")
        lower = entry[split:].reshape(count, dtype.itemsize - 1)
        return np.ascontiguousarray(np.concatenate([lower, upper[:, None]], axis=1)).view(dtype).reshape(count)
    if coding != "plain":
        raise ValueError(f"has the coding {coding!r:.80}, which this release cannot read for {kind} values")
    length, stored = _stored(kind, count)
    if entry.dtype != stored or entry.shape != (length,):
        raise ValueError(f"must be {stored}, {length} numbers for {count} kept weights")
    return _unpacked(entry, kind, count)


def _planes(plain: Array) -> tuple[Bytes, Bytes]:
    """The highest byte of each value (sign and most of the exponent, which repeat), and the other bytes."""
    table = plain.view(np.uint8).reshape(len(plain), plain.itemsize)
    return np.ascontiguousarray(table[:, -1]), np.ascontiguousarray(table[:, :-1]).ravel()


def _stored(kind: str, count: int) -> tuple[int, np.dtype[Any]]:
    """(length, dtype) of the plain entry."""
    if kind == "sign":
        return -(-count // 8), np.dtype(np.uint8)
    if kind == "ternary":
        return -(-count // _TRITS), np.dtype(np.uint8)
    return count, DTYPES[kind]


def _plain(values: Array, kind: str) -> Array:
    if kind == "sign":
        return np.packbits(values > 0)
    if kind == "ternary":
        digits = np.zeros(-(-len(values) // _TRITS) * _TRITS, np.uint8)
        digits[: len(values)] = values + 1
        return (digits.reshape(-1, _TRITS) @ 3 ** np.arange(_TRITS)).astype(np.uint8)
    return np.ascontiguousarray(values, DTYPES[kind])


def _unpacked(entry: Array, kind: str, count: int) -> Array:
    if kind == "sign":
        bits = np.unpackbits(entry)
        if bits[count:].any():
            raise ValueError("has bits set after its end")
        return np.where(bits[:count] > 0, 1, -1).astype(np.int8)
    if kind == "ternary":
        if len(entry) and int(entry.max()) >= 3**_TRITS:
            raise ValueError("holds a byte that no ternary codes make")
        digits = (entry[:, None] // (3 ** np.arange(_TRITS)).astype(np.uint8) % 3).ravel()
        if digits[count:].any():
            raise ValueError("has codes after its end")
        return digits[:count].astype(np.int8) - np.int8(1)
    # Own, writable memory: views of the file's bytes are read-only.
    values = entry.astype(DTYPES[kind])
    if kind == "int8" and len(values) and int(values.min()) == -128:
        raise ValueError("holds the code -128: codes lie from -127 to 127")
    return values
