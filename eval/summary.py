"""One cell boiled down to what a report needs, so that a cell's logits are dropped as soon as the next one comes.

What stays is small: a bit per image, route and card, and the confidence of each route. 75 cells of 10,000 images under
six routes and six cards take about 50 MB, whatever the number of classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cards_deck.deck import Deck
from cards_deck.spectrum import Floats
from eval.cells import Labels
from eval.measure import CellAnswers, labels_of
from eval.metrics import (
    Bools,
    adaptive_calibration_error,
    brier,
    disagreement,
    double_fault,
    expected_calibration_error,
    is_correct,
    negative_log_likelihood,
)
from eval.metrics import Floats as Floats64
from eval.routes import Routes

Scores = Mapping[str, float]


@dataclass(frozen=True, eq=False)
class RouteSummary:
    """One route on one cell. `correct` bool [n]; `confidence` float32 [n], tempered, and `raw_confidence` as it comes;
    `cost` mean card passes.

    `raw` and `tempered` hold ece, adaptive_ece, nll and brier; they and the confidences are empty where the route's
    probabilities are not studied.
    """

    correct: Bools
    confidence: Floats
    raw_confidence: Floats
    cost: float
    raw: Scores
    tempered: Scores


@dataclass(frozen=True, eq=False)
class GateSummary:
    """What the gate did: images per nearest augmentation [a], share of unknown spectra, mean number of cards that ran,
    and of each card [k] its mean weight and the share of images that it ran for."""

    chosen: NDArray[np.int64]
    unknown: float
    cards_used: float
    card_weight: Floats64
    card_ran: Floats64


@dataclass(frozen=True, eq=False)
class CellSummary:
    """One cell: k cards, n images. `spectrum` float64 [h, h // 2 + 1] is the mean log amplitude."""

    name: str
    n: int
    cached: bool
    cards: Bools  # [k, n]: is that card right?
    routes: Mapping[str, RouteSummary]
    gate: GateSummary
    answers: NDArray[np.int32]  # [n] classes that the gated deck answers
    choices: NDArray[np.int32]  # [n] augmentations that the gate finds nearest, -1 where it does not choose
    disagreement: Floats64  # [k, k]
    double_fault: Floats64  # [k, k]
    spectrum: Floats64


def summarise(cell: CellAnswers, routes: Routes, deck: Deck) -> CellSummary:
    """Everything a report says about one labelled cell."""
    labels = labels_of(cell)
    answers = routes.answers(cell)
    correct = is_correct(cell.logits, labels)
    found = {}
    for name, answer in answers.items():
        right = is_correct(answer.probabilities, labels)
        served = name in routes.studied
        found[name] = RouteSummary(
            correct=right,
            confidence=_confidence(answer.tempered) if served else np.empty(0, np.float32),
            raw_confidence=_confidence(answer.probabilities) if served else np.empty(0, np.float32),
            cost=float(answer.cost.mean()),
            raw=scores(answer.probabilities, labels) if served else {},
            tempered=scores(answer.tempered, labels) if served else {},
        )
    return CellSummary(
        name=cell.name,
        n=len(labels),
        cached=cell.cached,
        cards=correct,
        routes=found,
        gate=_gate(cell, len(deck.references.augmentations)),
        answers=answers["gated"].probabilities.argmax(axis=1).astype(np.int32),
        choices=cell.routing.choice.astype(np.int32),
        disagreement=disagreement(cell.logits.argmax(axis=2)),
        double_fault=double_fault(correct),
        spectrum=_mean(cell.spectra()),
    )


def _confidence(probabilities: NDArray[np.floating]) -> Floats:
    return np.asarray(probabilities.max(axis=1), np.float32)


def scores(probabilities: NDArray[np.floating], labels: Labels) -> dict[str, float]:
    """ece and adaptive_ece over 15 bins, nll in nats, brier in [0, 2], of probabilities [n, c]."""
    confidence, correct = probabilities.max(axis=1), is_correct(probabilities, labels)
    return {
        "ece": expected_calibration_error(confidence, correct),
        "adaptive_ece": adaptive_calibration_error(confidence, correct),
        "nll": negative_log_likelihood(probabilities, labels),
        "brier": brier(probabilities, labels),
    }


def _mean(spectra: Floats) -> Floats64:
    """Mean over images."""
    return np.asarray(spectra.mean(axis=0, dtype=np.float64))


def _gate(cell: CellAnswers, augmentations: int) -> GateSummary:
    decision, choice = cell.decision, cell.routing.choice
    return GateSummary(
        chosen=np.bincount(choice[choice >= 0], minlength=augmentations),
        unknown=float(cell.routing.unknown.mean()),
        cards_used=float(decision.ran.sum(axis=1).mean()),
        card_weight=decision.weights.mean(axis=0, dtype=np.float64),
        card_ran=decision.ran.mean(axis=0),
    )
