"""Dense tensors and masks <-> what a card's file holds of them.

A conv or linear weight `t` that is pruned or quantized is packed: `t.mask` in one of the codings of
`cards_deck.coding` (absent where all weights are kept, or where the deck's file of shared masks has it), `t.values`
(the kept values in row-major order, see `cards_deck.values`) and, where it is quantized, `t.scale` (float32, [1] or
[outputs]). Any other tensor is stored as it is, in float32: batch norms stay unfolded, 38 kB of a ResNet-18, so that
every card can be trained further, blended and recalibrated.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cards_deck import coding, values
from cards_deck.checks import is_whole
from cards_deck.masks import PackedMask, SharedMasks, mask_key
from cards_deck.tensorfile import MAX_ELEMENTS, Array, checked_shape
from cards_deck.values import CODE_KINDS, FLOAT_KINDS, Codes, Floats

Shape = tuple[int, ...]
Specs = dict[str, dict[str, Any]]


@dataclass(frozen=True, eq=False)
class PackedTensor:
    """One pruned or quantized weight, its mask in one bit a weight and its values as they are stored."""

    mask_bits: PackedMask
    kept: Array
    scale: Floats | None = None

    @property
    def shape(self) -> Shape:
        """Of the dense weight."""
        return self.mask_bits.shape

    def mask(self) -> NDArray[np.bool_]:
        """bool, True where a weight is kept."""
        return self.mask_bits.mask()

    def dense(self) -> Floats:
        """float32, zero where no weight is kept."""
        array = np.zeros(self.shape, np.float32)
        array[self.mask()] = self.kept
        if self.scale is not None:
            with np.errstate(over="ignore"):  # what overflows is refused as infinite
                array *= values.spread(self.scale, self.shape)
        return array


class DenseView(Mapping[str, Floats]):
    """Tensors by name, unpacked anew at each look-up: a loaded deck holds no dense weights but its engines' own."""

    def __init__(self, packed: Mapping[str, PackedTensor], whole: Mapping[str, Floats]) -> None:
        self._packed, self._whole = packed, whole

    def __getitem__(self, name: str) -> Floats:
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


@dataclass(frozen=True, eq=False)
class Unpacked:
    """What a card's file holds."""

    tensors: DenseView
    masks: MaskView
    scales: Mapping[str, Floats]


def pack(
    tensors: Mapping[str, Floats],
    masks: Mapping[str, NDArray[np.bool_]],
    scales: Mapping[str, Floats],
    bits: int,
    shared: SharedMasks | None = None,
) -> tuple[dict[str, Array], Specs]:
    """(the file's entries, how each packed tensor is stored). Masks that `shared` holds are named, not stored.

    ValueError where a kept value does not fit in `bits` or where two entries' names clash.
    """
    entries: dict[str, Array] = {}
    specs: Specs = {}
    for name, array in tensors.items():
        if name not in masks and name not in scales:
            entries[name] = array
            continue
        mask = masks.get(name)
        kept, kind = _kept(name, array, mask, scales.get(name), bits)
        coded, entries[f"{name}.values"] = values.encode(kept, kind)
        specs[name] = {"shape": list(array.shape), "kept": len(kept), "kind": kind, "values": coded}
        specs[name] |= _store_mask(name, mask, entries, shared)
        if name in scales:
            entries[f"{name}.scale"] = scales[name]
    if clash := sorted({f"{name}.{part}" for name in specs for part in ("mask", "values", "scale")} & set(tensors)):
        raise ValueError(f"tensor {clash[0]!r} clashes with what is stored of another tensor: rename it")
    return entries, specs


def held(tensors: Mapping[str, Floats], masks: Mapping[str, NDArray[np.bool_]], bits: int) -> Unpacked:
    """Float tensors as a file of `bits` gives them back, held as it would be, without making the file.

    ValueError where a kept value does not fit in `bits`.
    """
    packed = {
        name: PackedTensor(PackedMask.of(mask), _kept(name, tensors[name], mask, None, bits)[0])
        for name, mask in masks.items()
    }
    whole = {name: array for name, array in tensors.items() if name not in masks}
    return Unpacked(DenseView(packed, whole), MaskView(packed), {})


def _kept(
    name: str, array: Floats, mask: NDArray[np.bool_] | None, scale: Floats | None, bits: int
) -> tuple[Array, str]:
    """(kept values, their kind); weights without a scale keep 16 bits in a quantized card."""
    if scale is not None:
        try:
            codes: Codes = values.codes_of(array, scale, bits)
        except ValueError as error:
            raise ValueError(f"tensor {name!r} {error}") from None
        kept = codes.ravel() if mask is None else codes[mask]
        if bits == 1 and not kept.all():
            raise ValueError(f"tensor {name!r} keeps a zero, which one bit cannot hold")
        return kept, CODE_KINDS[bits]
    kind = FLOAT_KINDS[max(bits, 16)]
    with np.errstate(over="ignore"):
        rounded = array[mask].astype(values.DTYPES[kind])
    if not np.isfinite(rounded).all():
        raise ValueError(f"tensor {name!r} does not fit in {max(bits, 16)} bits")
    return rounded, kind


