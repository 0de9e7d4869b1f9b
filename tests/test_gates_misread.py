"""What a misread spectrum costs, and by which temperature a card is nowhere too sure."""

from __future__ import annotations

import numpy as np
from gate_rows import CLASSES, SIZE, known, observed

from cards_deck.gate_config import GateConfig
from cards_deck.inference.gates import Observed, UniformGate, build_gate, fit_gate, judge
from cards_deck.inference.gates._likelihood import fit_temperatures, worst_temperatures
from cards_deck.inference.gates._misread import Misread
from cards_deck.inference.gates._profile import ring_count

AVERAGE = UniformGate(GateConfig("uniform", max_cards=4), known())


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
    assert worst == judge(gate, rows).worst(plain)


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
    hedged = fit_gate("hedged_cascade", rows, GateConfig(max_cards=2), known())
    assert (found >= hedged.config.arrays["temperatures"]).all()
