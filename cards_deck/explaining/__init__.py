"""Why a deck answered as it did: in one sentence with numbers, as spectra, and as a page to look at."""

from __future__ import annotations

from cards_deck.explaining.reasons import WIDENED, Reasons, measured_augmentations, reasons, running_order, sentence
from cards_deck.explaining.spectra import plane, radial_profile, radii, shade

__all__ = [
    "WIDENED",
    "Reasons",
    "measured_augmentations",
    "plane",
    "radial_profile",
    "radii",
    "reasons",
    "running_order",
    "sentence",
    "shade",
]
