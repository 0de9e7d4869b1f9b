"""Cards to a deck: references, order and margin against sums done here, and nothing but what it was handed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tiny_training import (
    NETWORK,
    SHORT,
    make_task,
    one_thread,  # noqa: F401  (the fixture acts by being here)
    patterns,
)

from cards_deck.card import Card
from cards_deck.deck import Deck
from cards_deck.errors import DeckError, InputError
from cards_deck.inference.engines import EngineKind
from cards_deck.inference.gates import SpectralGate
from cards_deck.inference.predictor import Predictor
from cards_deck.spectrum import mean_log_amplitude
from cards_deck.training import decks as module
from cards_deck.training.augmentations import AUGMENTATIONS, Augmentation
from cards_deck.training.augmentations.augmix import AugMix
from cards_deck.training.augmentations.crop_flip import CropFlip
from cards_deck.training.augmentations.gaussian import Gaussian
from cards_deck.training.cards import make_card
from cards_deck.training.decks import MARGINS, augmented, make_deck
from cards_deck.training.recipe import Recipe, Workbench
from cards_deck.training.tickets import METHODS, Ticket
from cards_deck.training.tickets.ticket import full_masks

TRAIN, VALIDATION = patterns(64), patterns(40, seed=1, split="validation")
NOISE = Gaussian(std=0.3)


def card_of(name: str, augmentation: Augmentation, epochs: int, seed: int = 1) -> Card:
    """A card trained for `epochs`; with none its answers are random."""
    method = METHODS.build("rigl", density=1.0)
    recipe = Recipe(NETWORK, method, augmentation, replace(SHORT, epochs=max(epochs, 1), learning_rate=0.2), seed)
    network = Workbench(TRAIN, VALIDATION, torch.device("cpu"), quiet=True).build(recipe)
    if epochs:
        network = make_task(schedule=recipe.schedule, augmentation=augmentation, seed=seed).train(network)
    return make_card(name, recipe, network, Ticket.of(network, full_masks(network)), TRAIN)


@pytest.fixture(scope="module")
def cards() -> tuple[Card, ...]:
    """Worst first; the deck has to put them in order."""
    return (
        card_of("random", NOISE, 0, seed=7),
        card_of("noisy", NOISE, 8),
        card_of("plain", CropFlip(), 4),
    )


@pytest.fixture(scope="module")
def deck(cards: tuple[Card, ...]) -> Deck:
    return make_deck("tiny", "1", cards, TRAIN, VALIDATION, reference_images=50, seed=3)


def domains(deck: Deck, seed: int = 3) -> dict[str, NDArray[np.uint8]]:
    """The validation images clean and under each of the cards' augmentations, as the deck's maker saw them."""
    described = {card.augmentation: card.record.augmentation for card in deck.cards}
    return {"clean": VALIDATION.images} | {n: augmented(VALIDATION.images, d, seed + 1) for n, d in described.items()}


def test_every_card_is_measured_on_every_domain(deck: Deck) -> None:
    """Against the torch engine, one card at a time; the deck's maker used AUTO."""
    predictor = Predictor(deck, engine=EngineKind.TORCH)
    for index, card in enumerate(deck.cards):
        record = deck.measured[card.id]["validation"]
        assert record["n"] == len(VALIDATION)
        wanted = {
            name: (predictor.card_logits(images, index).argmax(1) == VALIDATION.labels).mean()
            for name, images in domains(deck).items()
        }
        assert record["domains"] == pytest.approx(wanted, abs=1e-6)
        assert record["accuracy"] == record["domains"]["clean"]
        assert record["score"] == pytest.approx(np.mean(list(wanted.values())), abs=1e-6)


def test_the_best_card_comes_first(deck: Deck, cards: tuple[Card, ...]) -> None:
    scores = [deck.measured[card.id]["validation"]["score"] for card in deck.cards]
    assert scores == sorted(scores, reverse=True)
    assert deck.cards[-1].name == "random"
    assert scores[-1] < scores[0] - 0.2, "else the order would be luck"


def routed_accuracy(deck: Deck, margin: float) -> float:
    """Mean accuracy over the domains of the deck as it would be served with this margin."""
    tried = Predictor(replace(deck, gate=replace(deck.gate, parameters={"margin": margin})), engine=EngineKind.TORCH)
    return float(
        np.mean([(tried.predict(images).labels == VALIDATION.labels).mean() for images in domains(deck).values()])
    )


def test_the_margin_is_the_smallest_of_the_best(deck: Deck) -> None:
    accuracies = {margin: round(routed_accuracy(deck, margin), 6) for margin in MARGINS}
    best = max(accuracies.values())
    assert deck.gate.parameters["margin"] == min(margin for margin in MARGINS if accuracies[margin] == best)


