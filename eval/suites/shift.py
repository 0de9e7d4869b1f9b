"""Images gathered anew: CIFAR-10.1 with the effective robustness of a deck, and a folder of the user's own.

CIFAR-10.1 (Recht et al., ICML 2019) repeats how CIFAR-10 was collected; networks lose on it what their accuracy on
CIFAR-10 tells, and effective robustness (Taori et al., NeurIPS 2020) is what a deck keeps beyond that. The user's
folder says what a deck will do on the images that it is wanted for: accuracy where they are sorted by class, and always
what the gate chooses, how many spectra it does not know, and how sure the answers are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from eval.context import Context
from eval.measure import CellAnswers, Job, clean_job, labels_of
from eval.metrics import (
    Bools,
    Floats,
    bootstrap_means,
    expected_calibration_error,
    intervals,
    is_correct,
    negative_log_likelihood,
)
from eval.metrics.robustness import cifar101_line
from eval.routes import Answer
from eval.suites._base import Json, register
from eval.suites._shift_data import Shifted, cifar101, user_folder

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True)
class Cifar101Suite:
    """CIFAR-10.1 v6, beside the accuracy on CIFAR-10's own test images."""

    kind: ClassVar[str] = "shift"

    name: str = "cifar10.1"
    title: str = "CIFAR-10.1 v6"
    data: str = "cifar10"

    def measure(self, context: Context) -> Json:
        """See `Suite`."""
        settings, deck = context.settings, context.deck
        test = context.dataset("test")
        shifted = cifar101(settings.root, deck.image_size, subset=settings.subset, seed=settings.seed)
        jobs = [_job(self.name, shifted), clean_job(test)]
        progress = context.progress(sum(job.size for job in jobs), self.name)
        cell, original = context.measurer.run(jobs, threads=settings.threads, progress=progress)
        before = {
            name: is_correct(a.probabilities, test.labels) for name, a in context.routes.answers(original).items()
        }
        measured = shifted_results(context, cell)
        for name, row in measured["routes"].items():
            row["original"] = _intervals(context, {name: before[name]})[name]
        return {
            "data": _described(context, shifted, self.name),
            "n": len(shifted.images),
            "n_clean": len(test),
            "source": "official",
            **measured,
            "effective_robustness": effective(context, cell, before),
        }


@dataclass(frozen=True)
class FolderSuite:
    """The user's own images, under the data root."""

    kind: ClassVar[str] = "shift"

    name: str = "folder"
    title: str = "A folder of images"
    data: str = "folder"

    def measure(self, context: Context) -> Json:
        """See `Suite`."""
        settings, deck = context.settings, context.deck
        shifted = user_folder(settings.root, deck.classes, deck.image_size, subset=settings.subset, seed=settings.seed)
        progress = context.progress(len(shifted.images), self.name)
        (cell,) = context.measurer.run([_job(self.name, shifted)], threads=1, progress=progress)
        return {
            "data": _described(context, shifted, self.name),
            "n": len(shifted.images),
            "source": "the user's own",
            **shifted_results(context, cell),
        }


def shifted_results(context: Context, cell: CellAnswers) -> Json:
    """routes, differences, gate_choices and answers of the JSON, from the answers to the shifted images."""
    answers = context.routes.answers(cell)
    accuracy: dict[str, Json] = {}
    differences: dict[str, Json] = {}
    if cell.labels is not None:
        correct = {name: is_correct(answer.probabilities, cell.labels) for name, answer in answers.items()}
        accuracy = _intervals(context, correct)
        systems = [name for name in context.routes.systems if name != "gated"]
        paired = {f"gated_minus_{name}": correct["gated"].astype(float) - correct[name] for name in systems}
        differences = {name: {"accuracy": found} for name, found in _intervals(context, paired).items()}
    return {
        "best_card": context.best_card.as_dict(context.deck),
        **context.validation_facts(),
        "routes": {name: _route(answer, cell) | {"accuracy": accuracy.get(name)} for name, answer in answers.items()},
        "differences": differences,
        "gate_choices": _gate(context, cell),
        "answers": _predicted(context, answers["gated"]),
    }


