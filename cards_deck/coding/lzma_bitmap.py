"""The bits of `bitmap` through an adaptive arithmetic coder: the shortest for dense masks with a pattern."""

from __future__ import annotations

from dataclasses import dataclass

from cards_deck.coding import CODINGS, Bytes, Mask
from cards_deck.coding._lzma import expand, squeeze
from cards_deck.coding.bitmap import Bitmap


@CODINGS.register("lzma_bitmap")
@dataclass(frozen=True)
class LzmaBitmap:
    """Raw LZMA2 of the bitmap."""

    def encode(self, mask: Mask) -> Bytes:
        """See `Coding`."""
        return squeeze(Bitmap().encode(mask))

    def decode(self, data: Bytes, size: int, kept: int) -> Mask:
        """See `Coding`."""
        return Bitmap().decode(expand(data, -(-size // 8)), size, kept)
