"""Cards to a deck: references, order and margin against sums done here, and nothing but what it was handed."""

from __future__ import annotations

import json
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
from cards_deck.corruptions import HELD_BACK_CORRUPTIONS, RESERVE_CORRUPTIONS, corrupt
from cards_deck.deck import Deck, GateConfig
from cards_deck.errors import DeckError, InputError
from cards_deck.inference.engines import EngineKind
from cards_deck.inference.gates import GATES, Known, Observed, fit_gate, gate_for
from cards_deck.inference.gates.spectral import MARGINS
from cards_deck.inference.predictor import Predictor, combine
from cards_deck.spectrum import log_amplitude, mean_log_amplitude
from cards_deck.training.augmentations import AUGMENTATIONS, Augmentation
from cards_deck.training.augmentations.augmix import AugMix
from cards_deck.training.augmentations.crop_flip import CropFlip
from cards_deck.training.augmentations.gaussian import Gaussian
from cards_deck.training.cards import make_card
from cards_deck.training.decks import augmented, make_deck
from cards_deck.training.recipe import Recipe, Workbench
from cards_deck.training.tickets import METHODS, Ticket
from cards_deck.training.tickets.ticket import full_masks
from cards_deck.training.trials import Domains

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


def described(deck: Deck) -> dict[str, dict[str, Any]]:
    return {card.augmentation: card.record.augmentation for card in deck.cards}


def seen(deck: Deck, seed: int = 3) -> dict[str, NDArray[np.uint8]]:
    """The validation images as the deck's maker saw them: clean, under the cards' augmentations, corrupted."""
    found = {"clean": VALIDATION.images}
    found |= {name: augmented(VALIDATION.images, one, seed + 1) for name, one in sorted(described(deck).items())}
    for name in HELD_BACK_CORRUPTIONS:
        found |= {
            f"{name} {severity}": corrupt(VALIDATION.images, name, severity, seed=seed) for severity in range(1, 6)
        }
    return found


@pytest.fixture(scope="module")
def answers(deck: Deck) -> dict[str, NDArray[np.float32]]:
    """Logits [k, n, c] of each domain: with the torch engine, one card at a time; the deck's maker used AUTO."""
    predictor = Predictor(deck, engine=EngineKind.TORCH)
    cards = range(len(deck.cards))
    return {n: np.stack([predictor.card_logits(images, card) for card in cards]) for n, images in seen(deck).items()}


@pytest.fixture(scope="module")
def accuracies(answers: dict[str, NDArray[np.float32]]) -> list[dict[str, float]]:
    right = {name: (logits.argmax(axis=2) == VALIDATION.labels).mean(axis=1) for name, logits in answers.items()}
    return [{name: float(found[card]) for name, found in right.items()} for card in range(3)]


def test_every_card_is_measured_on_every_domain(deck: Deck, accuracies: list[dict[str, float]]) -> None:
    for card, wanted in zip(deck.cards, accuracies, strict=True):
        record = deck.measured[card.id]["validation"]
        assert record["n"] == len(VALIDATION)
        assert record["domains"] == pytest.approx({n: wanted[n] for n in ("clean", "crop_flip", "gaussian")}, abs=1e-6)
        assert record["accuracy"] == record["domains"]["clean"]
        ranked = {n: v for n, v in wanted.items() if n.rsplit(" ", 1)[0] not in RESERVE_CORRUPTIONS}
        assert len(ranked) == 3 + 4 * 5
        assert record["corrupted"] == pytest.approx(np.mean([v for n, v in ranked.items() if " " in n]), abs=1e-6)
        others = np.mean([value for name, value in ranked.items() if name != "clean"])
        assert record["score"] == pytest.approx((wanted["clean"] + others) / 2, abs=1e-6)


def test_the_best_card_comes_first(deck: Deck, cards: tuple[Card, ...]) -> None:
    scores = [deck.measured[card.id]["validation"]["score"] for card in deck.cards]
    assert scores == sorted(scores, reverse=True)
    assert deck.cards[-1].name == "random"
    assert scores[-1] < scores[0] - 0.2, "else the order would be luck"


