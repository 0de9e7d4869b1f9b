"""The bytes of `delta` through an adaptive arithmetic coder: the shortest where the density varies inside a tensor."""

from __future__ import annotations

from dataclasses import dataclass

from cards_deck.coding import CODINGS, Bytes, Mask
from cards_deck.coding._gaps import gap_bytes, longest_gap_bytes, mask_of_gap_bytes
from cards_deck.coding._lzma import expand, squeeze


@CODINGS.register("lzma_delta")
@dataclass(frozen=True)
class LzmaDelta:
    """Raw LZMA2 of the gaps as bytes."""

    def encode(self, mask: Mask) -> Bytes:
        """See `Coding`."""
        return squeeze(gap_bytes(mask))

    def decode(self, data: Bytes, size: int, kept: int) -> Mask:
        """See `Coding`."""
        return mask_of_gap_bytes(expand(data, longest_gap_bytes(size, kept)), size, kept)
