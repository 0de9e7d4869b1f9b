"""The loop of gate and cards, with gates that follow a script: what runs, in which order, and what the answer is."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest
import scipy.stats
from fitted_gates import fitted_deck

from cards_deck.gate_config import GateConfig
from cards_deck.inference.engines import EngineKind
from cards_deck.inference.fake_deck import fake_deck, fake_images
from cards_deck.inference.gates import Routing, _decide, decide, gate_for
from cards_deck.inference.predictor import Predictor
from cards_deck.spectrum import log_amplitude

CARDS = 4
SPECTRA = np.zeros((1, 2, 2), np.float32)
Rows = list[list[float]]


def routing(weights: Rows) -> Routing:
    array, n = np.array(weights, np.float32), len(weights)
    return Routing(array, np.zeros((n, 1), np.float32), np.zeros(n, bool), np.zeros(n, np.int64), array)


@dataclass
class Script:
    """Says `first`, then whatever `then` makes of what it said and of the cards that ran."""

    first: Rows
    then: Callable[[Routing, np.ndarray], Rows | None] = lambda before, ran: None
    limit: int = 2
    config: GateConfig = field(default_factory=GateConfig)

    def route(self, spectra: np.ndarray) -> Routing:
        return routing(self.first)

    def route_window(self, spectra: np.ndarray) -> Routing:
        return self.route(spectra)

    def reconsider(self, before: Routing, logits: np.ndarray, ran: np.ndarray) -> Routing:
        revised = self.then(before, ran)
        return before if revised is None else dataclasses.replace(before, weights=np.array(revised, np.float32))


class Cards:
    """Card k answers k; keeps the order of calls."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, list[int]]] = []

    def __call__(self, card: int, rows: np.ndarray) -> np.ndarray:
        self.calls.append((card, rows.tolist()))
        return np.full((len(rows), 3), card, np.float32)


def test_each_card_runs_once_on_its_own_rows() -> None:
    cards = Cards()
    done = decide(Script([[0.5, 0, 0.5, 0], [0, 0, 1, 0], [0.25, 0.75, 0, 0]]), SPECTRA, cards)
    assert cards.calls == [(0, [0, 2]), (1, [2]), (2, [0, 1])]
    assert done.ran.tolist() == [[True, False, True, False], [False, False, True, False], [True, True, False, False]]
    assert done.weights.tolist() == [[0.5, 0, 0.5, 0], [0, 0, 1, 0], [0.25, 0.75, 0, 0]]
    assert done.logits[:, 0, 0].tolist() == [0, 0, 2, 0]
    assert done.in_time.all()


def test_a_gate_widens_only_the_rows_that_it_wants_wider() -> None:
    def then(before: Routing, ran: np.ndarray) -> Rows | None:
        """The rows that have card 0 want card 3 too; it is asked again about those alone."""
        seen.append(ran.tolist())
        return [
            [0.5, 0, 0, 0.5] if row[0] else weights for row, weights in zip(ran, before.weights.tolist(), strict=True)
        ]

    cards, seen = Cards(), []  # type: ignore[var-annotated]
    done = decide(Script([[1, 0, 0, 0], [0, 1, 0, 0]], then), SPECTRA, cards)
    assert cards.calls == [(0, [0]), (1, [1]), (3, [0])]
    assert done.weights.tolist() == [[0.5, 0, 0, 0.5], [0, 1, 0, 0]]
    assert seen == [[[True, False, False, False], [False, True, False, False]], [[True, False, False, True]]]
    assert done.routing.weights.tolist() == [[1, 0, 0, 0], [0, 1, 0, 0]], "what was said first is kept"


def test_a_gate_may_share_the_answer_otherwise_at_no_cost() -> None:
    cards = Cards()
    done = decide(Script([[0.5, 0.5, 0, 0]], lambda before, ran: [[0.1, 0.9, 0, 0]]), SPECTRA, cards)
    assert [card for card, _ in cards.calls] == [0, 1]
    np.testing.assert_allclose(done.weights, [[0.1, 0.9, 0, 0]])


