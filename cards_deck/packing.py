"""Dense tensors and masks <-> what a card's file holds of them.

A pruned tensor `t` is stored as `t.mask` (bits of the mask in row-major order, the highest bit of a byte first) and
`t.values` (the kept values in that order, float16 or float32); any other tensor as it is, in float32.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cards_deck.tensorfile import Array, checked_shape

Shape = tuple[int, ...]
VALUE_DTYPES: Mapping[int, type[Any]] = {16: np.float16, 32: np.float32}


def pack(
    tensors: Mapping[str, NDArray[np.float32]], masks: Mapping[str, NDArray[np.bool_]], bits: int
) -> dict[str, Array]:
    """The file's entries. ValueError where a kept value does not fit in `bits` or where two entries' names clash."""
    entries: dict[str, Array] = {}
    for name, array in tensors.items():
        if name not in masks:
            entries[name] = array
            continue
        with np.errstate(over="ignore"):
            values = array[masks[name]].astype(VALUE_DTYPES[bits])
        if not np.isfinite(values).all():
            raise ValueError(f"tensor {name!r} does not fit in {bits} bits")
        entries[f"{name}.mask"] = np.packbits(masks[name].ravel(), bitorder="big")
        entries[f"{name}.values"] = values
    if len(entries) != len(tensors) + len(masks) or set(entries) & set(masks):
        raise ValueError("a tensor's name ends in .mask or .values and clashes with a pruned tensor's: rename it")
    return entries


@dataclass(frozen=True, eq=False)
class PackedTensor:
    """One pruned tensor as the file holds it."""

    shape: Shape
    bits: NDArray[np.uint8]
    values: Array

    def mask(self) -> NDArray[np.bool_]:
        """bool, True where a weight is kept."""
        size = math.prod(self.shape)
        return np.unpackbits(self.bits, count=size, bitorder="big").astype(np.bool_).reshape(self.shape)

    def dense(self) -> NDArray[np.float32]:
        """float32, zero where no weight is kept."""
        array = np.zeros(self.shape, np.float32)
        array[self.mask()] = self.values
        return array


class DenseView(Mapping[str, NDArray[np.float32]]):
    """Tensors by name, unpacked anew at each look-up: a loaded deck holds no dense weights but its engines' own."""

    def __init__(self, packed: Mapping[str, PackedTensor], whole: Mapping[str, NDArray[np.float32]]) -> None:
        self._packed, self._whole = packed, whole

    def __getitem__(self, name: str) -> NDArray[np.float32]:
        return self._packed[name].dense() if name in self._packed else self._whole[name]

    def __iter__(self) -> Iterator[str]:
        yield from self._packed
        yield from self._whole

    def __len__(self) -> int:
        return len(self._packed) + len(self._whole)


class MaskView(Mapping[str, NDArray[np.bool_]]):
    """Masks by name, unpacked anew at each look-up."""

    def __init__(self, packed: Mapping[str, PackedTensor]) -> None:
        self._packed = packed

    def __getitem__(self, name: str) -> NDArray[np.bool_]:
        return self._packed[name].mask()

    def __iter__(self) -> Iterator[str]:
        return iter(self._packed)

    def __len__(self) -> int:
        return len(self._packed)


def unpack(entries: Mapping[str, Array], shapes: Mapping[str, Any], bits: int) -> tuple[DenseView, MaskView]:
    """(tensors, masks) from a file's entries and the declared shapes of the pruned ones.

    ValueError for entries that are missing, too many, of another dtype or length. Nothing dense is made here.
    """
    left = dict(entries)
    packed = {
        name: _packed(name, left, checked_shape(shape, name), VALUE_DTYPES[bits]) for name, shape in shapes.items()
    }
    for name, array in left.items():
        if array.dtype != np.float32 or name in packed:
            raise ValueError(f"tensor {name!r} must be float32 and not also pruned, it is {array.dtype}")
    # Own, writable memory: views of the file's bytes are read-only.
    return DenseView(packed, {name: array.astype(np.float32) for name, array in left.items()}), MaskView(packed)


def _packed(name: str, entries: dict[str, Array], shape: Shape, value_dtype: type[Any]) -> PackedTensor:
    bits, values = entries.pop(f"{name}.mask", None), entries.pop(f"{name}.values", None)
    if bits is None or values is None:
        raise ValueError(f"pruned tensor {name!r} must be stored as {name}.mask and {name}.values")
    size = math.prod(shape)
    if bits.dtype != np.uint8 or bits.shape != (-(-size // 8),):
        raise ValueError(f"{name}.mask must hold {-(-size // 8)} bytes for shape {list(shape)}")
    if size % 8 and int(bits[-1]) & ((1 << (8 - size % 8)) - 1):
        raise ValueError(f"{name}.mask has bits set after its end")
    kept = int(np.bitwise_count(bits).sum(dtype=np.int64))
    if values.dtype != value_dtype or values.shape != (kept,):
        raise ValueError(f"{name}.values must be {np.dtype(value_dtype)}, one for each of {kept} kept weights")
    return PackedTensor(shape, bits, values)
