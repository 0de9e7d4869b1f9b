"""The decks in models/ are whole, small, sparse, measured, and answer alike on every engine."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cards_deck.deck import Deck, read_deck, size_on_disk
from cards_deck.inference.engines import EngineKind
from cards_deck.inference.fake_deck import fake_images
from cards_deck.inference.predictor import Predictor
from serving.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
STARTER = ROOT / "models" / "cifar10-starter"
FOLDERS = sorted(path.parent for path in (ROOT / "models").glob("*/deck.json"))
REPORTS = ROOT / "eval" / "reports"


@pytest.fixture(scope="module", params=FOLDERS, ids=lambda folder: folder.name)
def deck(request: pytest.FixtureRequest) -> Deck:
    return read_deck(request.param)


def report_of(deck: Deck) -> dict[str, Any]:
    path = REPORTS / deck.name / "cifar10-c.json"
    assert path.is_file(), f"{path.relative_to(ROOT)} is missing: measure the deck with `python -m eval`"
    return dict(json.loads(path.read_text(encoding="utf-8")))


def test_the_starter_and_the_deck_that_is_served_are_there() -> None:
    assert {STARTER, Settings().deck_path} <= set(FOLDERS)


def test_a_released_deck_is_named_after_its_folder_and_small(deck: Deck) -> None:
    assert deck.folder is not None
    assert deck.name == deck.folder.name
    assert size_on_disk(deck.folder) <= 6_000_000


def test_its_cards_are_sparse_and_know_their_images(deck: Deck) -> None:
    for card in deck.cards:
        assert 0 < card.density <= 0.12
        assert card.num_kept < card.num_weights
        assert card.averaged or card.augmentation in deck.references.augmentations
        assert card.id in deck.measured


def test_its_report_measures_this_very_deck(deck: Deck) -> None:
    report = report_of(deck)
    assert deck.folder is not None
    assert (report["deck"], report["deck_version"]) == (deck.name, deck.version)
    assert report["deck_size_bytes"] == size_on_disk(deck.folder)
    assert [card["id"] for card in report["cards"]] == [card.id for card in deck.cards]
    assert report["gate"]["kind"] == deck.gate.kind
    assert report["data"]["image_size"] == deck.image_size
    assert report["n"] >= 2000
    assert report["n_clean"] == 10_000


def test_both_engines_give_the_same_answers(deck: Deck) -> None:
    pytest.importorskip("torch", reason="needs torch as the second engine: pip install 'cards-deck[train]'")
    pytest.importorskip("onnxruntime", reason="needs ONNX Runtime: pip install 'cards-deck[serve]'")
    noise = np.random.default_rng(0).integers(0, 256, (2, deck.image_size, deck.image_size, 3), dtype=np.uint8)
    images = np.concatenate([fake_images(6, deck.image_size), noise])
    onnx, torch = (Predictor(deck, engine=kind) for kind in (EngineKind.ONNX, EngineKind.TORCH))
    one, other = onnx.predict(images), torch.predict(images)
    np.testing.assert_array_equal(one.ran, other.ran)
    np.testing.assert_allclose(one.weights, other.weights, rtol=0, atol=1e-5)  # which may go by what cards answered
    if any(card.ranges for card in deck.cards):  # ONNX Runtime rounds their activations to 8 bits, torch does not
        most, mean = 0.2, 0.02
    else:
        most, mean = 1e-4, 1e-5
    np.testing.assert_allclose(one.probabilities, other.probabilities, rtol=0, atol=most)
    for place in range(len(deck.cards)):
        logits, expected = onnx.card_logits(images, place), torch.card_logits(images, place)
        error = np.abs(logits - expected) / np.ptp(expected)
        assert error.max() < most
        assert error.mean() < mean


def test_the_starter_deck_has_two_cards_of_each_augmentation() -> None:
    cards = Counter(card.augmentation for card in read_deck(STARTER).cards)
    assert cards["augmix"] >= 2
    assert cards["gaussian"] >= 2
