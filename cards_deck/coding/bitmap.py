"""One bit a weight: the shortest from about 40 % of weights kept upwards, and the fastest."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cards_deck.coding import CODINGS, Bytes, Mask


@CODINGS.register("bitmap")
@dataclass(frozen=True)
class Bitmap:
    """Bits in row-major order, the highest bit of a byte first; the bits after the last weight are 0."""

    def encode(self, mask: Mask) -> Bytes:
        """See `Coding`."""
        return np.packbits(mask, bitorder="big")

    def decode(self, data: Bytes, size: int, kept: int) -> Mask:
        """See `Coding`."""
        if len(data) != -(-size // 8):
            raise ValueError(f"its bitmap must hold {-(-size // 8)} bytes for {size} weights, not {len(data)}")
        if size % 8 and int(data[-1]) & ((1 << (8 - size % 8)) - 1):
            raise ValueError("its bitmap has bits set after its end")
        return np.unpackbits(data, count=size, bitorder="big").view(np.bool_)
