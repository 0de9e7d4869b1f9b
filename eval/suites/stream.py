"""Streams of corruptions, one image at a time, in orders that make test-time adaptation fail.

The orders are those of its benchmarks: continual, one corruption after another (Wang et al., CoTTA, CVPR 2022); mixed,
all corruptions shuffled (Marsden et al., ROID, WACV 2024); correlated, one corruption after another with labels in runs
(Yuan et al., RoTTA, CVPR 2023). All at severity 5, as published there. A deck keeps no state, so the same images must
get the same answers in every order and in a batch; here that is measured on the served predictor, and not assumed.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from cards_deck.inference.predictor import Predictor, combine
from cards_deck.spectrum import Floats as Floats32
from cards_deck.spectrum import Images
from eval.cells import Cells
from eval.context import Context
from eval.measure import cell_job, labels_of
from eval.metrics import Interval, bootstrap_means, intervals, is_correct
from eval.routing import BestCard, Gated, Route, Uniform
from eval.suites._base import Json, register
from eval.suites._stream_orders import (
    SEVERITY,
    STREAM,
    Order,
    Sample,
    clean_sample,
    stream_orders,
    stream_sample,
)
from eval.suites.ood import corruption_suite

WARM_UP = 5  # answers before the clock starts
ROUNDING = 1e-5  # what a predictor promises: a batch may add numbers in another order


@dataclass(frozen=True, eq=False)
class Streamed:
    """Answers to a stream, put back in the order of the sample: `probabilities` float32 [s, c], `choice` [s], `cards`
    [s] that ran, and `seconds` [s] in the order of the stream."""

    probabilities: Floats32
    choice: NDArray[np.int64]
    cards: NDArray[np.int64]
    seconds: NDArray[np.float64]


@dataclass(frozen=True)
class StreamSuite:
    """The same corrupted images in several orders, at batch size 1."""

    kind: ClassVar[str] = "stream"

    name: str = "stream"
    title: str = "Streams of CIFAR-10-C at severity 5"
    data: str = "cifar10"

    def measure(self, context: Context) -> Json:
        """See `Suite`. `errors` are of all images in all cells of severity 5; the streams hold a sample of them."""
        settings = context.settings
        test, suite = context.dataset("test"), corruption_suite(settings.name)
        cells = suite.cells_of(context, test)
        fewer = dataclasses.replace(settings, subset=min(settings.subset or len(test), STREAM * len(suite.corruptions)))
        sample = stream_sample(suite.cells_of(Context(context.deck, fewer), test), suite.corruptions, settings.seed)
        errors = _errors(context, cells, suite.corruptions)
        streamed = _streamed(context, sample, stream_orders(sample, settings.seed))
        rows = _rows(context, sample, streamed)
        clean = clean_sample(test, len(sample.labels), settings.seed)
        calm = _streamed(context, clean, {"clean": np.arange(len(clean.labels))})
        source = suite.title_for(settings.name, cells.source, settings.seed)
        return {
            "title": f"Streams of {source}, severity {SEVERITY}",
            "data": context.describe(test),
            "n": len(cells.labels),
            "n_stream": len(sample.labels),
            "source": cells.source,
            "corruptions": list(suite.corruptions),
            "severity": SEVERITY,
            "best_card": context.best_card.as_dict(context.deck),
            "errors": errors,
            "orders": [*rows, *_rows(context, clean, calm)],
            "same_answers_in_every_order": _agree(list(streamed.values())),
            "timing": _timing(streamed | calm) if settings.timing else None,
        }


def stream(predictor: Predictor, images: Images, order: Order) -> Streamed:
    """Answer uint8 [s, h, h, 3] one by one in `order` [s]; the first few are answered once before the clock starts."""
    for place in order[:WARM_UP]:
        predictor.predict(images[place : place + 1])
    probabilities = np.empty((len(images), len(predictor.deck.classes)), np.float32)
    choice, cards = np.empty(len(images), np.int64), np.empty(len(images), np.int64)
    seconds = np.empty(len(order))
    for step, place in enumerate(order):
        start = time.perf_counter()
        answer = predictor.predict(images[place : place + 1])
        seconds[step] = time.perf_counter() - start
        probabilities[place], choice[place] = answer.probabilities[0], answer.choice[0]
        cards[place] = answer.ran[0].sum()
    return Streamed(probabilities, choice, cards, seconds)


def clustered_mean(values: NDArray[np.floating], clusters: NDArray[np.intp], *, resamples: int, seed: int) -> Interval:
    """Mean of `values` [s] with its 95 % bootstrap interval; values of one cluster [s] are resampled together."""
    _, cluster = np.unique(clusters, return_inverse=True)
    totals = np.stack([np.bincount(cluster, values), np.bincount(cluster)], axis=1).astype(np.float64)
    means = bootstrap_means(totals, resamples=resamples, seed=seed)
    low, high = np.quantile(means[:, 0] / means[:, 1], [0.025, 0.975])
    return Interval(float(values.mean()), float(low), float(high))


def _errors(context: Context, cells: Cells, corruptions: tuple[str, ...]) -> dict[str, Json]:
    """Route -> error over all images and corruptions at severity 5, from batches."""
    settings = context.settings
    routes: Mapping[str, Route] = {
        "gated": Gated(),
        "uniform": Uniform(context.deck.originals),
        "best_card": BestCard(context.best_card.place),
    }
    jobs = [cell_job(cells, name, SEVERITY) for name in corruptions]
    progress = context.progress(sum(job.size for job in jobs), f"{settings.suite.name}, all images")
    wrong = np.zeros((len(cells.labels), len(routes)))
    for cell in context.measurer.run(jobs, threads=settings.threads, progress=progress):
        for column, route in enumerate(routes.values()):
            wrong[:, column] += ~is_correct(combine(cell.logits, route.route(cell).weights), labels_of(cell))
    found = intervals(wrong / len(jobs), resamples=settings.resamples, seed=settings.seed)
    return {name: interval.as_dict() for name, interval in zip(routes, found, strict=True)}


def _streamed(context: Context, sample: Sample, orders: Mapping[str, Order]) -> dict[str, Streamed]:
    """Order -> answers to the sample in that order."""
    progress = context.progress(len(sample.labels) * len(orders), f"{context.settings.suite.name}, one by one")
    found = {}
    for name, order in orders.items():
        found[name] = stream(context.predictor, sample.images, order)
        progress.add(len(order), name)
    return found


def _rows(context: Context, sample: Sample, streamed: Mapping[str, Streamed]) -> list[Json]:
    """One row per order, against the answers to the sample in one batch."""
    settings = context.settings
    batch = context.predictor.predict(sample.images)
    rows = []
    for name, found in streamed.items():
        labels = found.probabilities.argmax(axis=1)
        wrong = (labels != sample.labels).astype(np.float64)
        error = clustered_mean(wrong, sample.sources, resamples=settings.resamples, seed=settings.seed)
        close = np.abs(found.probabilities - batch.probabilities).max() <= ROUNDING
        same = close and (labels == batch.labels).all() and (found.choice == batch.choice).all()
        rows.append(
            {
                "order": name,
                "n": len(sample.labels),
                "error": error.as_dict(),
                "same_answers_as_batch": bool(same),
                "cards_per_image": round(float(found.cards.mean()), 6),
            }
        )
    return rows


def _agree(streamed: Sequence[Streamed]) -> bool:
    """Whether every answer is the same, bit for bit, in every order."""
    first = streamed[0].probabilities
    return all((first == other.probabilities).all() for other in streamed)


def _timing(streamed: Mapping[str, Streamed]) -> Json:
    """Milliseconds per image, median and 99th percentile, of each order."""
    return {
        f"p{level}_ms": {
            name: round(float(np.percentile(found.seconds, level)) * 1000, 4) for name, found in streamed.items()
        }
        for level in (50, 99)
    }


register(StreamSuite())
