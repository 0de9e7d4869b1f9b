"""How the mask of a pruned weight is written: one coding per file, chosen for each tensor by its size in bytes.

A mask is a flat bool array (True = kept, row-major order). Its entropy at density d is H(d) = -d log2 d - (1-d)
log2(1-d) bits a weight: 0.286 at 5 %, where the plain bitmap takes 1. `decode` gets the number of weights and of kept
ones from the file's header, checked and bounded by the caller, allocates in proportion to them and to the data only,
and raises ValueError for every byte string that no `encode` could have made for them. The lzma codings are the
arithmetic coders here: liblzma's adaptive range coder with no context reaches the entropy of the bytes it is given,
and beats zlib's Huffman codes, which spend at least one bit a byte (benchmarks/storage.py has both).
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cards_deck.registry import Registry, discover

__all__ = ["CODINGS", "Bytes", "Coding", "Mask", "decode", "smallest"]

Mask = NDArray[np.bool_]
Bytes = np.ndarray[Any, np.dtype[np.uint8]]


class Coding(Protocol):
    """One way to write a mask."""

    def encode(self, mask: Mask) -> Bytes:
        """Bytes of a flat mask; equal masks give equal bytes."""
        ...

    def decode(self, data: Bytes, size: int, kept: int) -> Mask:
        """The flat mask of `size` weights, `kept` of them True; ValueError for any other data."""
        ...


CODINGS: Registry[Coding] = Registry("mask coding")
discover(__name__, __path__)
_QUICKEST_FIRST = ("bitmap", "delta", "rice")
# Densities at which a slow coding is tried: outside, another is shorter whatever the pattern, or nearly so.
_TRIED = {"lzma_bitmap": (0.08, 1.0), "lzma_delta": (0.0, 0.4)}


def smallest(mask: Mask) -> tuple[str, Bytes]:
    """(name, bytes) of the coding that writes the flat `mask` shortest; of equals, the one that is read fastest."""
    density = int(np.count_nonzero(mask)) / max(mask.size, 1)
    names = (*_QUICKEST_FIRST, *(name for name in CODINGS.names() if name not in _QUICKEST_FIRST))
    ranges = {name: _TRIED.get(name, (0.0, 1.0)) for name in names}
    tried = [name for name in names if ranges[name][0] <= density <= ranges[name][1]]
    coded = ((name, CODINGS.build(name).encode(mask)) for name in tried)
    return min(coded, key=lambda pair: len(pair[1]))


def decode(name: object, data: Bytes, size: int, kept: int) -> Mask:
    """The flat mask of `size` weights, `kept` of them True; ValueError for an unknown coding or other data."""
    if not isinstance(name, str) or name not in CODINGS:
        raise ValueError(f"mask coding {name!r:.80} is unknown: this release reads {', '.join(CODINGS.names())}")
    if data.dtype != np.uint8 or data.ndim != 1:
        raise ValueError("a coded mask must be a row of bytes")
    if not 0 <= kept <= size:
        raise ValueError(f"a mask of {size} weights cannot keep {kept}")
    mask = CODINGS.build(name).decode(data, size, kept)
    if int(np.count_nonzero(mask)) != kept:
        raise ValueError(f"its mask does not keep the {kept} weights declared")
    return mask
