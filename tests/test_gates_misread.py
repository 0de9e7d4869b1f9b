"""What a misread spectrum costs, and the gate that believes no card more than it may."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from fitted_gates import fitted_deck
from gate_rows import CLASSES, SIZE, known, observed

from cards_deck.gate_config import GateConfig
from cards_deck.inference.engines import EngineKind
from cards_deck.inference.fake_deck import fake_images
from cards_deck.inference.gates import Observed, UniformGate, build_gate, decide, fit_gate, judge
from cards_deck.inference.gates._likelihood import fit_temperatures, worst_temperatures
from cards_deck.inference.gates._misread import Misread
from cards_deck.inference.gates._profile import ring_count
from cards_deck.inference.pooling import combine, softmax
from cards_deck.inference.predictor import Predictor

AVERAGE = UniformGate(GateConfig("uniform", max_cards=4), known())
SPECTRA = np.zeros((1, SIZE, SIZE // 2 + 1), np.float32)


def test_a_misread_spectrum_costs_what_the_wrong_card_lacks() -> None:
    """Card 0 is always right on clean images and never in the fog, where card 1 is, and all three together are."""
    rows = observed(cells=("clean", "fog 1", "fog 2"))
    logits = np.zeros((3, len(rows.labels), CLASSES), np.float32)
    places = np.arange(len(rows.labels))
    fog = rows.cell > 0
    logits[0, places, np.where(fog, (rows.labels + 1) % CLASSES, rows.labels)] = 1
    logits[1, places, np.where(fog, rows.labels, (rows.labels + 1) % CLASSES)] = 1
    logits[2, places, rows.labels] = 3
    # Clean rows have flat spectra and go to card 0; rough ones to card 1.
    weights = np.zeros((ring_count(SIZE), 3), np.float32)
    weights[-1, 1] = 20
    arrays = {"weights": weights, "bias": np.array([10, 0, -30], np.float32)}
    config = GateConfig("router", max_cards=1, arrays=arrays)
    seen = np.zeros_like(rows.spectra)
    seen[fog] = 1
    rows = Observed(seen, logits, rows.labels, rows.cell, rows.names)
    gate = build_gate(config, known(3))
    average = UniformGate(GateConfig("uniform", max_cards=3), known(3))
    assert judge(gate, rows).right.all()
    worst = Misread(rows, average).worst([gate] * len(rows.folds()))
    assert (worst.loss, worst.error) == (1.0, 0.0)
    assert (worst.cell, worst.taken_for) in (("clean", "fog 2"), ("fog 1", "clean"))


def test_a_gate_that_reads_nothing_cannot_be_misled() -> None:
    rows = observed(cells=("clean", "fog 1", "fog 2"))
    gate = fit_gate("cascade", rows, GateConfig(max_cards=2), known())
    plain = judge(AVERAGE, rows)
    worst = Misread(rows, AVERAGE).worst([gate] * len(rows.folds()))
    # Alike but for the spectra that are unknown, which get all cards at once.
    routing = gate.route(rows.spectra.astype(np.float32))
    assert not routing.unknown.any()
    assert worst[:3] == judge(gate, rows).worst(plain)[:3]


def test_cells_are_taken_for_the_most_severe_of_each_shift() -> None:
    rows = observed(skill=np.ones((4, 5)), cells=("clean", "fog 2", "fog 10", "grey 3", "wave"))
    misread = Misread(rows.rows((rows.cell != 2) | (rows.image < 40)), AVERAGE)
    assert list(misread._seen) == ["clean", "fog 10", "grey 3", "wave"]
    assert len(misread._rows.labels) == 5 * 40  # as many of each cell as all have
    for name, places in misread._seen.items():
        seen = misread._shown.rows(np.isin(np.arange(len(misread._shown.labels)), places))
        assert {rows.names[cell] for cell in seen.cell.tolist()} == {name}
        np.testing.assert_array_equal(misread._shown.image[places], misread._rows.image)


def test_the_worst_temperature_is_that_of_the_cell_where_a_card_is_too_sure() -> None:
    rows = observed()
    wrong = rows.labels.copy()
    wrong[rows.cell == 1] = (wrong[rows.cell == 1] + 1) % CLASSES  # in the second cell no card can be believed
    rows = Observed(rows.spectra, rows.logits, wrong, rows.cell, rows.names)
    found = worst_temperatures(rows)
    of_cells = np.stack([fit_temperatures(rows.rows(rows.cell == cell)) for cell in range(3)])
    np.testing.assert_array_equal(found, of_cells.max(axis=0))
    assert (of_cells.argmax(axis=0) == 1).all()
    gate = fit_gate("guarded_cascade", rows, GateConfig(max_cards=2), known())
    np.testing.assert_array_equal(gate.config.arrays["temperatures"], found)
    assert gate.temperatures is not None
    hedged = fit_gate("hedged_cascade", rows, GateConfig(max_cards=2), known())
    assert (found >= hedged.config.arrays["temperatures"]).all()


def test_a_guarded_cascade_pools_at_its_temperatures() -> None:
    """Card 0 shouts class 0, card 1 says class 1 calmly: believed alike, the louder one wins; cooled it does not."""
    logits = np.zeros((4, 1, CLASSES), np.float32)
    logits[0, 0, 0], logits[1, 0, 1] = 3.0, 2.0
    arrays = {
        "weights": np.zeros((ring_count(SIZE), 4), np.float32),
        "bias": np.log(np.array([0.4, 0.3, 0.2, 0.1], np.float32)),
        "temperatures": np.array([4, 1, 1, 1], np.float32),
    }
    answers = {}
    for kind in ("hedged_cascade", "guarded_cascade"):
        gate = build_gate(GateConfig(kind, max_cards=2, parameters={"threshold": 1.0}, arrays=arrays), known())
        done = decide(gate, SPECTRA, lambda card, rows: logits[card, rows])
        np.testing.assert_allclose(done.weights, [[0.5, 0.5, 0, 0]])
        answers[kind] = done.probabilities[0]
    plain = (softmax(logits[0, 0]) + softmax(logits[1, 0])) / 2
    np.testing.assert_allclose(answers["hedged_cascade"], plain, rtol=1e-6)
    cooled = (softmax(logits[0, 0] / 4) + softmax(logits[1, 0])) / 2
    np.testing.assert_allclose(answers["guarded_cascade"], cooled, rtol=1e-6)
    assert [int(answer.argmax()) for answer in answers.values()] == [0, 1]


@pytest.mark.parametrize("window", [False, True])
def test_predictions_are_pooled_at_the_temperatures_of_the_gate_alone(window: bool) -> None:
    deck, images = fitted_deck("guarded_cascade"), fake_images(8)
    heat = np.linspace(0.5, 3, len(deck.cards)).astype(np.float32)
    deck = dataclasses.replace(
        deck, gate=dataclasses.replace(deck.gate, arrays={**deck.gate.arrays, "temperatures": heat})
    )
    predictor = Predictor(deck, engine=EngineKind.FAKE)
    logits = np.stack([predictor.card_logits(images, card) for card in range(len(deck.cards))])
    found = predictor.predict(images, window=window)
    np.testing.assert_allclose(found.probabilities, combine(logits / heat[:, None, None], found.weights), atol=1e-6)
    np.testing.assert_allclose(found.probabilities, combine(logits, found.weights, heat), atol=1e-6)
    assert np.abs(found.probabilities - combine(logits, found.weights)).max() > 1e-3
    given = np.full(len(deck.cards), 1 / len(deck.cards), np.float32)
    plain = predictor.predict(images, weights=given)
    np.testing.assert_allclose(plain.probabilities, softmax(logits).mean(axis=0), atol=1e-6)
