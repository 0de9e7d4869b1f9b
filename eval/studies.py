"""What lies behind the headline numbers: calibration, selective prediction, diversity, tests per cell, the gate.

"clean" is the clean images. Calibration errors under "mean" and "severity5" are means of the cells' own errors (pooling
would let one cell's overconfidence hide another's underconfidence); reliability diagrams and risk-coverage curves
under "mean" pool the images of all cells, as one threshold in front of all of them would.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

from cards_deck.corruptions import SEVERITIES
from cards_deck.deck import Deck
from eval.metrics import (
    STANDARD_CIFAR10_ERRORS,
    Floats,
    aurc,
    coverage_at_risk,
    holm,
    mcnemar,
    mean_corruption_error,
    relative_mce,
    reliability,
    risk_coverage,
    thinned_curve,
)
from eval.results import Measured, counts, table
from eval.routes import Routes
from eval.spectra import radial_profile
from eval.summary import CellSummary, RouteSummary

if TYPE_CHECKING:
    from eval.suites.corruptions import CorruptionSuite

Json = dict[str, Any]

SCORES = ("ece", "adaptive_ece", "nll", "brier")
TESTED = ("best_card", "uniform")  # compared with the gate cell by cell


def study_results(
    deck: Deck, measured: Measured, routes: Routes, suite: CorruptionSuite, data: str, *, threads: int = 1
) -> Json:
    """calibration, selective, diversity, relative, significance, gate_choices and spectra of the JSON."""
    systems = routes.studied
    with ThreadPoolExecutor(threads) as pool:
        curves = pool.map(lambda name: selective(measured, name), systems)
        selected = dict(zip(systems, curves, strict=True))
    return {
        "calibration": {name: calibration(measured, name, routes.temperatures.get(name, 1.0)) for name in systems},
        "selective": selected,
        "diversity": {"clean": diversity([measured.clean]), "mean": diversity(measured.cells)},
        "relative": {name: relative(measured, name, suite, data) for name in measured.routes},
        "significance": {f"gated_vs_{other}": significance(measured, other, suite) for other in TESTED},
        "gate_choices": gate_choices(deck, measured, suite),
        "spectra": spectra(deck, measured, suite),
    }


def calibration(measured: Measured, route: str, temperature: float) -> Json:
    """Calibration errors of one route as its probabilities come and at its temperature, and its reliability diagram."""
    clean = [measured.clean.routes[route]]
    cells = [cell.routes[route] for cell in measured.cells]
    groups = {"clean": clean, "mean": cells, "severity5": cells[len(SEVERITIES) - 1 :: len(SEVERITIES)]}
    return {
        "temperature": round(temperature, 6),
        "raw": {group: _means([found.raw for found in members]) for group, members in groups.items()},
        "tempered": {group: _means([found.tempered for found in members]) for group, members in groups.items()},
        "reliability": {"clean": _diagram(clean), "mean": _diagram(cells)},
        "reliability_raw": {"clean": _diagram(clean, raw=True), "mean": _diagram(cells, raw=True)},
    }


def _means(scores: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: round(float(np.mean([found[name] for found in scores])), 6) for name in SCORES}


def _diagram(found: Sequence[RouteSummary], *, raw: bool = False) -> list[Json]:
    confidence = np.concatenate([route.raw_confidence if raw else route.confidence for route in found])
    correct = np.concatenate([route.correct for route in found])
    return [
        {key: round(value, 6) if isinstance(value, float) else value for key, value in part.items()}
        for part in reliability(confidence, correct)
    ]


def _pooled(found: Sequence[RouteSummary]) -> tuple[Floats, Floats]:
    """Confidence and correctness of all images of all cells, float64, most confident first: sorted once, not often."""
    confidence = np.concatenate([route.confidence for route in found])
    order = np.argsort(-confidence, kind="stable")
    return confidence[order].astype(np.float64), np.concatenate([route.correct for route in found])[order].astype(
        np.float64
    )


def selective(measured: Measured, route: str) -> Json:
    """Area under the risk-coverage curve, coverage at 1 % and 5 % risk, and the curve in at most 60 points."""
    groups = {"clean": [measured.clean.routes[route]], "mean": [cell.routes[route] for cell in measured.cells]}
    return {group: _selective(*_pooled(members)) for group, members in groups.items()}


def _selective(confidence: Floats, correct: Floats) -> Json:
    return {
        "aurc": round(aurc(confidence, correct), 6),
        "coverage_at_1": round(coverage_at_risk(confidence, correct, 0.01), 6),
        "coverage_at_5": round(coverage_at_risk(confidence, correct, 0.05), 6),
        "curve": thinned_curve(*risk_coverage(confidence, correct)),
    }


def diversity(cells: Sequence[CellSummary]) -> Json:
    """Pairwise disagreement and double fault of the cards, beside how good they are; means over `cells`."""
    return {
        "disagreement": _matrix(np.mean([cell.disagreement for cell in cells], axis=0)),
        "double_fault": _matrix(np.mean([cell.double_fault for cell in cells], axis=0)),
        "mean_card_accuracy": round(float(np.mean([cell.cards.mean() for cell in cells])), 6),
        "oracle_accuracy": round(float(np.mean([cell.cards.any(axis=0).mean() for cell in cells])), 6),
    }


def _matrix(values: Floats) -> list[list[float]]:
    return [[round(float(value), 6) for value in row] for row in values]


def relative(measured: Measured, route: str, suite: CorruptionSuite, data: str) -> Json:
    """The plain mean error, and relative to RobustBench's Standard row where the suite and the data are that row's."""
    errors = table(1 - measured.correct(route).mean(axis=1), suite)
    comparable = suite.data == data == "cifar10" and set(errors) == set(STANDARD_CIFAR10_ERRORS)
    return {
        "mce": round(mean_corruption_error(errors), 6),
        "relative_mce": round(relative_mce(errors, STANDARD_CIFAR10_ERRORS), 6) if comparable else None,
    }


def significance(measured: Measured, other: str, suite: CorruptionSuite) -> Json:
    """Exact McNemar test of the gate against another route in each cell; Holm over the corruptions of a severity."""
    tests = [mcnemar(cell.routes["gated"].correct, cell.routes[other].correct) for cell in measured.cells]
    adjusted = np.empty(len(tests))
    for severity in range(len(SEVERITIES)):
        places = slice(severity, None, len(SEVERITIES))
        adjusted[places] = holm([test.p for test in tests[places]])
    rows = [
        {"gained": test.gained, "lost": test.lost, "p": float(f"{test.p:.4g}"), "holm": float(f"{corrected:.4g}")}
        for test, corrected in zip(tests, adjusted, strict=True)
    ]
    step = len(SEVERITIES)
    return {name: rows[place * step : (place + 1) * step] for place, name in enumerate(suite.corruptions)}


def gate_choices(deck: Deck, measured: Measured, suite: CorruptionSuite) -> Json:
    """What the gate chose: counts and shares of the nearest augmentation, weight given to cards, unknown inputs."""
    trained = np.array([card.augmentation for card in deck.cards])
    clean, cells = measured.clean, measured.cells
    choices: Json = {}
    for place, name in enumerate(deck.references.augmentations):
        chosen = [int(cell.gate.chosen[place]) for cell in (clean, *cells)]
        weight = [float(cell.gate.card_weight[trained == name].sum()) for cell in (clean, *cells)]
        share = [count / cell.n for count, cell in zip(chosen, (clean, *cells), strict=True)]
        choices[name] = {
            "clean": {"count": chosen[0], "share": round(share[0], 6), "weight": round(weight[0], 6)},
            "count": counts(chosen[1:], suite),
            "share": table(share[1:], suite),
            "weight": table(weight[1:], suite),
        }
    return {
        "kind": deck.gate.kind,
        "max_cards": deck.gate.max_cards,
        "choices": choices,
        "unknown": {
            "clean": round(clean.gate.unknown, 6),
            "cells": table([cell.gate.unknown for cell in cells], suite),
        },
        "cards": {
            card.id: {
                "name": card.name,
                "clean": _use(clean, place),
                "cells": {key: _mean([_use(cell, place)[key] for cell in cells]) for key in ("weight", "ran")},
            }
            for place, card in enumerate(deck.cards)
        },
        "cards_per_image": {
            "clean": round(clean.gate.cards_used, 6),
            "cells": table([cell.gate.cards_used for cell in cells], suite),
        },
    }


def _use(cell: CellSummary, card: int) -> dict[str, float]:
    """Mean weight of a card in the gated deck's answers, and the share of images that it ran for."""
    return {
        "weight": round(float(cell.gate.card_weight[card]), 6),
        "ran": round(float(cell.gate.card_ran[card]), 6),
    }


def _mean(values: Sequence[float]) -> float:
    return round(float(np.mean(values)), 6)


def spectra(deck: Deck, measured: Measured, suite: CorruptionSuite) -> Json:
    """Radial profiles of the log amplitude: the references', and the mean of the images of each cell."""
    names = zip(deck.references.augmentations, deck.references.log_amplitude, strict=True)
    profiles = [radial_profile(cell.spectrum) for cell in measured.cells]
    step = len(SEVERITIES)
    return {
        "references": {name: radial_profile(reference) for name, reference in names},
        "clean": radial_profile(measured.clean.spectrum),
        "corruptions": {
            name: profiles[place * step : (place + 1) * step] for place, name in enumerate(suite.corruptions)
        },
    }