def _store_mask(
    name: str, mask: NDArray[np.bool_] | None, entries: dict[str, Array], shared: SharedMasks | None
) -> dict[str, Any]:
    if mask is None:
        return {"mask": {}}
    key = mask_key(mask) if shared is not None else ""
    if shared is not None and key in shared.masks:
        return {"mask": {"shared": key}}
    chosen, entries[f"{name}.mask"] = coding.smallest(mask.ravel())
    return {"mask": {"coding": chosen}}


def unpack(
    entries: Mapping[str, Array], specs: Mapping[str, Any], bits: int, *, limit: int, shared: SharedMasks | None = None
) -> Unpacked:
    """The inverse of `pack`; at most `limit` weights may be declared in all. Nothing dense is made here.

    ValueError for entries that are missing, too many, of another dtype or length.
    """
    left = dict(entries)
    shapes = {name: checked_shape(_field(spec, "shape", name), name) for name, spec in specs.items()}
    if (total := sum(math.prod(shape) for shape in shapes.values())) > min(limit, MAX_ELEMENTS):
        raise ValueError(f"it declares {total} weights, more than the {min(limit, MAX_ELEMENTS)} that its size allows")
    packed: dict[str, PackedTensor] = {}
    for name, shape in shapes.items():
        try:
            packed[name] = _unpacked(name, shape, specs[name], left, bits, shared)
        except ValueError as error:
            raise ValueError(f"tensor {name!r}: {error}") from None
    for name, array in left.items():
        if array.dtype != np.float32 or name in packed:
            raise ValueError(f"tensor {name!r} must be float32 and not also packed, it is {array.dtype}")
    pruned = {name: tensor for name, tensor in packed.items() if specs[name]["mask"] != {}}
    return Unpacked(
        # Own, writable memory: views of the file's bytes are read-only.
        DenseView(packed, {name: array.astype(np.float32) for name, array in left.items()}),
        MaskView(pruned),
        {name: tensor.scale for name, tensor in packed.items() if tensor.scale is not None},
    )


def _field(spec: object, field: str, name: str) -> Any:
    if not isinstance(spec, dict) or set(spec) != {"shape", "kept", "kind", "values", "mask"}:
        raise ValueError(f"tensor {name!r} must be described by shape, kept, kind, values and mask")
    return spec[field]


def _unpacked(
    name: str, shape: Shape, spec: Mapping[str, Any], left: dict[str, Array], bits: int, shared: SharedMasks | None
) -> PackedTensor:
    size, kept, kind = math.prod(shape), spec["kept"], spec["kind"]
    if not is_whole(kept, 0, size):
        raise ValueError(f"it must keep 0 to {size} weights, not {kept!r:.80}")
    scale = left.pop(f"{name}.scale", None)
    wanted = FLOAT_KINDS[max(bits, 16)] if scale is None else CODE_KINDS.get(bits)
    if kind != wanted:
        raise ValueError(f"its values are {kind!r:.80}, those of a card of {bits} bits must be {wanted}")
    mask = _mask(name, shape, kept, spec["mask"], left, shared)
    if (entry := left.pop(f"{name}.values", None)) is None:
        raise ValueError(f"{name}.values is missing")
    return PackedTensor(mask, values.decode(spec["values"], kind, entry, kept), _scale(scale, shape))


def _mask(
    name: str, shape: Shape, kept: int, described: object, left: dict[str, Array], shared: SharedMasks | None
) -> PackedMask:
    match described:
        case {"coding": chosen, **rest} if not rest:
            if (entry := left.pop(f"{name}.mask", None)) is None:
                raise ValueError(f"{name}.mask is missing")
            return PackedMask.of(coding.decode(chosen, entry, math.prod(shape), kept).reshape(shape))
        case {"shared": str(key), **rest} if not rest:
            if shared is None or key not in shared.masks:
                raise ValueError(f"its mask {key!r:.80} is not among the deck's shared masks")
            found = shared.masks[key]
            if (found.shape, found.kept) != (shape, kept):
                raise ValueError(f"the shared mask {key!r} has another shape or keeps another number of weights")
            return found
        case {} if not described:
            if kept != math.prod(shape):
                raise ValueError("it has no mask and does not keep all its weights")
            return PackedMask(shape, kept, None)
        case _:
            raise ValueError(f"its mask is described by {described!r:.80}")


def _scale(scale: Array | None, shape: Shape) -> Floats | None:
    if scale is None:
        return None
    if scale.dtype != np.float32 or scale.shape not in ((1,), shape[:1]):
        raise ValueError(f"its scale must be float32 [1] or {list(shape[:1])}, not {scale.dtype} {list(scale.shape)}")
    return scale.astype(np.float32)
