"""No quantizer: kept values as floats of 32 or 16 bits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from cards_deck.errors import InputError
from cards_deck.training.quantizers import QUANTIZERS


@QUANTIZERS.register("none")
@dataclass(frozen=True)
class Unquantized:
    """The values as training left them, in 32 bits."""

    bits: ClassVar[int] = 32

    def covers(self, weights: Sequence[str]) -> tuple[str, ...]:
        """None."""
        return ()

    def grid(self, weight: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Floats have no codes: InputError."""
        raise InputError(f"values of {self.bits} bits are floats and have no codes")


@QUANTIZERS.register("fp16")
@dataclass(frozen=True)
class Half(Unquantized):
    """Rounded to half precision."""

    bits: ClassVar[int] = 16
