"""What the gates learn: against independent sums, and on answers that only the right rule can use."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import scipy.optimize
import scipy.special
from gate_rows import CLASSES, SKILL, known, observed

from cards_deck.errors import InputError
from cards_deck.gate_config import GateConfig
from cards_deck.inference.gates import (
    GATES,
    BaseGate,
    Observed,
    build_gate,
    fit_gate,
    score,
)
from cards_deck.inference.gates._likelihood import (
    calibrated_right,
    fit_temperatures,
    mixture_loss,
    worst_temperatures,
)
from cards_deck.inference.gates._profile import ring_count, ring_means

ROWS, OTHERS = observed(), observed(seed=1)


def test_half_of_the_weight_is_clean_and_cells_share_the_rest() -> None:
    assert ROWS.share.sum() == pytest.approx(1)
    assert [ROWS.share[ROWS.cell == cell].sum() for cell in range(3)] == pytest.approx([0.5, 0.25, 0.25])
    uneven = ROWS.rows((ROWS.cell != 1) | (ROWS.image < 5))
    assert [uneven.share[uneven.cell == cell].sum() for cell in range(3)] == pytest.approx([0.5, 0.25, 0.25])
    assert ROWS.rows(ROWS.cell > 0).share.sum() == pytest.approx(1)
    assert ROWS.rows(ROWS.cell == 0).share.sum() == pytest.approx(1)


def test_the_worst_temperature_is_that_of_the_cell_where_a_card_is_too_sure() -> None:
    wrong = ROWS.labels.copy()
    wrong[ROWS.cell == 1] = (wrong[ROWS.cell == 1] + 1) % CLASSES  # in the second cell no card can be believed
    rows = dataclasses.replace(ROWS, labels=wrong)
    of_cells = np.stack([fit_temperatures(rows.rows(rows.cell == cell)) for cell in range(3)])
    np.testing.assert_array_equal(worst_temperatures(rows), of_cells.max(axis=0))
    assert (of_cells.argmax(axis=0) == 1).all()


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
    many = observed(skill=np.repeat(SKILL[:, :1], 8, axis=1), cells=("clean", *(f"{name} 1" for name in "abcdefg")))
    left_out = [set(many.cell[fold.judged].tolist()) for fold in many.folds()]
    assert left_out[::2] == [{0}, {1, 6}, {2, 7}, {3}, {4}, {5}], "seven corruptions in five groups"
    for fold in many.folds():
        assert not {*many.cell[fold.fitted].tolist()} & {*many.cell[fold.judged].tolist()} - {0}
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


@pytest.mark.parametrize("kind", GATES.names())
def test_far_spectra_and_sure_cards_break_no_fit(kind: str) -> None:
    far = dataclasses.replace(
        ROWS, spectra=(30 * ROWS.spectra.astype(float)).astype(np.float16), logits=300 * ROWS.logits
    )
    gate = fit_gate(kind, far, GateConfig(max_cards=2), known())
    assert all(np.isfinite(array).all() for array in gate.config.arrays.values())
