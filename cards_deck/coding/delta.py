"""One byte a kept weight, of any density: its distance from the last one."""

from __future__ import annotations

from dataclasses import dataclass

from cards_deck.coding import CODINGS, Bytes, Mask
from cards_deck.coding._gaps import gap_bytes, mask_of_gap_bytes


@CODINGS.register("delta")
@dataclass(frozen=True)
class Delta:
    """Gaps as bytes; 255 skips 255 weights and goes on."""

    def encode(self, mask: Mask) -> Bytes:
        """See `Coding`."""
        return gap_bytes(mask)

    def decode(self, data: Bytes, size: int, kept: int) -> Mask:
        """See `Coding`."""
        return mask_of_gap_bytes(data, size, kept)
