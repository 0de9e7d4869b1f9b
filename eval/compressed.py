"""Do compressed cards stay robust? A deck and its compressed versions on the same corrupted images.

A version is a deck whose cards have the same names as the first deck's: the same networks with other values. Averages
that one of them lacks belong to its gated deck alone, and are not among the cards compared. Each runs in the engine
that is asked for; AUTO is, for each card, the fastest here that agrees with the reference, as when it is served. Two
runs give the same numbers where AUTO takes the same engines, which the JSON names; engines agree to rounding only.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from cards_deck.card import card_bytes
from cards_deck.deck import Deck, card_sizes, size_on_disk
from cards_deck.inference.predictor import combine
from eval.cells import Images
from eval.context import Context
from eval.measure import CellAnswers, Job, cell_job, clean_job, labels_of
from eval.metrics import Bools, is_correct
from eval.results import headlines
from eval.routing import Gated
from eval.suites._base import Json
from eval.suites.corruptions import CorruptionSuite
from eval.timing import SIZES, medians
from eval.validation import Choice
from eval.versions import Version, listed, precision, versions_of


@dataclass(frozen=True, eq=False)
class Summary:
    """One version on one cell: `correct` bool [n] of the gated deck and then of each card; `cost` mean card passes."""

    correct: tuple[Bools, ...]
    cost: float


@dataclass(frozen=True)
class Compressed:
    """The protocol of `suite` on the deck of the context and on `others`. Not registered: it needs their folders."""

    name: ClassVar[str] = "compressed"
    kind: ClassVar[str] = "compressed"

    suite: CorruptionSuite
    others: tuple[Deck, ...]

    @property
    def title(self) -> str:
        """What the numbers are called."""
        return f"Compressed cards on {self.suite.title}"

    @property
    def data(self) -> str:
        """The data set measured by default."""
        return self.suite.data

    def measure(self, context: Context) -> Json:
        """See `Suite`; the first of "versions" is the deck itself, which the others are compared with."""
        settings = context.settings
        versions = versions_of(context, self.others)
        test, best = context.dataset("test"), best_of(versions[0])
        cells = self.suite.cells_of(context, test)
        jobs = [clean_job(test), *(cell_job(cells, *cell) for cell in self.suite.cells)]
        return {
            "title": f"Compressed cards on {self.suite.title_for(settings.name, cells.source, cells.seed)}",
            "benchmark": self.suite.name,
            "data": context.describe(test),
            "n": len(cells.labels),
            "n_clean": len(test),
            "source": cells.source,
            "frost": cells.frost if "frost" in self.suite.corruptions else None,
            "engine": ", ".join(f"{version.label}: {listed(version.engines)}" for version in versions),
            "best_card": best.as_dict(context.deck),
            "versions": self._rows(versions, list(summaries(versions, jobs)), settings.seed, settings.resamples),
            "timing": timing(versions, test.images, versions[0].places.index(best.place)) if settings.timing else None,
        }

    def _rows(
        self, versions: Sequence[Version], cells: Sequence[Sequence[Summary]], seed: int, resamples: int
    ) -> list[Json]:
        """One row per version from its summaries, [1 + cells][versions]; everything is resampled together."""
        clean, corrupted, pairs = {}, {}, {}
        for place, version in enumerate(versions):
            for column in range(1 + len(version.places)):
                name = _key(place, column)
                first, *rest = [cell[place].correct[column] for cell in cells]
                clean[name], corrupted[name] = first, np.stack(rest)
                if place:
                    pairs[f"{name} difference"] = (name, _key(0, column))
        lines = headlines(clean, corrupted, pairs, self.suite, seed=seed, resamples=resamples)
        costs = [[cell[place].cost for cell in cells] for place in range(len(versions))]
        return [_row(place, version, lines, costs[place]) for place, version in enumerate(versions)]


def _key(version: int, column: int) -> str:
    return f"{version}/{column}"


def _row(place: int, version: Version, lines: Mapping[str, Json], costs: Sequence[float]) -> Json:
    deck, sizes = version.deck, card_sizes(version.deck)
    measured = [
        lines[_key(place, column)] | {"difference": lines.get(f"{_key(place, column)} difference")}
        for column in range(1 + len(version.cards))
    ]
    passes = {
        "cards_per_image": round(float(np.mean(costs[1:])), 6),
        "cards_per_image_clean": round(costs[0], 6),
    }
    return {
        "label": version.label,
        "deck": deck.name,
        "deck_version": deck.version,
        "bytes": size_on_disk(deck.folder) if deck.folder is not None else None,
        "bits": list(dict.fromkeys(card.record.bits for card in version.cards)),
        "engine": listed(version.engines),
        "gate": deck.gate.summary(),
        "gated": measured[0] | passes,
        "cards": [
            {
                "id": card.id,
                "name": card.name,
                "quantizer": precision(card),
                "bits": card.record.bits,
                "bytes": sizes[card.name],
                "bytes_alone": len(card_bytes(card)),
                "engine": engine,
                **line,
            }
            for card, engine, line in zip(version.cards, version.engines, measured[1:], strict=True)
        ],
    }


def best_of(version: Version) -> Choice:
    """The best single card of those compared."""
    best = version.context.best_card
    if best.place in version.places:
        return best
    cards = version.context.deck.cards
    plain = [place for place in version.places if not cards[place].mirrored] or version.places
    place = max(plain, key=lambda place: best.scores[place]) if best.scores else plain[0]
    return dataclasses.replace(best, place=place, chosen_on=f"{best.chosen_on}, of the cards that all versions have")


def summaries(versions: Sequence[Version], jobs: Sequence[Job]) -> Iterator[list[Summary]]:
    """Every version's summary of each job, in order; a cell's images are made once for all versions."""
    context = versions[0].context
    progress = context.progress(len(versions) * sum(job.size for job in jobs), "compressed")

    def measured(job: Job) -> list[Summary]:
        once = dataclasses.replace(job, images=functools.cache(job.images), key=functools.cache(job.key))
        found = []
        for version in versions:
            (cell,) = version.context.measurer.run([once], threads=1, progress=progress)
            found.append(summarise(cell, version.places))
        return found

    pool = ThreadPoolExecutor(context.settings.threads)
    try:
        yield from pool.map(measured, jobs)
    finally:
        pool.shutdown(cancel_futures=True)


def summarise(cell: CellAnswers, places: Sequence[int]) -> Summary:
    """Which images the gated deck and the cards at `places` answer right."""
    labels, routed = labels_of(cell), Gated().route(cell)
    gated = is_correct(combine(cell.logits, routed.weights), labels)
    cards = is_correct(cell.logits, labels)
    return Summary((gated, *(cards[place] for place in places)), float(routed.cost.mean()))


def timing(versions: Sequence[Version], images: Images, best_card: int) -> Json:
    """Median milliseconds per image of the best of the compared cards alone and of the gated deck, one thread.

    Versions take turns, so that a slow spell of the machine meets all of them alike.
    """
    ways: dict[tuple[str, str], Callable[[Images], object]] = {}
    for version in versions:
        predictor, place = version.context.predictor, version.places[best_card]
        ways[version.label, "card"] = functools.partial(predictor.card_logits, card=place)
        ways[version.label, "gated"] = predictor.predict
    taken = {size: medians(ways, images, size) for size in SIZES}
    return {
        "threads": 1,
        "unit": "milliseconds per image; keys are images per batch",
        "card": versions[0].cards[best_card].name,
        "versions": {
            version.label: {"engine": version.engines[best_card]}
            | {
                what: {str(size): round(taken[size][version.label, what] / size, 5) for size in SIZES}
                for what in ("card", "gated")
            }
            for version in versions
        },
    }
