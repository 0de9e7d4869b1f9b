"""Why a deck answered as it did: in one sentence with numbers, as spectra, and as a page to look at."""

from __future__ import annotations

from cards_deck.explaining.spectra import plane, radial_profile, radii, shade
from cards_deck.explaining.why import WIDENED, Reasons, reasons, running_order, sentence, widenings

__all__ = [
    "WIDENED",
    "Reasons",
    "plane",
    "radial_profile",
    "radii",
    "reasons",
    "running_order",
    "sentence",
    "shade",
    "widenings",
]
