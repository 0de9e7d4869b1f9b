"""Each way of using the cards, on cells small enough to work out by hand or with a plain loop."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import scipy.special
from eval_tiny import cell_answers

from cards_deck.errors import InputError
from cards_deck.inference.fake_deck import fake_deck
from eval.measure import CellAnswers
from eval.routes import AT, BOUNDS, FITTED, ROUTES, Routes, fit_routes
from eval.routing import (
    BestCard,
    CellOracle,
    Confidence,
    Gated,
    Oracle,
    RandomCards,
    Uniform,
    train_classifier,
)
from eval.routing import classifier as classifier_module
from eval.validation import Validation

K, N, CLASSES, SIZE = 4, 40, 5, 8
ALL = tuple(range(K))
DECK = fake_deck(SIZE, CLASSES)
UNFITTED = {name for name in ROUTES if not name.startswith(FITTED)} - {"classifier"}


def _cell(seed: int = 0, name: str = "cell", level: float = 0.0, n: int = N) -> CellAnswers:
    """Random answers that know something; spectra around a level that a classifier can tell apart."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, CLASSES, n)
    logits = random.normal(size=(K, n, CLASSES)) + 1.5 * np.eye(CLASSES)[labels]
    weights = np.zeros((n, K), np.float32)
    weights[:, 0] = 0.5
    weights[np.arange(n), random.integers(0, 2, n) * 2] += 0.5
    near = DECK.references.log_amplitude[0] + 0.3 * random.normal(size=(n, SIZE, SIZE // 2 + 1))
    spectra = (near + level * np.arange(SIZE // 2 + 1)).astype(np.float16)
    distances = random.random((n, 2)).astype(np.float32)
    return cell_answers(name, logits.astype(np.float32), weights, distances, labels, spectra)


def test_every_route_is_weights_that_sum_to_one() -> None:
    validation = _validation()
    routes = fit_routes(DECK, 1, validation, seed=0)
    assert tuple(name for name in routes.members if AT not in name) == ROUTES
    cheaper = [name for name in routes.members if AT in name]
    assert cheaper
    assert not set(cheaper) & {*routes.systems, *routes.studied, *routes.fitted, *routes.temperatures}
    for route in routes.members.values():
        routed = route.route(_cell())
        assert routed.weights.shape == (N, K)
        assert routed.weights.sum(axis=1) == pytest.approx(np.ones(N))
        assert (np.count_nonzero(routed.weights, axis=1) <= routed.cost).all()
        assert (routed.cost <= K).all()


def test_fixed_routes_are_what_their_names_say() -> None:
    cell = _cell()
    assert np.array_equal(Gated().route(cell).weights, cell.routing.weights)
    assert Gated().route(cell).cost.tolist() == [len(set(np.flatnonzero(row))) for row in cell.routing.weights]
    assert (Uniform(ALL).route(cell).weights == np.float32(1 / K)).all()
    assert (Uniform(ALL).route(cell).cost == K).all()
    assert BestCard(2).route(cell).weights.argmax(axis=1).tolist() == [2] * N


def test_random_draws_follow_from_seed_and_cell() -> None:
    def drawn(seed: int, name: str) -> list[int]:
        return [int(place) for place in RandomCards(seed, ALL).route(_cell(name=name, n=300)).weights.argmax(axis=1)]

    assert drawn(0, "fog 1") == drawn(0, "fog 1")
    assert drawn(0, "fog 1") != drawn(1, "fog 1")
    assert drawn(0, "fog 1") != drawn(0, "fog 2")
    assert min(np.bincount(drawn(0, "fog 1"), minlength=K)) > 60


def test_the_most_confident_card_answers_at_its_own_temperature() -> None:
    cell = _cell()
    temperatures = (0.5, 2.0, 1.0, 1.5)
    routed = Confidence(temperatures, ALL).route(cell)
    for image in range(N):
        sure = [scipy.special.softmax(cell.logits[k, image] / temperatures[k]).max() for k in range(K)]
        assert routed.weights[image].argmax() == int(np.argmax(sure))
    assert (routed.cost == K).all()


def test_oracles_are_the_bounds_of_one_card_per_cell_and_per_image() -> None:
    cell = _cell()
    assert cell.labels is not None
    right = cell.logits.argmax(axis=2) == cell.labels
    accuracy = [row.mean() for row in right]
    assert CellOracle().route(cell).weights.argmax(axis=1).tolist() == [int(np.argmax(accuracy))] * N
    chosen = Oracle().route(cell).weights.argmax(axis=1)
    assert right[chosen, np.arange(N)].tolist() == right.any(axis=0).tolist()
    with pytest.raises(InputError, match="no labels"):
        Oracle().route(dataclasses.replace(cell, labels=None))


def test_an_answer_is_the_weighted_mean_of_probabilities() -> None:
    cell = _cell()
    answer = Routes({"gated": Gated()}, {"gated": 2.0}).answer("gated", cell)
    probabilities = scipy.special.softmax(cell.logits.astype(np.float64), axis=2)
    expected = np.einsum("nk,knc->nc", cell.routing.weights, probabilities)
    assert answer.probabilities == pytest.approx(expected, abs=1e-6)
    softened = np.sqrt(expected) / np.sqrt(expected).sum(axis=1, keepdims=True)
    assert answer.tempered == pytest.approx(softened, abs=1e-6)


def test_bounds_are_left_out_where_nobody_knows_the_labels() -> None:
    routes = fit_routes(DECK, 0, None, seed=0)
    assert set(routes.answers(_cell())) == UNFITTED
    assert set(routes.answers(dataclasses.replace(_cell(), labels=None))) == UNFITTED - set(BOUNDS)
    assert routes.chosen is None
    assert routes.answer("gated", _cell()).temperature == 1


def _validation() -> Validation:
    cells = [("clean", 0), ("blur", 1), ("blur", 2), ("noise", 1), ("noise", 2)]
    levels = {"clean": 0.0, "blur": -1.0, "noise": 1.0}
    answers = tuple(_cell(seed, f"{name} {s}", levels[name], 60) for seed, (name, s) in enumerate(cells))
    return Validation(60, tuple(cells), answers)


def test_the_classifier_learns_to_tell_corruptions_apart_and_sends_each_to_its_best_card() -> None:
    validation = _validation()
    cells = list(validation.answers)
    for place in (3, 4):  # the third card is always right under noise
        labels = cells[place].labels
        assert labels is not None
        logits = cells[place].logits.copy()
        logits[2] += 20 * np.eye(CLASSES, dtype=np.float32)[labels]
        cells[place] = dataclasses.replace(cells[place], logits=logits)
    found = train_classifier([name for name, _ in validation.cells], cells)
    assert found.classes == ("clean", "blur", "noise")
    assert found.cards[2] == 2
    assert found.accuracy > 0.9
    fresh = _cell(99, "noise", 1.0)
    assert np.mean(found.classify(fresh.spectra()) == 2) > 0.9
    assert np.mean(found.route(fresh).weights[:, 2]) > 0.9
    assert (found.route(fresh).cost == 1).all()


def test_the_classifier_is_the_same_twice_and_at_the_minimum_of_its_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classifier_module, "STEPS", 2000)
    random = np.random.default_rng(0)
    features = random.normal(size=(120, 6)).astype(np.float32)
    labels = np.repeat([0, 1, 2], [20, 40, 60])
    features[labels == 1, 0] += 2
    weights, bias = classifier_module._fit(features, labels, 3)
    again = classifier_module._fit(features, labels, 3)
    assert np.array_equal(weights, again[0])
    assert np.array_equal(bias, again[1])
    loss = _plain_loss(features, labels)
    best = loss(weights, bias)
    for _ in range(20):
        moved = loss(weights + 0.02 * random.normal(size=weights.shape), bias + 0.02 * random.normal(size=3))
        assert moved > best


def _plain_loss(features: np.ndarray, labels: np.ndarray) -> Callable[[np.ndarray, np.ndarray], float]:  # type: ignore[type-arg]
    def loss(weights: np.ndarray, bias: np.ndarray) -> float:  # type: ignore[type-arg]
        logs = scipy.special.log_softmax(features @ weights + bias, axis=1)
        per_class = [-logs[labels == c, c].mean() for c in range(3)]
        return float(np.mean(per_class) + classifier_module.PENALTY * (weights**2).sum())

    return loss


def test_temperatures_are_fitted_after_pooling_on_validation_only() -> None:
    validation = _validation()
    routes = fit_routes(DECK, 1, validation, seed=0)
    assert set(routes.temperatures) == set(ROUTES) - set(BOUNDS)
    labels = np.concatenate([cell.labels for cell in validation.answers if cell.labels is not None])
    pooled = np.concatenate([routes.answer("uniform", cell).probabilities for cell in validation.answers])
    grid = np.geomspace(0.05, 20, 2000)
    rows = np.arange(len(labels))
    losses = [-scipy.special.log_softmax(np.log(pooled) / t, axis=1)[rows, labels].mean() for t in grid]
    assert routes.temperatures["uniform"] == pytest.approx(grid[int(np.argmin(losses))], rel=0.01)
