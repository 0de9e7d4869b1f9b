"""How strange a deck finds an image: one number per image and score, larger where stranger; and how well that tells."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from cards_deck.deck import Deck
from cards_deck.inference.predictor import combine, softmax
from eval.measure import CellAnswers
from eval.metrics import Floats, aupr, auroc_interval, energy, entropy, fpr_at_tpr, msp, mutual_information
from eval.routing import Gated, Route, Uniform
from eval.suites._base import Json
from eval.suites._ood_neighbours import NEIGHBOUR

ROUTES = ("gated", "uniform")
CONVENTION = (
    "A score is larger the stranger the image, and images from outside are the positive class, as in OpenOOD v1.5: "
    "FPR95 is the share of known images flagged by the threshold that catches 95 % of those from outside; AUPR-out has "
    "those from outside as positive, AUPR-in the known ones. Full-spectrum counts corrupted known images as known."
)
_ROUTED = {
    "msp": ("1 - largest probability", "one minus the largest probability of the pooled answer"),
    "entropy": ("entropy", "entropy of the pooled probabilities"),
    "energy": ("energy", "free energy of each card's logits, mean over the cards by their weights"),
}
_OTHERS = {
    "disagreement": (
        "disagreement",
        "mutual information between answer and card, over all but averages of cards",
    ),
    "spectral_distance": (
        "spectral distance",
        "distance of the spectrum to the nearest reference: what the gate sees, and no card runs",
    ),
    "knn_features": (
        "nearest neighbours, features",
        f"distance to the {NEIGHBOUR}th nearest training image in the best single card's last features",
    ),
    "knn_logits": (
        "nearest neighbours, logits",
        f"distance to the {NEIGHBOUR}th nearest training image in the mean logits of all cards, which have no features",
    ),
}
_TEXTS = {
    f"{route}_{name}": (f"{title}, {route}", f"{text}, {route}")
    for route in ROUTES
    for name, (title, text) in _ROUTED.items()
} | _OTHERS
TITLES = {name: title for name, (title, _) in _TEXTS.items()}
DEFINITIONS = {name: text for name, (_, text) in _TEXTS.items()}


def ood_routes(deck: Deck) -> dict[str, Route]:
    """`ROUTES` of a deck."""
    return dict(zip(ROUTES, (Gated(), Uniform(deck.originals)), strict=True))


def card_scores(cell: CellAnswers, deck: Deck) -> dict[str, Floats]:
    """Score -> [n], from the cards' answers and the spectra; "gated_" and "uniform_" scores are of that route."""
    found: dict[str, Floats] = {}
    energies = energy(cell.logits)
    for name, route in ood_routes(deck).items():
        weights = route.route(cell).weights
        pooled = combine(cell.logits, weights)
        found[f"{name}_msp"] = msp(pooled)
        found[f"{name}_entropy"] = entropy(pooled)
        found[f"{name}_energy"] = (energies.T * weights).sum(axis=1)
    found["disagreement"] = mutual_information(softmax(cell.logits[list(deck.originals)]))
    found["spectral_distance"] = cell.distances.min(axis=1).astype(np.float64)
    return found


def detected(known: Floats, unknown: Floats) -> Json:
    """AUROC with its 95 % interval, AUPR both ways and FPR95 of one score on one set."""
    interval = auroc_interval(known, unknown)
    values = {
        "auroc": interval.value,
        "auroc_low": interval.low,
        "auroc_high": interval.high,
        "aupr_in": aupr(known, unknown, "in"),
        "aupr_out": aupr(known, unknown, "out"),
        "fpr95": fpr_at_tpr(known, unknown),
    }
    return {name: round(value, 6) for name, value in values.items()}


def detection_table(
    known: Mapping[str, Floats], unknown: Mapping[str, Mapping[str, Floats]], groups: Mapping[str, str]
) -> dict[str, Json]:
    """Score -> set -> `detected`; and for each group of sets its mean AUROC as "near", its mean FPR95 as "near_fpr95".

    `known` score -> [n]; `unknown` set -> score -> [m]; `groups` set -> group. Own sets have no mean.
    """
    table: dict[str, Json] = {}
    for score, values in known.items():
        row: Json = {name: detected(values, scores[score]) for name, scores in unknown.items()}
        means: Json = {}
        for group in dict.fromkeys(group for group in groups.values() if group != "own"):
            members = [row[name] for name in unknown if groups[name] == group]
            means[group] = round(float(np.mean([found["auroc"] for found in members])), 6)
            means[f"{group}_fpr95"] = round(float(np.mean([found["fpr95"] for found in members])), 6)
        table[score] = row | means
    return table
