"""What a gate is fitted on: what every card says to validation images, clean and corrupted."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cards_deck.errors import InputError
from cards_deck.inference.gates._base import BaseGate, Gate, Reading, Routing
from cards_deck.inference.gates._decide import Decision, decide
from cards_deck.inference.gates._wrapped import Wrapped
from cards_deck.inference.pooling import combine
from cards_deck.spectrum import Floats

CLEAN = "clean"  # images without any shift, wherever accuracies are kept by domain
SEVERITY = re.compile(r" \d+$")  # what tells the cells of one shift apart
LEFT_OUT = 5  # groups of corruptions: each is two fits more of every kind
CHUNK = 4096  # images at a time: bounds memory
Doubles = NDArray[np.float64]
Integers = NDArray[np.int64]


class Fold(NamedTuple):
    """bool [m]: the rows that a gate is `fitted` on, and those that it is then `judged` on."""

    fitted: NDArray[np.bool_]
    judged: NDArray[np.bool_]


class Worst(NamedTuple):
    """The cell in which a gate loses most against another, how much accuracy, and the standard error of that."""

    cell: str
    loss: float
    error: float

    @property
    def surely(self) -> float:
        """What is lost at least, but for one standard error: of few images the worst of many cells is mostly noise."""
        return self.loss - self.error


@dataclass(frozen=True, eq=False)
class Observed:
    """Rows are images of validation cells: the same images in the same order in each cell.

    `spectra` [m, h, h//2+1] (float16 or float32); `logits` float32 [k, m, c] of every card; `labels` int64 [m]; `cell`
    int64 [m]: index into `names`, one of which may be "clean". Raises InputError for shapes that do not fit.
    """

    spectra: NDArray[np.floating]
    logits: Floats
    labels: Integers
    cell: Integers
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        rows = len(self.labels)
        if rows < 1 or self.spectra.ndim != 3 or self.logits.ndim != 3:
            raise InputError("a gate is fitted on spectra [m, h, h//2+1] and logits [k, m, c] of at least one image")
        if not rows == len(self.spectra) == self.logits.shape[1] == len(self.cell):
            raise InputError("spectra, logits, labels and cells must be of the same images")
        if self.cell.min() < 0 or self.cell.max() >= len(self.names):
            raise InputError(f"cells must be 0 to {len(self.names) - 1}, one for each name")
        if self.labels.min() < 0 or self.labels.max() >= self.logits.shape[2]:
            raise InputError(f"labels must be 0 to {self.logits.shape[2] - 1}")
        if not np.isfinite(self.logits).all():
            raise InputError("the cards' logits must be finite")

    @functools.cached_property
    def share(self) -> Doubles:
        """float64 [m], sum 1: half of the weight is clean, the other half is shared by the other cells; all rows of a
        cell weigh the same. All cells share everything where there are no clean images, or no others."""
        counts = np.bincount(self.cell, minlength=len(self.names))
        there = counts > 0
        clean = np.array([name == CLEAN for name in self.names]) & there
        others = there & ~clean
        both = clean.any() and others.any()
        weight = np.where(clean, 1 / max(clean.sum(), 1), 1 / max(others.sum(), 1)) * (0.5 if both else 1.0)
        return np.asarray(weight[self.cell] / counts[self.cell], np.float64)

    @functools.cached_property
    def image(self) -> Integers:
        """int64 [m]: which image it is: its place within its cell."""
        order = np.argsort(self.cell, kind="stable")
        counts = np.bincount(self.cell, minlength=len(self.names))
        place = np.empty(len(self.cell), np.int64)
        place[order] = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
        return place

    def rows(self, chosen: NDArray[np.bool_]) -> Observed:
        """The rows that are marked."""
        return Observed(
            self.spectra[chosen], self.logits[:, chosen], self.labels[chosen], self.cell[chosen], self.names
        )

    def folds(self) -> tuple[Fold, ...]:
        """Every row is judged once, by a gate that knows neither its image nor its shift: fitted on the other half of
        the images, without any severity of the same corruption. Up to `LEFT_OUT` corruptions are left out one at a
        time, more of them in as many groups. Clean and augmented images are no shift: the deck was trained for them.
        Shifts that are all there is have to be fitted on. InputError for fewer than two images in a cell."""
        even = self.image % 2 == 0
        counts = np.bincount(self.cell)
        if counts[counts > 0].min() < 2:
            raise InputError("a gate is cross-checked on two halves: give at least two images of each cell")
        shift = np.array([SEVERITY.sub("", name) if SEVERITY.search(name) else "" for name in self.names])[self.cell]
        shifts = sorted({*shift.tolist()} - {""})
        groups = [np.isin(shift, shifts[start::LEFT_OUT]) for start in range(min(LEFT_OUT, len(shifts)))]
        trained_for = shift == ""
        sides = [(np.ones_like(trained_for), trained_for)] if trained_for.any() else []
        sides += [(~group if not group.all() else group, group) for group in groups]
        return tuple(Fold(~half & fitted, half & judged) for fitted, judged in sides for half in (even, ~even))

    def decide(self, gate: Gate) -> Decision:
        """What the gate does with all rows: cards are looked up instead of run."""
        if isinstance(gate, BaseGate):
            gate = AlreadyRead(gate, read(gate, self))
        return decide(gate, np.empty((0, 0, 0), np.float32), lambda card, rows: self.logits[card, rows])


@dataclass(frozen=True, eq=False)
class AlreadyRead(Wrapped):
    """A gate for rows whose spectra have been read: several values of a parameter share one reading."""

    gate: BaseGate
    reading: Reading

    def route(self, spectra: Floats) -> Routing:
        """Of the rows that were read, whatever the spectra."""
        return self.gate.choose(self.reading)


def read(gate: BaseGate, observed: Observed) -> Reading:
    """What the gate reads from all observed spectra, some at a time: bounds memory."""
    parts = [
        gate.read(observed.spectra[start : start + CHUNK].astype(np.float32))
        for start in range(0, len(observed.spectra), CHUNK)
    ]
    distances = np.concatenate([part.distances for part in parts])
    return Reading(distances, np.concatenate([part.preference for part in parts]))


@dataclass(frozen=True)
class Score:
    """How good a gate is on observed rows: accuracies in [0, 1] and mean cards per image.

    `clean` over clean images, `corrupted`: mean over the other cells, `score` the mean of the two (one of them where
    the other is missing); `cards`: of clean images or over the other cells, whichever is more.
    """

    score: float
    clean: float
    corrupted: float
    cards: float

    def as_dict(self) -> Mapping[str, float]:
        """Rounded JSON form."""
        return {name: round(getattr(self, name), 6) for name in ("score", "clean", "corrupted", "cards")}


@dataclass(frozen=True, eq=False)
class Judged:
    """What a gate reaches row by row of `observed`: `right` bool [m], `cards` int64 [m] that ran."""

    observed: Observed
    right: NDArray[np.bool_]
    cards: Integers

    @classmethod
    def merged(cls, parts: Sequence[Judged], folds: Sequence[Fold], observed: Observed) -> Judged:
        """The rows that each of the `folds` of `observed` judges, in its order."""
        right, cards = np.empty(len(observed.labels), np.bool_), np.empty(len(observed.labels), np.int64)
        for part, fold in zip(parts, folds, strict=True):
            right[fold.judged], cards[fold.judged] = part.right, part.cards
        return cls(observed, right, cards)

    @property
    def score(self) -> Score:
        """Of all cells together."""
        rows = self.observed
        counts = np.bincount(rows.cell, minlength=len(rows.names))
        of_cell = self._of_cells(self.right)
        cards = self._of_cells(self.cards)
        clean = np.array([name == CLEAN for name in rows.names]) & (counts > 0)
        others = ~clean & (counts > 0)
        groups = [group for group in (clean, others) if group.any()]
        accuracies = [float(of_cell[group].mean()) for group in groups]
        return Score(
            score=float(np.mean(accuracies)),
            clean=accuracies[0],
            corrupted=accuracies[-1],
            cards=max(float(cards[group].mean()) for group in groups),
        )

    def minus(self, other: Judged) -> tuple[float, float]:
        """(difference of the scores, its standard error over images, which are the same ones in all cells)."""
        gain = self.observed.share * (self.right.astype(np.int64) - other.right)
        of_image = np.bincount(self.observed.image, gain)
        error = np.sqrt(len(of_image) * of_image.var(ddof=1)) if len(of_image) > 1 else np.inf
        return float(gain.sum()), float(error)

    def worst(self, other: Judged) -> Worst:
        """Where `other` is the farthest above this one."""
        loss = self._of_cells(other.right) - self._of_cells(self.right)
        place = int(np.nanargmax(np.where(np.isin(np.arange(len(loss)), self.observed.cell), loss, np.nan)))
        there = self.observed.cell == place
        lost = other.right[there].astype(np.int64) - self.right[there]
        return Worst(self.observed.names[place], float(loss[place]), float(lost.std() / np.sqrt(len(lost))))

    def same(self, other: Judged) -> bool:
        """Whether the rows are answered alike, at the same cost."""
        return np.array_equal(self.right, other.right) and np.array_equal(self.cards, other.cards)

    def _of_cells(self, values: NDArray[Any]) -> Doubles:
        """Mean of each cell, 0 where it has no rows."""
        names = len(self.observed.names)
        counts = np.bincount(self.observed.cell, minlength=names)
        return np.asarray(np.bincount(self.observed.cell, values, names) / np.maximum(counts, 1), np.float64)


def judge(gate: Gate, observed: Observed) -> Judged:
    """What the gate does with these rows."""
    decision = observed.decide(gate)
    right = combine(decision.logits, decision.weights).argmax(axis=1) == observed.labels
    return Judged(observed, right, decision.ran.sum(axis=1))


def score(gate: Gate, observed: Observed) -> Score:
    """What the gate reaches on these rows."""
    return judge(gate, observed).score
