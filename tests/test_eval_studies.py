"""What stands behind the headline numbers, against plain loops over the same cells."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import scipy.stats
from eval_tiny import cell_answers

from cards_deck.corruptions import SEVERITIES
from cards_deck.deck import Deck, card_sizes
from cards_deck.inference.engines import EngineKind
from cards_deck.inference.fake_deck import fake_deck, fake_images
from cards_deck.inference.predictor import Predictor
from eval.measure import CellAnswers
from eval.metrics import STANDARD_CIFAR10_ERRORS
from eval.results import Measured, card_facts, headline_results
from eval.routes import Routes, fit_routes
from eval.spectra import radial_profile
from eval.studies import relative, study_results
from eval.suites import SUITES
from eval.suites.corruptions import CorruptionSuite
from eval.summary import summarise
from eval.timing import timing

PLAIN = SUITES["cifar10-c"]
assert isinstance(PLAIN, CorruptionSuite)
SUITE = dataclasses.replace(PLAIN, corruptions=("gaussian_noise", "contrast", "pixelate"))
N, CLASSES, STEP = 50, 10, len(SEVERITIES)


def _answers(seed: int, deck: Deck, n: int = N) -> CellAnswers:
    random = np.random.default_rng(seed)
    labels = np.arange(n) % CLASSES
    logits = (random.normal(size=(4, n, CLASSES)) + 2 * np.eye(CLASSES)[labels]).astype(np.float32)
    distances = random.random((n, 2)).astype(np.float32)
    weights = np.zeros((n, 4), np.float32)
    weights[np.arange(n), distances.argmin(axis=1)] = 1
    spectra = np.broadcast_to(deck.references.log_amplitude[0], (n, 32, 17)).astype(np.float16)
    return cell_answers(f"cell {seed}", logits, weights, distances, labels, spectra, random.random(n) < 0.2)


@dataclasses.dataclass
class Made:
    deck: Deck
    routes: Routes
    answers: list[CellAnswers]
    measured: Measured
    studies: dict[str, Any]


@pytest.fixture(scope="module")
def made() -> Made:
    deck = fake_deck()
    routes = dataclasses.replace(fit_routes(deck, 1, None, seed=0), temperatures={"gated": 0.7, "uniform": 0.5})
    answers = [_answers(seed, deck) for seed in range(1 + len(SUITE.cells))]
    clean, *cells = (summarise(cell, routes, deck) for cell in answers)
    measured = Measured(clean, cells)
    return Made(deck, routes, answers, measured, study_results(deck, measured, routes, SUITE, "cifar10"))


def _plain_ece(confidence: Any, correct: Any) -> float:
    total = 0.0
    for place in range(15):
        inside = (confidence > place / 15) & (confidence <= (place + 1) / 15)
        if inside.any():
            total += inside.sum() * abs(confidence[inside].mean() - correct[inside].mean())
    return float(total / len(confidence))


def test_calibration_is_the_mean_of_the_cells_own_errors(made: Made) -> None:
    found = made.studies["calibration"]["uniform"]
    assert (found["temperature"], set(made.studies["calibration"])) == (0.5, set(made.routes.systems))
    for group, cells in (("clean", made.answers[:1]), ("mean", made.answers[1:]), ("severity5", made.answers[5::STEP])):
        assert len(cells) == {"clean": 1, "mean": 15, "severity5": 3}[group]
        for kind in ("raw", "tempered"):
            ece, nll, brier = [], [], []
            for cell in cells:
                answer = made.routes.answer("uniform", cell)
                p = (answer.probabilities if kind == "raw" else answer.tempered).astype(np.float64)
                wanted = np.eye(CLASSES)[cell.labels]
                ece.append(_plain_ece(p.max(axis=1), p.argmax(axis=1) == cell.labels))
                nll.append(-np.log((p * wanted).sum(axis=1)).mean())
                brier.append(((p - wanted) ** 2).sum(axis=1).mean())
            values = found[kind][group]
            assert values["ece"] == pytest.approx(np.mean(ece), abs=2e-6)
            assert values["nll"] == pytest.approx(np.mean(nll), abs=2e-6)
            assert values["brier"] == pytest.approx(np.mean(brier), abs=2e-6)


def test_the_diagram_and_the_curve_pool_all_cells(made: Made) -> None:
    diagram = made.studies["calibration"]["gated"]["reliability"]
    assert sum(part["count"] for part in diagram["clean"]) == N
    assert sum(part["count"] for part in diagram["mean"]) == N * len(SUITE.cells)
    tops = [made.routes.answer("gated", cell).tempered for cell in made.answers[1:]]
    confidence = np.concatenate([top.max(axis=1) for top in tops])
    right = np.concatenate([top.argmax(axis=1) == c.labels for top, c in zip(tops, made.answers[1:], strict=True)])
    order = np.argsort(-confidence, kind="stable")
    risks = np.cumsum(~right[order]) / np.arange(1, len(order) + 1)
    found = made.studies["selective"]["gated"]["mean"]
    assert found["aurc"] == pytest.approx(risks.mean(), abs=1e-5)
    assert found["coverage_at_5"] == pytest.approx(
        (np.flatnonzero(risks <= 0.05).max(initial=-1) + 1) / len(order), abs=1e-6
    )
    assert found["curve"][-1] == [1.0, pytest.approx(risks[-1], abs=1e-6)]
    assert len(found["curve"]) <= 60


@pytest.mark.parametrize(("name", "kind"), [("reliability", "tempered"), ("reliability_raw", "probabilities")])
def test_the_diagram_is_there_before_and_after_the_temperature(made: Made, name: str, kind: str) -> None:
    bins = made.studies["calibration"]["gated"][name]["mean"]
    tops = [getattr(made.routes.answer("gated", cell), kind).max(axis=1) for cell in made.answers[1:]]
    mean = sum(part["count"] * part["confidence"] for part in bins if part["count"]) / (N * len(SUITE.cells))
    assert mean == pytest.approx(np.concatenate(tops).mean(), abs=1e-5)


def test_each_cell_is_tested_and_corrected_over_corruptions(made: Made) -> None:
    found = made.studies["significance"]["gated_vs_best_card"]
    for severity in range(STEP):
        column = [found[name][severity] for name in SUITE.corruptions]
        for place, entry in enumerate(column):
            cell = made.answers[1 + place * STEP + severity]
            gated = made.routes.answer("gated", cell).probabilities.argmax(axis=1) == cell.labels
            single = cell.logits[1].argmax(axis=1) == cell.labels
            gained, lost = int((gated & ~single).sum()), int((single & ~gated).sum())
            assert (entry["gained"], entry["lost"]) == (gained, lost)
            p = scipy.stats.binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
            assert entry["p"] == pytest.approx(p, rel=1e-3)
        ordered = sorted(column, key=lambda entry: float(entry["p"]))
        running = 0.0
        for rank, entry in enumerate(ordered):
            running = max(running, min(1.0, entry["p"] * (3 - rank)))
            assert entry["holm"] == pytest.approx(running, rel=1e-3)


def test_diversity_is_shown_beside_accuracy(made: Made) -> None:
    found = made.studies["diversity"]["mean"]
    right = np.stack([cell.logits.argmax(axis=2) == cell.labels for cell in made.answers[1:]])
    assert found["mean_card_accuracy"] == pytest.approx(right.mean(), abs=1e-6)
    assert found["oracle_accuracy"] == pytest.approx(right.any(axis=1).mean(), abs=1e-6)
    assert found["double_fault"][0][3] == pytest.approx((~right[:, 0] & ~right[:, 3]).mean(), abs=1e-6)
    answers = np.stack([cell.logits.argmax(axis=2) for cell in made.answers[1:]])
    assert found["disagreement"][1][2] == pytest.approx((answers[:, 1] != answers[:, 2]).mean(), abs=1e-6)


def test_the_gate_s_choices_add_up(made: Made) -> None:
    gate = made.studies["gate_choices"]
    for name in SUITE.corruptions:
        counted = np.sum([choice["count"][name] for choice in gate["choices"].values()], axis=0)
        assert counted.tolist() == [N] * STEP
        weighed = np.sum([choice["weight"][name] for choice in gate["choices"].values()], axis=0)
        assert weighed == pytest.approx(np.ones(STEP), abs=2e-6)
    unknown = made.answers[1].routing.unknown.mean()
    assert gate["unknown"]["cells"]["gaussian_noise"][0] == pytest.approx(unknown, abs=1e-6)


def test_errors_are_compared_with_the_standard_network_on_its_own_data_only(made: Made) -> None:
    whole = Measured(made.measured.clean, made.measured.cells * 5)
    found = relative(whole, "gated", PLAIN, "cifar10")
    error = 1 - np.mean([cell.routes["gated"].correct.mean() for cell in made.measured.cells])
    by_corruption = np.array([1 - cell.routes["gated"].correct.mean() for cell in whole.cells]).reshape(15, 5)
    standard = np.array([STANDARD_CIFAR10_ERRORS[name] for name in PLAIN.corruptions])
    ratio = (by_corruption.sum(axis=1) / standard.sum(axis=1)).mean()
    assert found["mce"] == pytest.approx(error, abs=1e-6)
    assert found["relative_mce"] == pytest.approx(ratio, abs=1e-5)
    assert relative(whole, "gated", PLAIN, "folder")["relative_mce"] is None


def test_a_profile_is_the_mean_over_rings_of_the_whole_plane() -> None:
    size = 12
    full = np.random.default_rng(0).random((size, size))
    spectrum = np.fft.rfft2(full)
    whole = np.log(np.abs(np.fft.fft2(full)))
    rings: dict[int, list[float]] = {}
    for row in range(size):
        for column in range(size):
            y, x = min(row, size - row), min(column, size - column)
            rings.setdefault(round(float(np.hypot(y, x))), []).append(float(whole[row, column]))
    expected = [np.mean(rings[radius]) for radius in range(size // 2 + 1)]
    assert radial_profile(np.log(np.abs(spectrum))) == pytest.approx(expected, abs=1e-6)


def test_spectra_are_profiles_of_references_and_cells(made: Made) -> None:
    found = made.studies["spectra"]
    first = made.deck.references.augmentations[0]
    assert found["clean"] == pytest.approx(found["references"][first], abs=2e-3)  # float16
    assert len(found["corruptions"]["contrast"]) == STEP
    assert len(found["clean"]) == 17


def test_a_card_says_what_it_costs(made: Made) -> None:
    facts = card_facts(made.deck.cards[0], made.deck)
    assert facts["weights"] == 8 * 3 * 9 + 8 * 8 * 9 + 10 * 8
    assert facts["macs"] == (8 * 3 * 9 + 8 * 8 * 9) * 16 * 16 + 10 * 8
    assert facts["macs_executed"] < facts["macs"]
    assert facts["flop_density"] == pytest.approx(facts["macs_executed"] / facts["macs"], abs=1e-6)
    made_of = headline_results(made.deck, made.measured, made.routes, SUITE, seed=0, resamples=10)["cards"][0]
    assert made_of["bytes"] == card_sizes(made.deck)[made.deck.cards[0].name]


def test_headlines_resample_images_and_not_cells(made: Made) -> None:
    results = headline_results(made.deck, made.measured, made.routes, SUITE, seed=0, resamples=300)
    again = headline_results(made.deck, made.measured, made.routes, SUITE, seed=0, resamples=300)
    assert results == again
    per_image = made.measured.correct("gated").mean(axis=0)
    low, high = (results["routes"]["gated"]["mean"][end] for end in ("low", "high"))
    assert high - low == pytest.approx(2 * 1.96 * per_image.std() / np.sqrt(N), rel=0.25)


def test_times_are_measured_through_the_predictor() -> None:
    predictor = Predictor(fake_deck(), engine=EngineKind.FAKE)
    gate = predictor.gate
    found = timing(predictor, fake_images(10), best_card=2, engines=("fake", "fake"))
    assert (found["engine"], found["threads"]) == ("fake", 1)
    for size in (1, 32):
        assert set(found[f"batch_{size}_ms"]) == {"gated", "uniform", "best_card"}
        assert all(value > 0 for value in found[f"batch_{size}_ms"].values())
    assert predictor.gate is gate