@pytest.mark.parametrize(
    ("asked", "limit", "weights"),
    [
        ([0.1, 0.2, 0.3, 0.4], 2, [0, 0, 3 / 7, 4 / 7]),
        ([0.1, 0.2, 0.3, 0.4], 1, [0, 0, 0, 1]),
        ([0.25, 0.25, 0.25, 0.25], 3, [1 / 3, 1 / 3, 1 / 3, 0]),
        ([1, 1, 0, 0], 2, [0.5, 0.5, 0, 0]),
        ([np.nan, 0, 2, 0], 2, [0, 0, 1, 0]),
        ([-1, 0, 0, 1], 2, [0, 0, 0, 1]),
        ([np.inf, 0, 0, 1], 2, [0, 0, 0, 1]),
        ([0, 0, 0, 0], 1, [1, 0, 0, 0]),
        ([3e38, 3e38, 0, 0], 2, [0.5, 0.5, 0, 0]),
    ],
)
def test_impossible_wishes_are_cut_to_the_limit(asked: list[float], limit: int, weights: list[float]) -> None:
    cards = Cards()
    done = decide(Script([asked, [0, 1, 0, 0]], limit=limit), SPECTRA, cards)
    np.testing.assert_allclose(done.weights, [weights, [0, 1, 0, 0]], rtol=1e-6)
    assert sum(len(rows) for _, rows in cards.calls) <= 2 * limit


def test_a_gate_that_is_never_content_stops_at_the_limit() -> None:
    """Each time it asks for all cards that have not run; those that have run keep their places."""

    def then(before: Routing, ran: np.ndarray) -> Rows:
        return [np.where(row, 0.01, 1).tolist() for row in ran]

    for limit in (1, 2, 3, 4):
        cards = Cards()
        done = decide(Script([[0, 0, 1, 0]], then, limit), SPECTRA, cards)
        assert done.ran.sum() == limit
        assert done.ran[0, 2]
        assert done.weights.sum() == pytest.approx(1)
        assert len(cards.calls) == limit


class Clock:
    """Time in which each card takes one second."""

    def __init__(self, cards: Cards) -> None:
        self.cards = cards

    def monotonic(self) -> float:
        return float(len(self.cards.calls))


