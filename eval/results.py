"""From summaries of cells to the headline numbers of a report: plain dictionaries, numbers rounded to six digits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cards_deck.card import Card
from cards_deck.corruptions import SEVERITIES
from cards_deck.costs import card_costs
from cards_deck.deck import Deck, card_sizes
from cards_deck.inference.gates import Candidate, Promise
from eval.alternatives import MOST_CARDS
from eval.metrics import Bools, Floats, cell_groups, intervals, per_image_means
from eval.routes import AT, BOUNDS, FITTED, Routes, fitted_gates
from eval.summary import CellSummary

if TYPE_CHECKING:
    from eval.suites.corruptions import CorruptionSuite

Json = dict[str, Any]
Pairs = Mapping[str, tuple[str, str]]


@dataclass(frozen=True, eq=False)
class Measured:
    """All summaries of one run: `clean`, and `cells` in the order of the suite's."""

    clean: CellSummary
    cells: Sequence[CellSummary]

    @property
    def routes(self) -> tuple[str, ...]:
        """The measured routes, in the order of reports, without the gates of smaller budgets."""
        return tuple(name for name in self.clean.routes if AT not in name)

    def correct(self, route: str) -> Bools:
        """bool [cells, n]"""
        return np.stack([cell.routes[route].correct for cell in self.cells])

    def card(self, place: int) -> Bools:
        """bool [cells, n] of one card alone."""
        return np.stack([cell.cards[place] for cell in self.cells])

    @property
    def hindsight(self) -> int:
        """The card with the best mean over the measured cells themselves."""
        return int(np.mean([cell.cards.mean(axis=1) for cell in self.cells], axis=0).argmax())


def headline_results(
    deck: Deck, measured: Measured, routes: Routes, suite: CorruptionSuite, *, seed: int, resamples: int
) -> Json:
    """routes, differences, regret, gates, hindsight_card, cards and cells of the JSON."""
    clean = {name: measured.clean.routes[name].correct for name in measured.routes}
    cells = {name: measured.correct(name) for name in measured.routes}
    cards = {f"card {place}": measured.card(place) for place in range(len(deck.cards))}
    clean |= {f"card {place}": measured.clean.cards[place] for place in range(len(deck.cards))}
    differences = {f"gated_minus_{name}": ("gated", name) for name in routes.systems if name != "gated"}
    differences["gated_minus_hindsight_card"] = ("gated", f"card {measured.hindsight}")
    regrets = {name: (name, "gated") for name in BOUNDS}
    pairs = differences | {f"regret {name}": pair for name, pair in regrets.items()}
    pairs |= {f"{name} minus uniform": (name, "uniform") for name in routes.fitted}
    lines = headlines(clean, cells | cards, pairs, suite, seed=seed, resamples=resamples)
    hindsight, sizes = deck.cards[measured.hindsight], card_sizes(deck)
    return {
        "hindsight_card": {"id": hindsight.id, "name": hindsight.name},
        "routes": {name: lines[name] | _costs(measured, name) for name in measured.routes},
        "differences": {name: lines[name] for name in differences},
        "regret": {name: lines[f"regret {name}"]["mean"] for name in regrets},
        "gates": _gates(routes, lines, measured, deck),
        "cards": [
            card_facts(card, deck) | {"bytes": sizes[card.name]} | lines[f"card {place}"]
            for place, card in enumerate(deck.cards)
        ],
        "cells": {
            "routes": {name: table(rows.mean(axis=1), suite) for name, rows in cells.items()},
            "cards": {
                card.id: table(cards[f"card {place}"].mean(axis=1), suite) for place, card in enumerate(deck.cards)
            },
        },
    }


def _gates(routes: Routes, lines: Mapping[str, Json], measured: Measured, deck: Deck) -> Json | None:
    """What was fitted on validation images, and what each kind is worth: its accuracies stand among "routes", and
    under "points" those of every budget."""
    chosen = routes.chosen
    if chosen is None:
        return None
    promise = Promise.of(deck.measured.get("gate", {}))
    points: dict[str, list[Json]] = {kind: [] for kind in chosen.candidates}
    for name, one in fitted_gates(chosen).items():
        points[one.gate.config.kind].append(_point(name, one, measured))
    return {
        "most_cards": MOST_CARDS,
        "chosen": chosen.kind,
        "chosen_budget": chosen.best.budget,
        "promised": None if promise is None else promise.as_dict(),
        "skipped": dict(chosen.skipped),
        "kinds": {
            kind: {
                "route": f"{FITTED}{kind}",
                "validation": largest.as_dict(),
                "config": largest.gate.config.summary(),
                "minus_uniform": lines[f"{FITTED}{kind} minus uniform"],
                "points": points[kind][::-1],
            }
            for kind in chosen.candidates
            for largest in [chosen.of_budgets(kind)[-1]]
        },
    }


