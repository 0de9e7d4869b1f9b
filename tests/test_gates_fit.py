"""What the gates learn: against independent sums, and on answers that only the right rule can use."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import scipy.optimize
import scipy.special
from gate_rows import CELLS, SKILL, known, observed

from cards_deck.errors import InputError
from cards_deck.gate_config import GateConfig
from cards_deck.inference.gates import (
    GATES,
    BaseGate,
    Chosen,
    Judged,
    Known,
    Observed,
    build_gate,
    choose_gate,
    fit_gate,
    judge,
    score,
)
from cards_deck.inference.gates._likelihood import calibrated_right, fit_temperatures, mixture_loss
from cards_deck.inference.gates._profile import ring_count, ring_means

ROWS, OTHERS = observed(), observed(seed=1)


def test_half_of_the_weight_is_clean_and_cells_share_the_rest() -> None:
    assert ROWS.share.sum() == pytest.approx(1)
    assert [ROWS.share[ROWS.cell == cell].sum() for cell in range(3)] == pytest.approx([0.5, 0.25, 0.25])
    uneven = ROWS.rows((ROWS.cell != 1) | (ROWS.image < 5))
    assert [uneven.share[uneven.cell == cell].sum() for cell in range(3)] == pytest.approx([0.5, 0.25, 0.25])
    assert ROWS.rows(ROWS.cell > 0).share.sum() == pytest.approx(1)
    assert ROWS.rows(ROWS.cell == 0).share.sum() == pytest.approx(1)


def test_folds_judge_every_row_once_by_other_images_and_other_shifts() -> None:
    names = ("clean", "gaussian", "fog 1", "fog 2", "gaussian 1", "gaussian 10")
    rows = observed(skill=np.repeat(SKILL[:, :1], 6, axis=1), cells=names)
    shuffled = np.random.default_rng(0).permutation(len(rows.labels))
    mixed = dataclasses.replace(
        rows, spectra=rows.spectra[shuffled], logits=rows.logits[:, shuffled], labels=rows.labels[shuffled],
        cell=rows.cell[shuffled],
    )  # fmt: skip
    for one in (rows, mixed):
        folds = one.folds()
        assert (np.sum([fold.judged for fold in folds], axis=0) == 1).all()
        for fitted, judged in folds:
            assert not set(one.image[fitted].tolist()) & set(one.image[judged].tolist())
            cells = [set(one.cell[side].tolist()) for side in (judged, fitted)]
            assert cells in ([{0, 1}, set(range(6))], [{2, 3}, {0, 1, 4, 5}], [{4, 5}, {0, 1, 2, 3}])
            assert (len(set(one.image[fitted].tolist())), len(set(one.image[judged].tolist()))) == (30, 30)
    with pytest.raises(InputError, match="at least two images"):
        ROWS.rows(ROWS.image == 0).folds()
    with pytest.raises(InputError, match="at least two images of each cell"):
        ROWS.rows((ROWS.cell == 0) | (ROWS.image == 0)).folds()
    alone = observed(skill=SKILL[:, :1], cells=("fog 1",))
    assert [int(fold.fitted.sum()) for fold in alone.folds()] == [30, 30], "a shift that is all there is"


@pytest.mark.parametrize(
    "fields",
    [
        {"labels": ROWS.labels[:-1]},
        {"labels": ROWS.labels + 1},
        {"cell": ROWS.cell + 1},
        {"logits": ROWS.logits[0]},
        {"logits": np.full_like(ROWS.logits, np.nan)},
        {"spectra": ROWS.spectra[:, :, 0]},
    ],
)
def test_rows_that_do_not_fit_are_refused(fields: dict[str, np.ndarray]) -> None:
    with pytest.raises(InputError):
        dataclasses.replace(ROWS, **fields)


def test_the_score_is_half_clean_and_half_the_mean_of_cells() -> None:
    found = score(build_gate(GateConfig("uniform"), known()), ROWS)
    pooled = scipy.special.softmax(ROWS.logits[:3].astype(float), axis=2).mean(axis=0).argmax(axis=1)
    right = [(pooled == ROWS.labels)[ROWS.cell == cell].mean() for cell in range(3)]
    assert found.clean == pytest.approx(right[0])
    assert found.corrupted == pytest.approx((right[1] + right[2]) / 2)
    assert found.score == pytest.approx((found.clean + found.corrupted) / 2)
    assert found.cards == 3


def test_rings_are_means_over_the_whole_plane() -> None:
    for size in (7, 8, 32):
        planes = np.random.default_rng(0).normal(size=(3, size, size))
        frequency = np.fft.fftfreq(size) * size
        ring = np.rint(np.hypot(frequency[:, None], frequency)).astype(int)
        log = np.log(np.abs(np.fft.fft2(planes)) + 1)
        wanted = np.array([[plane[ring == r].mean() for r in range(ring.max() + 1)] for plane in log])
        found = ring_means(log[:, :, : size // 2 + 1].astype(np.float32))
        assert found.shape == (3, ring_count(size))
        np.testing.assert_allclose(found, wanted, rtol=1e-4)


def test_the_mixtures_gradient_agrees_with_differences() -> None:
    rng = np.random.default_rng(0)
    scores, right, share = rng.normal(size=(5, 3)), rng.random((5, 3)), rng.dirichlet(np.ones(5))
    value, slope = mixture_loss(scores, right, share)
    weights = scipy.special.softmax(scores, axis=1)
    assert value == pytest.approx(-sum(share * np.log((weights * right).sum(axis=1))))
    numeric = scipy.optimize.approx_fprime(
        scores.ravel(), lambda flat: mixture_loss(flat.reshape(5, 3), right, share)[0], 1e-7
    )
    np.testing.assert_allclose(slope.ravel(), numeric, atol=1e-6)


def test_temperatures_make_the_labels_most_likely() -> None:
    hot = dataclasses.replace(ROWS, logits=7 * ROWS.logits)
    found = fit_temperatures(ROWS)
    np.testing.assert_allclose(fit_temperatures(hot), 7 * found, rtol=1e-3)

    def loss(card: int, temperature: float) -> float:
        logs = scipy.special.log_softmax(ROWS.logits[card].astype(float) / temperature, axis=1)
        return float(-ROWS.share @ logs[np.arange(len(logs)), ROWS.labels])

    for card, temperature in enumerate(found):
        assert loss(card, temperature) <= min(loss(card, 0.95 * temperature), loss(card, 1.05 * temperature))
    np.testing.assert_allclose(calibrated_right(hot), calibrated_right(ROWS), rtol=1e-3)


def accuracy(gate: BaseGate, rows: Observed, cell: int) -> float:
    one = rows.rows(rows.cell == cell)
    return float(score(gate, one).clean)


@pytest.mark.parametrize("kind", ["router", "softmax", "reliability", "spectrum_cascade", "spectral"])
def test_gates_that_read_the_spectrum_find_the_card_that_knows(kind: str) -> None:
    gate = fit_gate(kind, ROWS, GateConfig(max_cards=1), known(), most_cards=1.0)
    assert gate.config.max_cards == 1
    for cell, card in ((0, 0), (1, 1)):
        alone = np.argmax(ROWS.logits[card], axis=1) == ROWS.labels
        fresh = OTHERS.rows(OTHERS.cell == cell)
        ran = fresh.decide(gate).ran.mean(axis=0)
        assert ran[card] > 0.7, (kind, cell, ran)
        assert accuracy(gate, OTHERS, cell) > alone[ROWS.cell == cell].mean() - 0.12
    assert score(gate, OTHERS).cards == 1


def test_the_router_finds_an_average_and_the_softmax_cannot() -> None:
    """On dull images card 3, an average without a reference, is the best."""
    dull = OTHERS.rows(OTHERS.cell == 2)
    router, softmax = (fit_gate(kind, ROWS, GateConfig(max_cards=1), known()) for kind in ("router", "softmax"))
    assert dull.decide(router).ran.mean(axis=0)[3] > 0.6
    assert dull.decide(softmax).ran[:, 3].sum() == 0
    assert (dull.decide(softmax).routing.preference[:, 3] == 0).all()


def test_the_linear_fit_is_the_minimum() -> None:
    """Against another optimiser, on the same loss written out plainly."""
    gate = fit_gate("router", ROWS, GateConfig(max_cards=4), known(), most_cards=4.0)
    features = ring_means(ROWS.spectra.astype(np.float32)).astype(float)
    mean = ROWS.share @ features
    spread = np.sqrt(ROWS.share @ (features - mean) ** 2) + 1e-6
    z, right = (features - mean) / spread, calibrated_right(ROWS)

    def loss(weights: np.ndarray, bias: np.ndarray) -> float:
        mixture = (scipy.special.softmax(z @ weights + bias, axis=1) * right).sum(axis=1)
        return float(-ROWS.share @ np.log(mixture) + 1e-3 * (weights**2).sum())

    fitted = gate.config.arrays["weights"] * spread[:, None].astype(np.float32)
    bias = gate.config.arrays["bias"] + mean @ gate.config.arrays["weights"]
    start = np.concatenate([fitted.ravel(), bias])
    shape = fitted.shape
    polished = scipy.optimize.minimize(
        lambda flat: loss(flat[: -shape[1]].reshape(shape), flat[-shape[1] :]), start, method="BFGS",
        options={"maxiter": 15},
    )  # fmt: skip
    assert loss(fitted, bias) <= polished.fun + 1e-4


def test_a_cascade_begins_with_the_cheapest_and_goes_on_with_what_helps() -> None:
    dear = fit_gate("cascade", ROWS, GateConfig(max_cards=4), known(), costs=[5.0, 5.2, 1.0, 5.1])
    assert dear.config.arrays["order"][0] == 2
    even = fit_gate("cascade", ROWS, GateConfig(max_cards=4), known())
    likely = [float(ROWS.share @ np.log(column)) for column in calibrated_right(ROWS).T]
    assert even.config.arrays["order"][0] == np.argmax(likely)
    assert sorted(even.config.arrays["order"]) == [0, 1, 2, 3]


@pytest.mark.parametrize("kind", GATES.names())
def test_the_same_rows_give_the_same_gate_within_the_budget(kind: str) -> None:
    for most in (1.0, 1.5, 2.0):
        one, again = (fit_gate(kind, observed(), GateConfig(max_cards=3), known(), most_cards=most) for _ in range(2))
        assert one.config == again.config
        if kind != "uniform":
            assert score(one, ROWS).cards <= most
    assert one.config.kind == kind
    assert one.config.unknown_quantile == 0.995


def test_the_cheapest_gate_near_the_best_is_chosen_on_images_it_was_not_fitted_on() -> None:
    chosen = choose_gate(ROWS, known(), GateConfig(max_cards=2, abstain_below=0.2), most_cards=2.0)
    assert set(chosen.candidates) == set(GATES.names())
    everything = [one for found in chosen.candidates.values() for one in found]
    within = [one for one in everything if one.score.cards <= 2.01 and one.gate.limit <= 2]
    best = max(one.score.score for one in within)
    near = [one for one in within if best - one.score.score <= max(one.behind[1], 0.001) + 1e-9]
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


def test_no_gate_is_chosen_that_loses_too_much_in_a_cell() -> None:
    """Gates fitted without the fog send it to the wrong cards, and still score best on average."""
    rows = observed(cells=("clean", "fog 1", "blur 1"))

    def chosen(most_loss: float) -> Chosen:
        return choose_gate(rows, known(), GateConfig(max_cards=2), most_cards=2.0, most_loss=most_loss)

    free, tight, none = chosen(1.0), chosen(0.05), chosen(0.0)
    cheap = [one for found in free.candidates.values() for one in found if one.score.cards <= 2.01]
    best = max(cheap, key=lambda one: one.score.score)
    assert best.score.score - free.best.score.score <= free.best.behind[1] + 1e-9
    assert free.best.worst.surely > 0.05
    within = [one for one in cheap if one.worst.surely <= 0.05]
    assert tight.best.worst.surely <= 0.05
    assert tight.best.score.score == max(one.score.score for one in within)
    # Where no gate loses so little, the one that loses least.
    assert none.best.worst.loss == min(one.worst.loss for one in cheap) > 0
    for loss in (-0.1, 1.1, float("nan")):
        with pytest.raises(InputError, match="from 0 to 1"):
            chosen(loss)


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
    lost = Known(known().references, ("plain", "noise", "other", "mixed"), (0, 1, 2))
    chosen = choose_gate(ROWS, lost, kinds=["spectral", "softmax", "router"])
    assert (list(chosen.candidates), set(chosen.skipped)) == (["router"], {"spectral", "softmax"})
    assert "no reference spectrum for other" in chosen.skipped["spectral"]
    with pytest.raises(InputError, match="no gate fits this deck: spectral"):
        choose_gate(ROWS, lost, kinds=["spectral"])
    with pytest.raises(InputError, match="4 cards, the deck has 3"):
        fit_gate("router", ROWS, GateConfig(), known(3))


def test_equal_cards_leave_the_simplest_gate() -> None:
    alone = observed(skill=SKILL[:1])
    assert (
        choose_gate(alone, Known(known().references, ("plain",), (0,)), kinds=["router", "uniform"]).kind == "uniform"
    )


@pytest.mark.parametrize("kind", GATES.names())
def test_far_spectra_and_sure_cards_break_no_fit(kind: str) -> None:
    far = dataclasses.replace(
        ROWS, spectra=(30 * ROWS.spectra.astype(float)).astype(np.float16), logits=300 * ROWS.logits
    )
    gate = fit_gate(kind, far, GateConfig(max_cards=2), known())
    assert all(np.isfinite(array).all() for array in gate.config.arrays.values())