def test_the_gate_is_near_the_best_of_all_kinds_on_images_it_was_not_fitted_on(deck: Deck) -> None:
    record = deck.measured["gate"]
    assert set(record["scores"]) == set(GATES.names())
    assert record["kind"] == deck.gate.kind
    affordable = [one for one in record["scores"].values() if one["cards"] <= 1.005 * record["most_cards"]]
    chosen = record["chosen"]
    safe = [one["score"] for one in affordable if one["worst_validation_loss"] <= record["most_loss"]]
    if chosen["worst_validation_loss"] <= record["most_loss"]:
        assert chosen["behind"] <= max(chosen["standard_error"], 0.001)
        assert chosen["score"] + chosen["behind"] >= max(safe) - 1e-6
    else:  # none loses so little: then the one that loses least
        assert not safe
        assert chosen["worst_validation_loss"] <= min(one["worst_validation_loss"] for one in affordable)
    assert record["cells"] == list(seen(deck))
    assert json.loads(json.dumps(record)) == record


def test_the_gate_of_a_made_deck_answers_as_it_was_scored(deck: Deck) -> None:
    """What the deck's own predictor reaches on the rows of the fit is near what was found on halves of them."""
    predictor = Predictor(deck, engine=EngineKind.TORCH)
    right = [np.mean(predictor.predict(images).labels == VALIDATION.labels) for images in seen(deck).values()]
    score = (right[0] + np.mean(right[1:])) / 2
    assert score == pytest.approx(deck.measured["gate"]["scores"][deck.gate.kind]["score"], abs=0.1)


def test_a_named_kind_is_fitted_alone(cards: tuple[Card, ...]) -> None:
    deck = make_deck("tiny", "1", cards, TRAIN, VALIDATION, gate="spectral", reference_images=50, seed=3)
    assert (deck.gate.kind, list(deck.measured["gate"]["scores"])) == ("spectral", ["spectral"])


def test_the_margin_is_the_smallest_of_the_best(deck: Deck, answers: dict[str, NDArray[np.float32]]) -> None:
    spectra = {name: log_amplitude(images).astype(np.float16) for name, images in seen(deck).items()}
    rows = Observed(
        np.concatenate(list(spectra.values())), np.concatenate([answers[name] for name in spectra], axis=1),
        np.tile(VALIDATION.labels, len(spectra)), np.repeat(np.arange(len(spectra)), len(VALIDATION)), tuple(spectra),
    )  # fmt: skip
    fitted = fit_gate("spectral", rows, deck.gate, Known.of(deck), most_cards=2.0).config

    def score(margin: float) -> float:
        gate = gate_for(deck, replace(fitted, parameters={**fitted.parameters, "margin": margin}))
        weights = {name: gate.route(found.astype(np.float32)).weights for name, found in spectra.items()}
        pooled = [combine(answers[name], given).argmax(axis=1) for name, given in weights.items()]
        right = [np.mean(found == VALIDATION.labels) for found in pooled]
        return round(float((right[0] + np.mean(right[1:])) / 2), 6)

    scores = {margin: score(margin) for margin in MARGINS}
    best = max(scores.values())
    assert fitted.parameters["margin"] == min(margin for margin in MARGINS if scores[margin] == best)


def test_limits_are_kept(cards: tuple[Card, ...]) -> None:
    deck = make_deck(
        "tiny", "1", cards, TRAIN, VALIDATION,
        gate="router", max_cards=3, most_cards=1.5, reference_images=20, corrupted_images=4,
    )  # fmt: skip
    assert deck.gate.max_cards == 3
    prediction = Predictor(deck, engine=EngineKind.TORCH).predict(VALIDATION.images)
    assert prediction.ran.sum(axis=1).mean() <= 1.5
    assert deck.measured["gate"]["most_cards"] == 1.5
    small = Domains(VALIDATION, {}, corrupted=4)
    assert [len(small.images(name)) for name in small.names] == [len(VALIDATION), *[4] * 20]


def test_references_are_of_augmented_training_images(deck: Deck) -> None:
    chosen = TRAIN.images[np.random.default_rng(3).permutation(len(TRAIN))[:50]]
    names = deck.references.augmentations
    assert set(names) == {"gaussian", "crop_flip"}
    described: Mapping[str, dict[str, Any]] = {c.augmentation: c.record.augmentation for c in deck.cards}
    for name, reference in zip(names, deck.references.log_amplitude, strict=True):
        wanted = mean_log_amplitude(augmented(chosen, described[name], 3))
        assert reference == pytest.approx(wanted, abs=1e-5)


def test_noise_is_nearest_to_noise_and_clean_images_to_the_plain_augmentation(deck: Deck) -> None:
    predictor = Predictor(replace(deck, gate=GateConfig("spectral")))
    names = deck.references.augmentations
    for domain, share in (("gaussian", 0.95), ("crop_flip", 0.8)):
        choice = predictor.predict(seen(deck)[domain]).choice
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
    assert alone.gate.kind == "uniform", "all kinds are equal, so the one that has learned nothing"
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
