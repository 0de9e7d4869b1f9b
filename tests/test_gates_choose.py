"""Choosing a gate: the cheapest near the best, on images and shifts not fitted on, that loses little anywhere."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from fitted_gates import STRANGE
from gate_rows import CELLS, SKILL, known, observed

from cards_deck.errors import InputError
from cards_deck.gate_config import GateConfig
from cards_deck.inference.gates import GATES, Chosen, Judged, Observed, Score, choose_gate, fit_gate, judge
from cards_deck.inference.gates._choose import Allowed, Candidate, _cheapest
from cards_deck.inference.gates._observed import Worst

ROWS, OTHERS = observed(), observed(seed=1)


def test_the_cheapest_gate_near_the_best_is_chosen_on_images_it_was_not_fitted_on() -> None:
    chosen = choose_gate(ROWS, known(), GateConfig(max_cards=2, abstain_below=0.2), most_cards=2.0)
    assert set(chosen.candidates) == set(GATES.names())
    everything = [one for found in chosen.candidates.values() for one in found]
    within = [one for one in everything if one.score.cards <= 2.01 and one.gate.limit <= 2]
    best = max(within, key=lambda one: one.score.score).score
    worth = [(best.cards - one.score.cards) * 0.001 for one in within]
    near = [
        one
        for one, saved in zip(within, worth, strict=True)
        if best.score - one.score.score <= max(one.behind[1], saved) + 1e-9
    ]
    assert chosen.best in near
    assert chosen.best.score.cards == pytest.approx(min(one.score.cards for one in near), abs=0.01)
    assert chosen.gate.config.abstain_below == 0.2
    assert chosen.as_dict()["kind"] == chosen.kind == chosen.best.gate.config.kind
    crossed = [
        judge(fit_gate("router", ROWS.rows(fitted), GateConfig(max_cards=2), known()), ROWS.rows(judged))
        for fitted, judged in ROWS.folds()
    ]
    judged = Judged.merged(crossed, ROWS.folds(), ROWS)
    assert chosen.candidates["router"][-1].score == judged.score
    refitted = fit_gate("router", ROWS, GateConfig(max_cards=2), known())
    weights = chosen.candidates["router"][-1].gate.config.arrays["weights"]
    assert np.array_equal(weights, refitted.config.arrays["weights"])


def test_a_larger_budget_is_spent_only_where_it_helps() -> None:
    """With one card that knows everything a second one is worth nothing."""
    skill = np.array([[6.0, 6.0, 6.0], [0.0, 0.0, 0.0], [0.1, 0.1, 0.1], [0.0, 0.0, 0.0]])
    chosen = choose_gate(observed(skill=skill), known(), GateConfig(max_cards=3), most_cards=3.0)
    assert chosen.best.score.cards < 1.1
    budgets = [one.budget for one in chosen.candidates["router"]]
    assert budgets == sorted(set(budgets))
    assert {one.gate.config.max_cards for found in chosen.candidates.values() for one in found} == {3}


def test_a_saved_pass_is_worth_a_tenth_of_a_point_and_what_is_no_surer_is_no_better() -> None:
    gate = fit_gate("cascade", ROWS, GateConfig(max_cards=2), known())
    safe, allowed = Worst("clean", 0.0, 0.0), Allowed(max_cards=2, most_cards=2.0, most_loss=0.03)

    def chosen(behind: float, error: float) -> float:
        pairs = [(2.0, 0.0, 0.0), (1.5, behind, error)]
        made = [Candidate(n, Score(0.9 - b, 0.9, 0.9, n), safe, (b, e), gate) for n, b, e in pairs]
        return _cheapest(made, allowed).budget

    assert [chosen(behind, 0.0) for behind in (0.0, 0.0005, 0.0006, 0.001)] == [1.5, 1.5, 2.0, 2.0]
    assert [chosen(0.001, error) for error in (0.0009, 0.001)] == [2.0, 1.5]


def test_no_gate_is_chosen_that_loses_too_much_in_a_cell() -> None:
    """Gates fitted without the fog send it to the wrong cards, and still score best on average."""
    cells = ("clean", "fog 1", "blur 1")
    kinds = sorted({*GATES.names()} - {*STRANGE})  # which score as well without that
    fair = observed(seed=2, cells=cells, skill=np.vstack([SKILL[:3], [2.4, 2.4, 2.4]]))

    def chosen(most_loss: float, rows: Observed = fair) -> Chosen:
        limits = GateConfig(max_cards=2)
        return choose_gate(rows, known(), limits, kinds=kinds, most_cards=2.0, most_loss=most_loss)

    free, tight = chosen(1.0), chosen(0.05)
    cheap = [one for found in free.candidates.values() for one in found if one.score.cards <= 2.01]
    best = max(cheap, key=lambda one: one.score.score)
    assert best.score.score - free.best.score.score <= free.best.behind[1] + 1e-9
    within = [one for one in cheap if one.worst.surely <= 0.05]
    assert tight.best.worst.surely <= 0.05 < free.best.worst.surely
    top = max(within, key=lambda one: one.score.score)
    saved = top.score.cards - tight.best.score.cards
    assert top.score.score - tight.best.score.score <= max(tight.best.behind[1], 0.001 * saved) + 1e-9
    # Where no gate loses so little, the one that loses least.
    none = chosen(0.0, observed(cells=cells))
    cheap = [one for found in none.candidates.values() for one in found if one.score.cards <= 2.01]
    assert none.best.worst.loss == min(one.worst.loss for one in cheap) > 0
    for loss in (-0.1, 1.1, float("nan")):
        with pytest.raises(InputError, match="from 0 to 1"):
            chosen(loss)


def test_how_far_an_answer_goes_by_the_spectrum_is_chosen_within_the_bound() -> None:
    """Haze looks as clean images do, of which the cards know nothing that know them."""
    skill = np.column_stack([SKILL, [0.0, 2.5, 2.5, 2.5]])
    rows = observed(seed=2, cells=("clean", "rough", "dull", "haze 1"), skill=skill)

    def chosen(most_loss: float) -> Chosen:
        limits = GateConfig(max_cards=3)
        return choose_gate(rows, known(), limits, kinds=["guarded_cascade"], most_cards=3.0, most_loss=most_loss)

    free, tight = chosen(1.0), chosen(0.05).best
    trust, less = (one.gate.config.parameters["trust"] for one in (free.best, tight))
    assert trust > less
    assert tight.worst.surely <= 0.05 < free.best.worst.surely
    alike = [one for one in free.candidates["guarded_cascade"] if one.budget == free.best.budget]
    assert len({one.score.cards for one in alike}) == 1
    by_trust = sorted((one.gate.config.parameters["trust"], one.worst.loss) for one in alike)
    assert len(by_trust) > 2
    assert [loss for _, loss in by_trust] == sorted(loss for _, loss in by_trust)
    assert {one.worst.cell for one in alike} == {"haze 1"}
    shown = free.of_budgets("guarded_cascade")
    assert [one.budget for one in shown] == sorted({one.budget for one in free.candidates["guarded_cascade"]})
    for one in free.candidates["guarded_cascade"]:
        assert one.score.score <= next(best for best in shown if best.budget == one.budget).score.score
    assert {best.gate.config.parameters["trust"] for best in shown} > {0.0}


def test_the_plain_average_is_not_chosen_beyond_the_decks_limit() -> None:
    """However good it is: three cards of one kind help each other most on average."""
    skill = np.array([[1.0, 1.0, 1.0]] * 3 + [[0.1, 0.1, 0.1]])
    bound = choose_gate(observed(skill=skill), known(), GateConfig(max_cards=2), most_cards=4.0)
    free = choose_gate(observed(skill=skill), known(), GateConfig(max_cards=3), most_cards=4.0, kinds=["uniform"])
    assert bound.candidates["uniform"][0].score.score > bound.best.score.score
    assert bound.kind != "uniform"
    assert bound.best.score.cards <= 2
    assert free.kind == "uniform"


def test_differences_of_gates_are_paired_over_images() -> None:
    gates = [fit_gate(kind, ROWS, GateConfig(max_cards=1), known(), most_cards=1.0) for kind in ("router", "cascade")]
    one, other = (judge(gate, OTHERS) for gate in gates)
    gain, error = one.minus(other)
    assert gain == pytest.approx(one.score.score - other.score.score)
    of_image = [float((OTHERS.share * (one.right * 1.0 - other.right))[OTHERS.image == i].sum()) for i in range(60)]
    assert error == pytest.approx(np.std(of_image, ddof=1) * np.sqrt(60))
    again = np.random.default_rng(0).integers(0, 60, (4000, 60))
    assert error == pytest.approx(np.array(of_image)[again].sum(axis=1).std(), rel=0.1)
    cell, loss, spread = one.worst(other)
    losses = {name: (other.right * 1.0 - one.right)[OTHERS.cell == place].mean() for place, name in enumerate(CELLS)}
    assert (cell, loss) == (max(losses, key=lambda name: losses[name]), pytest.approx(max(losses.values())))
    there = (other.right * 1.0 - one.right)[OTHERS.cell == CELLS.index(cell)]
    assert spread == pytest.approx(there.std() / np.sqrt(60))
    assert one.worst(other).surely == pytest.approx(loss - spread)
    folds = OTHERS.folds()
    parts = [judge(gates[0], OTHERS.rows(fold.judged)) for fold in folds]
    assert Judged.merged(parts, folds, OTHERS).same(one)


def test_kinds_that_do_not_fit_are_left_out() -> None:
    """A third augmentation without a reference."""
    lost = dataclasses.replace(known(), augmentations=("plain", "noise", "other", "mixed"))
    chosen = choose_gate(ROWS, lost, kinds=["spectral", "softmax", "router"])
    assert (list(chosen.candidates), set(chosen.skipped)) == (["router"], {"spectral", "softmax"})
    assert "no reference spectrum for other" in chosen.skipped["spectral"]
    with pytest.raises(InputError, match="no gate fits this deck: spectral"):
        choose_gate(ROWS, lost, kinds=["spectral"])
    with pytest.raises(InputError, match="4 cards, the deck has 3"):
        fit_gate("router", ROWS, GateConfig(), known(3))


def test_equal_cards_leave_the_simplest_gate() -> None:
    alone = observed(skill=SKILL[:1])
    assert choose_gate(alone, known(1), kinds=["router", "uniform"]).kind == "uniform"
