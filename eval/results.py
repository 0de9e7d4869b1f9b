"""From outcomes to the JSON of a report: plain dictionaries, numbers rounded to six digits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cards_deck.corruptions import SEVERITIES
from cards_deck.deck import Deck
from eval.metrics import Bools, Floats, cell_groups, intervals, per_image_means
from eval.routes import ROUTES, Outcome, cards_per_image, correct_by_route

if TYPE_CHECKING:
    from eval.suites.corruptions import CorruptionSuite as Suite

Json = dict[str, Any]


def headlines(
    clean: Mapping[str, Bools],
    cells: Mapping[str, Bools],
    differences: Mapping[str, tuple[str, str]],
    suite: Suite,
    *,
    seed: int,
    resamples: int,
) -> dict[str, Json]:
    """Name -> clean, mean, severity5, noise, non_noise with intervals, for routes, cards and differences alike.

    `clean` maps a name to [n_clean], `cells` to [cells, n]; `differences` a name to (minuend, subtrahend).
    Everything is resampled with the same images, so the intervals of differences are paired.
    """
    groups = cell_groups(suite.cells, suite.noise)
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


def table(values: Sequence[float] | Floats, suite: Suite, digits: int = 6) -> dict[str, list[float]]:
    """One value per cell -> {corruption: [severity 1..5]}."""
    rows = np.asarray(values, dtype=np.float64).reshape(len(suite.corruptions), len(SEVERITIES))
    return {name: [round(float(v), digits) for v in row] for name, row in zip(suite.corruptions, rows, strict=True)}


def counts(values: Sequence[int], suite: Suite) -> dict[str, list[int]]:
    """One count per cell -> {corruption: [severity 1..5]}."""
    rows = np.asarray(values, dtype=np.int64).reshape(len(suite.corruptions), len(SEVERITIES))
    return {name: [int(v) for v in row] for name, row in zip(suite.corruptions, rows, strict=True)}


def gate_results(deck: Deck, clean: Outcome, cells: list[Outcome], suite: Suite) -> Json:
    """What the gate chose: counts and shares of the nearest augmentation, weight given to cards, unknown inputs."""
    names = deck.references.augmentations
    trained = np.array([card.augmentation for card in deck.cards])
    choices: Json = {}
    for place, name in enumerate(names):
        chosen = [int((cell.choice == place).sum()) for cell in (clean, *cells)]
        weight = [float(cell.card_weight[trained == name].sum()) for cell in (clean, *cells)]
        share = [count / len(cell.choice) for count, cell in zip(chosen, (clean, *cells), strict=True)]
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
            "clean": round(float(clean.unknown.mean()), 6),
            "cells": table([float(cell.unknown.mean()) for cell in cells], suite),
        },
        "cards_per_image": {
            "clean": round(float(clean.cards_used.mean()), 6),
            "cells": table([float(cell.cards_used.mean()) for cell in cells], suite),
        },
    }


def results(
    deck: Deck, clean: Outcome, cells: list[Outcome], suite: Suite, *, best_card: int, seed: int, resamples: int
) -> Json:
    """The measured part of the report: routes, differences, cards, cells and gate."""
    by_clean = {name: rows[0] for name, rows in correct_by_route([clean], best_card).items()}
    by_cell = correct_by_route(cells, best_card)
    for place in range(len(deck.cards)):
        by_clean[f"card {place}"] = clean.cards[place]
        by_cell[f"card {place}"] = np.stack([cell.cards[place] for cell in cells])
    means = [float(by_cell[f"card {place}"].mean()) for place in range(len(deck.cards))]
    hindsight = int(np.argmax(means))
    pairs = {
        "gated_minus_best_card": ("gated", "best_card"),
        "gated_minus_uniform": ("gated", "uniform"),
        "gated_minus_hindsight_card": ("gated", f"card {hindsight}"),
    }
    lines = headlines(by_clean, by_cell, pairs, suite, seed=seed, resamples=resamples)
    used, used_clean = cards_per_image(cells), cards_per_image([clean])
    routes = {
        name: lines[name]
        | {"cards_per_image": round(used[name], 6), "cards_per_image_clean": round(used_clean[name], 6)}
        for name in ROUTES
    }
    return {
        "routes": routes,
        "differences": {name: lines[name] for name in pairs},
        "hindsight_card": {"id": deck.cards[hindsight].id, "name": deck.cards[hindsight].name},
        "cards": [_card(deck, place) | lines[f"card {place}"] for place in range(len(deck.cards))],
        "cells": {
            "routes": {name: table(by_cell[name].mean(axis=1), suite) for name in ROUTES},
            "cards": {
                card.id: table(by_cell[f"card {place}"].mean(axis=1), suite) for place, card in enumerate(deck.cards)
            },
        },
        "gate": gate_results(deck, clean, cells, suite),
    }


def _card(deck: Deck, place: int) -> Json:
    card = deck.cards[place]
    return {
        "id": card.id,
        "name": card.name,
        "augmentation": card.augmentation,
        "density": round(card.density, 6),
        "weights": card.num_weights,
        "weights_kept": card.num_kept,
        "bits": card.record.bits,
    }
