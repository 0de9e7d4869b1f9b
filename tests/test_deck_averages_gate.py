"""What gates make of a deck's averages: of which cards they are, and when they are asked in the place of these."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from families import family_deck

from cards_deck.deck import GateConfig, read_deck, write_deck
from cards_deck.explaining.why import reasons
from cards_deck.inference.engines import EngineKind
from cards_deck.inference.fake_deck import fake_images
from cards_deck.inference.gates import Known
from cards_deck.inference.gates._profile import ring_count
from cards_deck.inference.predictor import Predictor

DECK = family_deck()


def test_a_gate_knows_what_averages_are_made_of(tmp_path: Path) -> None:
    deck = read_deck(write_deck(DECK, tmp_path / "family"))
    found = np.array(Known.of(deck).parts)
    np.testing.assert_array_equal(found[list(deck.originals)], np.eye(6)[list(deck.originals)])
    for place in (0, 5):
        record, shares = deck.cards[place].record, np.zeros(6)
        for parent, share in zip(record.parents, record.method["coefficients"], strict=True):
            shares[[card.id for card in deck.cards].index(parent)] = share
        np.testing.assert_allclose(found[place], shares, rtol=1e-6)


def test_a_spectrum_that_speaks_for_the_parts_of_an_average_speaks_for_it() -> None:
    """Half of it for each of two cards of two augmentations, of which `half` is the average: all of it speaks for that.
    Then nearly all for one of them, and 0.98 for its augmentation."""
    rings = ring_count(DECK.image_size)
    for preferred, name, share in (([0.49, 0.49, 0.01, 0.01], "half", 1.0), ([0.97, 0.01, 0.01, 0.01], "base", 0.98)):
        bias = np.zeros(6, np.float32)
        bias[1:5] = np.log(preferred)
        arrays = {
            "ordinary": np.zeros(rings, np.float32), "whitening": np.eye(rings, dtype=np.float32),
            "weights": np.zeros((1, 6), np.float32), "bias": bias, "temperatures": np.ones(6, np.float32),
            "sets": np.zeros((0, 6), np.float32), "risks": np.zeros(1, np.float32),
            "enough": np.zeros((1, 0), np.float32),
        }  # fmt: skip
        deck = dataclasses.replace(DECK, gate=GateConfig("guarded_cascade", max_cards=2, arrays=arrays))
        prediction = Predictor(deck, engine=EngineKind.FAKE).predict(fake_images(1))
        found = reasons(deck, prediction, 0).preferred
        assert found == (name, pytest.approx(share, abs=1e-5))
        assert [card.name for card, first in zip(deck.cards, prediction.first[0], strict=True) if first] == [name]
