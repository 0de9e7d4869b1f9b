"""Masks in one bit a weight, and the file of those that several cards of a deck share.

Cards fine-tuned from one ticket have its mask: 70 kB of each 0.5 MB card of the starter deck. The file is
safetensors: one coded mask per entry, named by its content.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cards_deck import coding, files, tensorfile
from cards_deck.checks import is_whole
from cards_deck.tensorfile import MAX_ELEMENTS, Array, checked_shape

FORMAT, VERSION = "cards-deck/masks", "1"
# A file may declare this many weights for each of its bytes: what no trained card needs (a binary ticket of 0.1 % takes
# a byte for 600), and what keeps a small hostile file from asking for gigabytes.
MAX_PER_BYTE = 1024
Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class PackedMask:
    """A mask of `shape`, `kept` of its weights True; `bits` None means all of them."""

    shape: tuple[int, ...]
    kept: int
    bits: NDArray[np.uint8] | None

    @classmethod
    def of(cls, mask: Mask) -> PackedMask:
        """The same mask, packed."""
        return cls(mask.shape, int(np.count_nonzero(mask)), np.packbits(mask))

    def mask(self) -> Mask:
        """bool of `shape`."""
        if self.bits is None:
            return np.ones(self.shape, np.bool_)
        return np.unpackbits(self.bits, count=math.prod(self.shape)).view(np.bool_).reshape(self.shape)


@dataclass(frozen=True, eq=False)
class SharedMasks:
    """Masks by their keys, and the SHA-256 and size in bytes of the file that holds them."""

    masks: Mapping[str, PackedMask]
    sha256: str
    size: int


def mask_key(mask: Mask) -> str:
    """16 hexadecimal digits that name a mask by its shape and content."""
    return files.sha256(f"{list(mask.shape)}".encode() + np.packbits(mask).tobytes())[:16]


def common_masks(cards: Iterable[Mapping[str, Mask]]) -> dict[str, Mask]:
    """The masks that at least two of the cards (or of one card's tensors) have, by key and sorted."""
    found: dict[str, Mask] = {}
    uses: Counter[str] = Counter()
    for masks in cards:
        for mask in masks.values():
            key = mask_key(mask)
            uses[key] += 1
            found[key] = mask
    return {key: found[key] for key in sorted(found) if uses[key] > 1}


def masks_bytes(masks: Mapping[str, Mask]) -> bytes:
    """The file of shared masks; equal masks give equal bytes."""
    entries: dict[str, Array] = {}
    specs: dict[str, Any] = {}
    for key, mask in masks.items():
        chosen, entries[key] = coding.smallest(mask.ravel())
        specs[key] = {"shape": list(mask.shape), "kept": int(np.count_nonzero(mask)), "coding": chosen}
    metadata = {"format": FORMAT, "version": VERSION, "masks": files.canonical_json(specs)}
    return tensorfile.encode(entries, metadata)


def masks_from_bytes(data: bytes) -> SharedMasks:
    """The inverse of `masks_bytes`; ValueError for anything else."""
    entries, metadata = tensorfile.decode(data)
    if (metadata.get("format"), metadata.get("version")) != (FORMAT, VERSION):
        raise ValueError(f"its format is not {FORMAT!r} of version {VERSION}")
    specs = files.strict_json(metadata.get("masks", ""))
    if not isinstance(specs, dict) or set(specs) != set(entries) or len(metadata) != 3:
        raise ValueError("its masks are not described one by one")
    shapes = {key: _shape(key, spec) for key, spec in specs.items()}
    limit = min(MAX_PER_BYTE * len(data), MAX_ELEMENTS)
    if (total := sum(math.prod(shape) for shape in shapes.values())) > limit:
        raise ValueError(f"it declares {total} weights, more than the {limit} that its size allows")
    return SharedMasks(
        {key: _decoded(key, shapes[key], specs[key], entries[key]) for key in specs}, files.sha256(data), len(data)
    )


def _shape(key: str, spec: object) -> tuple[int, ...]:
    if not isinstance(spec, dict) or set(spec) != {"shape", "kept", "coding"}:
        raise ValueError(f"mask {key!r} must be described by shape, kept and coding")
    return checked_shape(spec["shape"], key)


def _decoded(key: str, shape: tuple[int, ...], spec: Mapping[str, Any], entry: Array) -> PackedMask:
    if not is_whole(spec["kept"], 0, math.prod(shape)):
        raise ValueError(f"mask {key!r} must keep 0 to {math.prod(shape)} weights, not {spec['kept']!r:.80}")
    try:
        mask = coding.decode(spec["coding"], entry, math.prod(shape), spec["kept"]).reshape(shape)
    except ValueError as error:
        raise ValueError(f"mask {key!r}: {error}") from None
    if mask_key(mask) != key:
        raise ValueError(f"mask {key!r} is not the one that its name says")
    return PackedMask.of(mask)
