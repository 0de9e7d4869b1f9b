"""What a deck's manifest says that its gate may lose, and lost, against the plain average of its cards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

_NAMES = ("most_loss", "worst_validation_cell", "worst_validation_loss", "worst_validation_error")  # in JSON


@dataclass(frozen=True)
class Promise:
    """Of a gate as it was chosen, on validation images and corruptions that it was not fitted on (`choose_gate`).

    `most_loss`: accuracy in [0, 1] that it may lose in any cell; `cell`: where it lost most; `loss` there and its
    standard `error`.
    """

    most_loss: float
    cell: str
    loss: float
    error: float

    @classmethod
    def of(cls, measured: Mapping[str, Any]) -> Self | None:
        """Of a deck's `measured["gate"]`; None where it says nothing, or of another gate than the deck has by now."""
        if "tuned" in measured:
            return None
        return cls.from_dict({"most_loss": measured.get("most_loss"), **measured.get("chosen", {})})

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Self | None:
        """The inverse of `as_dict`; None where something is missing, as in older manifests."""
        if any(found.get(name) is None for name in _NAMES):
            return None
        most_loss, cell, loss, error = (found[name] for name in _NAMES)
        return cls(most_loss, cell, loss, error)

    def as_dict(self) -> dict[str, Any]:
        """JSON form."""
        return dict(zip(_NAMES, (self.most_loss, self.cell, self.loss, self.error), strict=True))

    @property
    def kept(self) -> bool:
        """Whether it lost no more than allowed, but for one standard error; if not, no other gate lost less."""
        return self.loss - self.error <= self.most_loss + 1e-9