@pytest.mark.parametrize(
    ("seconds", "calls", "weights", "late"),
    [
        # The heaviest card of each row always runs.
        (0, [(1, [0]), (2, [1])], [[0, 1, 0, 0], [0, 0, 1, 0]], [True, True]),
        (2, [(1, [0]), (2, [1])], [[0, 1, 0, 0], [0, 0, 1, 0]], [True, True]),
        # Then there was time for one card more, and the second row wanted that one.
        (3, [(1, [0]), (2, [1]), (0, [1])], [[0, 1, 0, 0], [0.25, 0, 0.75, 0]], [True, False]),
        (9, [(1, [0]), (2, [1]), (0, [1]), (3, [0])], [[0, 0.6, 0, 0.4], [0.25, 0, 0.75, 0]], [False, False]),
    ],
)
def test_when_time_is_up_the_cards_that_ran_answer(
    seconds: float, calls: list[tuple[int, list[int]]], weights: Rows, late: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    cards = Cards()
    monkeypatch.setattr(_decide, "time", Clock(cards))
    done = decide(Script([[0, 0.6, 0, 0.4], [0.25, 0, 0.75, 0]]), SPECTRA, cards, deadline=seconds)
    assert cards.calls == calls
    np.testing.assert_allclose(done.weights, weights)
    assert (~done.in_time).tolist() == late


def test_a_late_row_keeps_the_answer_it_had(monkeypatch: pytest.MonkeyPatch) -> None:
    """The gate wants to widen, and even to forget the first card, but there is no time."""
    cards = Cards()
    monkeypatch.setattr(_decide, "time", Clock(cards))
    done = decide(Script([[1, 0, 0, 0]], lambda before, ran: [[0, 1, 0, 0]]), SPECTRA, cards, deadline=1)
    assert cards.calls == [(0, [0])]
    assert done.weights.tolist() == [[1, 0, 0, 0]]
    assert done.in_time.tolist() == [False]


def test_a_window_is_routed_by_its_mean_distances() -> None:
    deck = fake_deck(gate=GateConfig("spectral", max_cards=1, parameters={"margin": 0.0}))
    clean = fake_images(9, seed=3)
    noisy = np.clip(clean[:3] + np.random.default_rng(0).normal(0, 26, clean[:3].shape), 0, 255).astype(np.uint8)
    images = np.concatenate([clean, noisy])
    predictor = Predictor(deck, engine=EngineKind.FAKE)
    alone, window = predictor.predict(images), predictor.predict(images, window=True)
    assert alone.choice.tolist() == [0] * 9 + [1] * 3
    assert window.choice.tolist() == [0] * 12
    assert np.array_equal(window.distances, alone.distances)
    assert np.array_equal(window.unknown, alone.unknown)
    nearest = alone.distances.mean(axis=0).argmin()
    assert np.array_equal(window.weights[:, nearest], np.ones(12))
    assert np.array_equal(predictor.predict(images[9:10], window=True).weights, alone.weights[9:10])
    assert len(predictor.predict(images[:0], window=True).labels) == 0


@pytest.mark.parametrize("kind", ["router", "spectrum_cascade", "softmax"])
def test_the_preference_of_a_window_is_that_of_the_mean_score(kind: str) -> None:
    deck = fitted_deck(kind)
    gate, images = gate_for(deck), fake_images(7, seed=5)
    spectra = log_amplitude(images)
    window = gate.route_window(spectra)
    assert (window.weights == window.weights[0]).all()
    alone = gate.read(spectra).preference.astype(float)
    taking_part = alone.max(axis=0) > 0
    together = np.where(taking_part, scipy.stats.gmean(np.maximum(alone, 1e-300), axis=0), 0)
    np.testing.assert_allclose(window.preference[0], together / together.sum(), rtol=1e-3, atol=1e-7)
    if kind != "softmax":  # scores linear in the spectrum: as the mean spectrum would be
        mean = gate.route(spectra.mean(axis=0, keepdims=True)).preference
        np.testing.assert_allclose(window.preference[:1], mean, rtol=1e-3)


def test_a_prediction_says_what_ran_and_why() -> None:
    deck = fitted_deck("spectrum_cascade")
    sure = dataclasses.replace(deck.gate, parameters={"threshold": 0.0})
    never = dataclasses.replace(deck.gate, parameters={"threshold": 1.0})
    images = fake_images(6, seed=40)
    one, all_three = (
        Predictor(dataclasses.replace(deck, gate=gate), engine=EngineKind.FAKE).predict(images)
        for gate in (sure, never)
    )
    known = ~one.unknown
    assert (one.ran[known].sum(axis=1) == 1).all()
    assert np.array_equal(one.first[known], one.ran[known])
    assert (all_three.ran.sum(axis=1) == 3).all()
    assert (all_three.first[known].sum(axis=1) == 1).all()
    assert one.in_time.all()
    assert not one.abstained.any()
    short = Predictor(dataclasses.replace(deck, gate=never), engine=EngineKind.FAKE).predict(images, seconds=0)
    assert np.array_equal(short.ran[known], one.ran[known])
    assert not short.in_time.any()
    limited = Predictor(dataclasses.replace(deck, gate=dataclasses.replace(never, seconds=0.0)), engine=EngineKind.FAKE)
    assert np.array_equal(limited.predict(images).ran, short.ran)
    assert limited.predict(images, seconds=60).in_time.all()


def test_what_is_unknown_and_unsure_has_no_answer() -> None:
    flat, known = np.zeros((1, 32, 32, 3), np.uint8), fake_images(1)
    images = np.concatenate([flat, known])
    for below, wanted in ((None, [False, False]), (1.0, [True, False]), (0.0, [False, False])):
        deck = fake_deck(gate=GateConfig(abstain_below=below))
        prediction = Predictor(deck, engine=EngineKind.FAKE).predict(images)
        assert prediction.unknown.tolist() == [True, False]
        assert prediction.abstained.tolist() == wanted