def _point(name: str, one: Candidate, measured: Measured) -> Json:
    """Accuracy and cost of a gate: what its picture draws."""
    costs = [cell.routes[name].cost for cell in measured.cells]
    return {
        "budget": one.budget,
        "validation": round(one.score.score, 6),
        "clean": round(float(measured.clean.routes[name].correct.mean()), 6),
        "mean": round(float(measured.correct(name).mean()), 6),
        "cards_per_image": round(float(np.mean(costs)), 6),
    }


def headlines(
    clean: Mapping[str, Bools],
    cells: Mapping[str, Bools],
    differences: Pairs,
    suite: CorruptionSuite,
    *,
    seed: int,
    resamples: int,
) -> dict[str, Json]:
    """Name -> clean, mean, severity5, noise, non_noise with intervals, for routes, cards and differences alike.

    `clean` maps a name to [n_clean], `cells` to [cells, n]; `differences` a name to (minuend, subtrahend).
    Everything is resampled with the same images, so the intervals of differences are paired.
    """
    groups = {name: mask for name, mask in cell_groups(suite.cells, suite.noise).items() if mask.any()}
    on_clean = {name: row.astype(np.float64)[:, None] for name, row in clean.items()}
    on_cells = {name: per_image_means(rows, groups) for name, rows in cells.items()}
    for name, (minuend, subtrahend) in differences.items():
        on_clean[name] = on_clean[minuend] - on_clean[subtrahend]
        on_cells[name] = on_cells[minuend] - on_cells[subtrahend]
    found = _intervals(on_clean, seed, resamples), _intervals(on_cells, seed, resamples)
    return {name: dict(zip(("clean", *groups), [*found[0][name], *found[1][name]], strict=True)) for name in on_clean}


def _intervals(columns: Mapping[str, Floats], seed: int, resamples: int) -> dict[str, list[dict[str, float]]]:
    """Name -> one interval per column of its [n, columns]; one bootstrap for all names."""
    found = iter(intervals(np.concatenate(list(columns.values()), axis=1), resamples=resamples, seed=seed))
    return {name: [next(found).as_dict() for _ in range(block.shape[1])] for name, block in columns.items()}


def table(values: Sequence[float] | Floats, suite: CorruptionSuite, digits: int = 6) -> dict[str, list[float]]:
    """One value per cell -> {corruption: [severity 1..5]}."""
    rows = np.asarray(values, dtype=np.float64).reshape(len(suite.corruptions), len(SEVERITIES))
    return {name: [round(float(v), digits) for v in row] for name, row in zip(suite.corruptions, rows, strict=True)}


def counts(values: Sequence[int], suite: CorruptionSuite) -> dict[str, list[int]]:
    """One count per cell -> {corruption: [severity 1..5]}."""
    rows = np.asarray(values, dtype=np.int64).reshape(len(suite.corruptions), len(SEVERITIES))
    return {name: [int(v) for v in row] for name, row in zip(suite.corruptions, rows, strict=True)}


def _costs(measured: Measured, route: str) -> Json:
    """Mean card passes per image, over the cells and on clean images."""
    cells = float(np.mean([cell.routes[route].cost for cell in measured.cells]))
    return {
        "cards_per_image": round(cells, 6),
        "cards_per_image_clean": round(measured.clean.routes[route].cost, 6),
    }


def card_facts(card: Card, deck: Deck) -> Json:
    """What a card is and costs; MACs are per image, `macs_executed` those of kept weights."""
    cost = card_costs(card, deck.image_size)
    return {
        "id": card.id,
        "name": card.name,
        "augmentation": card.augmentation,
        "density": round(card.density, 6),
        "weights": card.num_weights,
        "weights_kept": card.num_kept,
        "bits": card.record.bits,
        "epochs": card.record.schedule.get("epochs"),
        "averaged": bool(card.record.average_of),
        "macs": cost.macs,
        "macs_executed": cost.macs_executed,
        "flop_density": round(cost.flop_density, 6),
    }