@pytest.mark.parametrize("wanted", [MARGINS[0], MARGINS[3], MARGINS[-1]])
def test_the_margin_follows_the_validation_images(
    wanted: float, cards: tuple[Card, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Answers are made right for one margin alone, whichever it is."""

    class Marked(SpectralGate):
        def route_distances(self, found: Any) -> Any:
            routing = super().route_distances(found)
            return replace(routing, weights=np.full_like(routing.weights, self.parameter("margin")))

    def combine(logits: Any, weights: Any) -> Any:
        right = np.eye(4, dtype=np.float32)[VALIDATION.labels]
        return right if weights[0, 0] == np.float32(wanted) else np.roll(right, 1, axis=1)

    monkeypatch.setattr(module, "SpectralGate", Marked)
    monkeypatch.setattr(module, "combine", combine)
    assert make_deck("tiny", "1", cards, TRAIN, VALIDATION, reference_images=20).gate.parameters["margin"] == wanted


def test_references_are_of_augmented_training_images(deck: Deck) -> None:
    chosen = TRAIN.images[np.random.default_rng(3).permutation(len(TRAIN))[:50]]
    names = deck.references.augmentations
    assert set(names) == {"gaussian", "crop_flip"}
    described: Mapping[str, dict[str, Any]] = {c.augmentation: c.record.augmentation for c in deck.cards}
    for name, reference in zip(names, deck.references.log_amplitude, strict=True):
        wanted = mean_log_amplitude(augmented(chosen, described[name], 3))
        assert reference == pytest.approx(wanted, abs=1e-5)


def test_noise_is_routed_to_the_noisy_card_and_clean_images_to_the_plain_one(deck: Deck) -> None:
    predictor = Predictor(deck)
    names = deck.references.augmentations
    for domain, share in (("gaussian", 0.95), ("crop_flip", 0.8)):
        choice = predictor.predict(domains(deck)[domain]).choice
        assert (choice == names.index(domain)).mean() >= share


def test_the_same_cards_give_the_same_deck(deck: Deck, cards: tuple[Card, ...]) -> None:
    """Whatever their order."""
    again = make_deck("tiny", "1", cards[::-1], TRAIN, VALIDATION, reference_images=50, seed=3)
    assert [card.id for card in again.cards] == [card.id for card in deck.cards]
    assert (again.gate, again.measured) == (deck.gate, deck.measured)
    assert np.array_equal(again.references.log_amplitude, deck.references.log_amplitude)


def test_one_card_is_a_deck(cards: tuple[Card, ...]) -> None:
    alone = make_deck("alone", "2", cards[1:2], TRAIN, VALIDATION, max_cards=3, reference_images=20)
    assert alone.gate.max_cards == 1
    assert alone.gate.parameters["margin"] == 0.0, "all margins are equal, so the smallest"
    assert alone.version == "2"


def test_what_is_no_deck_is_refused(cards: tuple[Card, ...]) -> None:
    with pytest.raises(InputError, match="at least one card"):
        make_deck("none", "1", [], TRAIN, VALIDATION)
    other = card_of("weaker", Gaussian(std=0.1), 0)
    with pytest.raises(InputError, match="two cards were trained under different settings of 'gaussian'"):
        make_deck("two", "1", [*cards, other], TRAIN, VALIDATION)
    with pytest.raises(DeckError, match="two cards have the name noisy"):
        make_deck("twice", "1", [cards[1], cards[1]], TRAIN, VALIDATION, reference_images=20)


@pytest.mark.parametrize("name", AUGMENTATIONS.names())
def test_augmented_images_are_the_augmentations(name: str) -> None:
    images = patterns(6).images
    answer = augmented(images, {"name": name}, 4)
    batch = torch.from_numpy(images.transpose(0, 3, 1, 2).copy())
    wanted = AUGMENTATIONS.build(name)(batch, torch.Generator().manual_seed(4))
    assert np.array_equal(answer, wanted.permute(0, 2, 3, 1).numpy())
    assert answer.flags["C_CONTIGUOUS"]


def test_settings_of_an_augmentation_are_followed() -> None:
    images = patterns(6).images
    weak = augmented(images, {"name": "gaussian", "std": 0.01}, 0).astype(float)
    strong = augmented(images, {"name": "gaussian", "std": 0.2}, 0).astype(float)
    assert np.abs(np.diff(strong, axis=2)).mean() > 2 * np.abs(np.diff(weak, axis=2)).mean()
    assert AugMix().severity == 3
