"""Every kind of gate on the same cards, fitted on validation images: what a deck's own gate is compared with.

Gates compete at equal cost: no more than `MOST_CARDS` cards per image on average, clean and corrupted alike; each kind
is also fitted for fewer. Which one would be chosen is decided on validation images that it was not fitted on.
"""

from __future__ import annotations

import numpy as np

from cards_deck.costs import card_costs
from cards_deck.deck import Deck
from cards_deck.inference.gates import GATES, Chosen, Known, Observed, choose_gate
from eval.measure import labels_of
from eval.validation import Validation

MOST_CARDS = 2.0
KINDS = tuple(kind for kind in GATES.names() if kind != "uniform")  # the plain average is a route by itself


def fit_gates(deck: Deck, validation: Validation) -> Chosen:
    """Gates of each kind for the deck's cards, under the limits of the deck's own gate."""
    costs = [float(card_costs(card, deck.image_size).macs_executed) for card in deck.cards]
    most_loss = float(deck.measured.get("gate", {}).get("most_loss", 1.0))
    return choose_gate(
        observed(validation), Known.of(deck), deck.gate,
        kinds=KINDS, most_cards=MOST_CARDS, most_loss=most_loss, costs=costs,
    )  # fmt: skip


def observed(validation: Validation) -> Observed:
    """What every card says to the validation images, cell after cell."""
    cells = validation.answers
    places = np.repeat(np.arange(len(cells)), [len(labels_of(cell)) for cell in cells])
    return Observed(
        spectra=np.concatenate([cell.spectra() for cell in cells]),
        logits=np.concatenate([cell.logits for cell in cells], axis=1),
        labels=np.concatenate([labels_of(cell) for cell in cells]),
        cell=places.astype(np.int64),
        names=tuple(f"{name} {severity}" if severity else name for name, severity in validation.cells),
    )
