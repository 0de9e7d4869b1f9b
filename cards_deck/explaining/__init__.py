"""Why a deck answered as it did: in one sentence with numbers, as spectra, and as a page to look at."""

from __future__ import annotations

from cards_deck.explaining.spectra import plane, radial_profile, radii, shade
from cards_deck.explaining.why import Reasons, reasons, running_order
from cards_deck.explaining.widening import WIDENED, widenings
from cards_deck.explaining.wording import sentence

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