def effective(context: Context, cell: CellAnswers, before: Mapping[str, Bools]) -> dict[str, Json]:
    """Route -> accuracy above the line of published networks, with its interval: both test sets are resampled, each by
    itself, since they hold other images. Only for routes that could be served."""
    settings, found = context.settings, {}
    for name in context.routes.systems:
        after = is_correct(context.routes.answer(name, cell).probabilities, labels_of(cell))
        rows = [
            bootstrap_means(_column(row), resamples=settings.resamples, seed=settings.seed + offset)[:, 0]
            for offset, row in enumerate((after, before[name]))
        ]
        drawn = rows[0] - np.array([cifar101_line(min(max(x, 0.0), 1.0)) for x in rows[1]])
        low, high = np.quantile(drawn, [0.025, 0.975])
        value = float(after.mean()) - cifar101_line(float(before[name].mean()))
        found[name] = {"value": round(value, 6), "low": round(float(low), 6), "high": round(float(high), 6)}
    return found


def _job(name: str, shifted: Shifted) -> Job:
    key = f"{shifted.sha256[:16]}/clean"
    return Job(name, lambda: shifted.images, shifted.labels, lambda: key, len(shifted.images))


def _described(context: Context, shifted: Shifted, name: str) -> Json:
    return {
        "name": name,
        "split": "test",
        "classes": len(context.deck.classes),
        "labelled": shifted.labels is not None,
        "image_size": context.deck.image_size,
        "sha256": shifted.sha256,
    }


def _column(values: NDArray[Any]) -> Floats:
    return np.asarray(values, dtype=np.float64)[:, None]


def _intervals(context: Context, rows: Mapping[str, NDArray[Any]]) -> dict[str, Json]:
    settings = context.settings
    columns = np.concatenate([_column(row) for row in rows.values()], axis=1)
    found = intervals(columns, resamples=settings.resamples, seed=settings.seed)
    return {name: interval.as_dict() for name, interval in zip(rows, found, strict=True)}


def _route(answer: Answer, cell: CellAnswers) -> Json:
    """Cost and confidence at the route's temperature; with labels also how well calibrated it is."""
    chances = answer.tempered
    sure = chances.max(axis=1)
    quantiles = {
        f"p{round(100 * q)}": round(float(v), 6) for q, v in zip(QUANTILES, np.quantile(sure, QUANTILES), strict=True)
    }
    row: Json = {
        "cards_per_image": round(float(answer.cost.mean()), 6),
        "confidence": {"mean": round(float(sure.mean()), 6), **quantiles},
    }
    if cell.labels is not None:
        row["ece"] = round(expected_calibration_error(sure, chances.argmax(axis=1) == cell.labels), 6)
        row["nll"] = round(negative_log_likelihood(chances, cell.labels), 6)
    return row


def _gate(context: Context, cell: CellAnswers) -> Json:
    """What the gate chose on these images."""
    choice, n = cell.routing.choice, len(cell.routing.choice)
    counts = {name: int((choice == place).sum()) for place, name in enumerate(context.deck.references.augmentations)}
    return {
        "choices": {name: {"count": count, "share": round(count / n, 6)} for name, count in counts.items()},
        "unknown": round(float(cell.routing.unknown.mean()), 6),
        "cards_per_image": round(float(cell.decision.ran.sum(axis=1).mean()), 6),
    }


def _predicted(context: Context, answer: Answer) -> dict[str, int]:
    """Class -> how many images the gated deck says are of it."""
    counts = np.bincount(answer.probabilities.argmax(axis=1), minlength=len(context.deck.classes))
    return {name: int(count) for name, count in zip(context.deck.classes, counts, strict=True)}


register(Cifar101Suite())
register(FolderSuite())
