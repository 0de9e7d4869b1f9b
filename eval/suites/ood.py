"""Out-of-distribution detection: does a deck notice images that none of its classes fits?

Sets and convention follow OpenOOD v1.5 (Zhang et al., 2023): near are images of other classes in the same style, far
are textures and digits. Generated noise and sets that the user names are listed by themselves. Full-spectrum detection
(Yang et al., IJCV 2023) counts corrupted images of the known classes as known: a score that flags every corruption,
as a spectral distance must, shows it there.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from cards_deck.corruptions import CORRUPTIONS, SEVERITIES
from cards_deck.data import Dataset
from cards_deck.errors import DataError
from cards_deck.inference.predictor import combine
from eval.cells import balanced_subset, ranks_by_pixels
from eval.context import Context
from eval.measure import CellAnswers, Job, cell_job, clean_job, labels_of
from eval.metrics import Floats, intervals, is_correct
from eval.suites._base import SUITES, Json, register
from eval.suites._ood_neighbours import Neighbours, neighbours
from eval.suites._ood_scores import CONVENTION, DEFINITIONS, TITLES, card_scores, detection_table, ood_routes
from eval.suites._ood_sets import OutsideSet, Skipped, outside_sets
from eval.suites.corruptions import CorruptionSuite

FULL_SPECTRUM = 1000  # images of each corrupted cell, unless fewer are asked for


@dataclass(frozen=True)
class OodSuite:
    """Known images against sets of unknown ones, for every score."""

    kind: ClassVar[str] = "ood"

    name: str = "ood"
    title: str = "Out-of-distribution detection"
    data: str = "cifar10"

    def measure(self, context: Context) -> Json:
        """See `Suite`."""
        settings = context.settings
        test = context.dataset("test")
        known = test.subset(balanced_subset(test.labels, ranks_by_pixels(test.images, settings.seed), settings.subset))
        sets, skipped = outside_sets(
            settings.root,
            settings.name,
            context.deck.image_size,
            subset=settings.subset,
            seed=settings.seed,
            own=settings.ood,
        )
        near_by = _neighbours(context, skipped)
        cells, source, shifted = _corrupted(context, test)
        jobs = [clean_job(known), *shifted, *(_job(outside) for outside in sets)]
        scores, first = _scores(context, jobs, near_by)
        spectrum = [scores[0], *scores[1 : 1 + len(shifted)]]
        everything = {name: np.concatenate([part[name] for part in spectrum]) for name in scores[0]}
        unknown = {outside.name: found for outside, found in zip(sets, scores[1 + len(shifted) :], strict=True)}
        groups = {outside.name: outside.group for outside in sets}
        return {
            "data": context.describe(test),
            "n": len(known),
            "source": "public test sets and generated noise",
            "best_card": context.best_card.as_dict(context.deck),
            "accuracy": _accuracy(context, first),
            "sets": [_described(outside) for outside in sets],
            "skipped": [dataclasses.asdict(one) for one in skipped],
            "convention": CONVENTION,
            "titles": {name: TITLES[name] for name in everything},
            "definitions": {name: DEFINITIONS[name] for name in everything},
            "scores": detection_table(scores[0], unknown, groups),
            "full_spectrum": {
                "source": source,
                "cells": [list(cell) for cell in cells],
                "n_cell": shifted[0].size,
                "n": len(everything["disagreement"]),
            },
            "fsood": detection_table(everything, unknown, groups),
        }


def _neighbours(context: Context, skipped: list[Skipped]) -> Neighbours | None:
    try:
        return neighbours(context)
    except DataError as error:
        print(f"no nearest neighbours ({error})", file=sys.stderr)
        reason = f"it needs the training split: {error}".replace(str(context.settings.root), "DATA")
        skipped.append(Skipped("nearest neighbours", reason))
        return None


def full_spectrum_cells(seed: int) -> list[tuple[str, int]]:
    """Each corruption once, at a seeded severity; every severity as often as the others."""
    severities = np.resize(SEVERITIES, len(CORRUPTIONS))
    drawn = np.random.default_rng([seed, 15]).permutation(severities)
    return [(name, int(severity)) for name, severity in zip(CORRUPTIONS, drawn, strict=True)]


def _corrupted(context: Context, test: Dataset) -> tuple[list[tuple[str, int]], str, list[Job]]:
    """(the cells, "official" or "regenerated", their jobs): the cells of the corruption suite of this data set."""
    settings = context.settings
    fewer = dataclasses.replace(settings, subset=min(settings.subset or FULL_SPECTRUM, FULL_SPECTRUM))
    suite = corruption_suite(settings.name)
    cells = suite.cells_of(Context(context.deck, fewer), test)
    chosen = full_spectrum_cells(settings.seed)
    return chosen, cells.source, [cell_job(cells, *cell) for cell in chosen]


def corruption_suite(data: str) -> CorruptionSuite:
    """The suite of the 15 corruptions named for a data set; CIFAR-10-C's where there is none."""
    suites = [suite for suite in SUITES.values() if isinstance(suite, CorruptionSuite)]
    fitting = [suite for suite in suites if suite.data == data and suite.corruptions == CORRUPTIONS]
    return (fitting or [suite for suite in suites if suite.name == "cifar10-c"])[0]


def _job(outside: OutsideSet) -> Job:
    return Job(f"{outside.name}", lambda: outside.images, None, lambda: outside.key, len(outside.images))


def _scores(
    context: Context, jobs: Sequence[Job], near_by: Neighbours | None
) -> tuple[list[dict[str, Floats]], CellAnswers]:
    """The scores of every job, and the answers to the first."""
    progress = context.progress(sum(job.size for job in jobs), context.settings.suite.name)
    found: list[dict[str, Floats]] = []
    kept: list[CellAnswers] = []
    for job, cell in zip(
        jobs, context.measurer.run(jobs, threads=context.settings.threads, progress=progress), strict=True
    ):
        kept = kept or [cell]
        scores = card_scores(cell, context.deck)
        if near_by is not None:
            scores[near_by.vectors.score] = near_by.scores(job, cell)
        found.append(scores)
    return found, kept[0]


def _accuracy(context: Context, cell: CellAnswers) -> Json:
    """Accuracy of both routes on the known images, with intervals."""
    routes = ood_routes(context.deck)
    columns = [
        is_correct(combine(cell.logits, route.route(cell).weights), labels_of(cell)) for route in routes.values()
    ]
    settings = context.settings
    found = intervals(np.stack(columns, axis=1).astype(np.float64), resamples=settings.resamples, seed=settings.seed)
    return {name: interval.as_dict() for name, interval in zip(routes, found, strict=True)}


def _described(outside: OutsideSet) -> Json:
    return {"name": outside.name, "group": outside.group, "n": len(outside.images), "what": outside.what}


register(OodSuite())
