"""From outcomes to the JSON of a report: plain dictionaries, numbers rounded to six digits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cards_deck.corruptions import NOISE, SEVERITIES
from cards_deck.deck import Deck
from eval.metrics import Bools, Floats, cell_groups, intervals, per_image_means
from eval.routes import ROUTES, Outcome, cards_per_image, correct_by_route
from eval.suites import Suite

Json = dict[str, Any]


def headlines(
    clean: Mapping[str, Bools], cells: Mapping[str, Bools], suite: Suite, **bootstrap: int
) -> dict[str, Json]:
    """Name -> clean, mean, severity5, noise, non_noise with intervals, for routes, cards and differences alike.

    `clean` maps a name to [n_clean], `cells` to [cells, n]. Every name is resampled with the same images.
    """
    groups = cell_groups(suite.cells, NOISE)
    names = list(clean)
    clean_columns = np.stack([clean[name] for name in names], axis=1).astype(np.float64)
    columns = np.concatenate([per_image_means(cells[name], groups) for name in names], axis=1)
    return _named(names, list(groups), clean_columns, columns, **bootstrap)


def _named(names: Sequence[str], groups: list[str], clean: Floats, cells: Floats, **bootstrap: int) -> dict[str, Json]:
    clean_intervals = intervals(clean, **bootstrap)
    cell_intervals = intervals(cells, **bootstrap)
    width = len(groups)
    return {
        name: {"clean": clean_intervals[i].as_dict()}
        | {group: cell_intervals[i * width + j].as_dict() for j, group in enumerate(groups)}
        for i, name in enumerate(names)
    }


def differences(
    clean: Mapping[str, Bools],
    cells: Mapping[str, Bools],
    pairs: Mapping[str, tuple[str, str]],
    suite: Suite,
    **bootstrap: int,
) -> dict[str, Json]:
    """Paired differences: `pairs` maps a name to (minuend, subtrahend), e.g. gated - uniform -> the headline fields."""
    groups = cell_groups(suite.cells, NOISE)
    clean_columns = np.stack([clean[a].astype(np.float64) - clean[b] for a, b in pairs.values()], axis=1)
    columns = np.concatenate(
        [per_image_means(cells[a], groups) - per_image_means(cells[b], groups) for a, b in pairs.values()], axis=1
    )
    return _named(list(pairs), list(groups), clean_columns, columns, **bootstrap)


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
    bootstrap = {"seed": seed, "resamples": resamples}
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
    lines = headlines(by_clean, by_cell, suite, **bootstrap)
    used, used_clean = cards_per_image(cells), cards_per_image([clean])
    routes = {
        name: lines[name]
        | {"cards_per_image": round(used[name], 6), "cards_per_image_clean": round(used_clean[name], 6)}
        for name in ROUTES
    }
    return {
        "routes": routes,
        "differences": differences(by_clean, by_cell, pairs, suite, **bootstrap),
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
