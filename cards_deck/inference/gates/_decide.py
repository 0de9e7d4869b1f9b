"""The one loop in which a gate and its cards answer: used by the predictor and by every study of gates."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cards_deck.errors import InputError
from cards_deck.inference.gates._base import Bools, Gate, Routing, largest
from cards_deck.spectrum import Floats

Rows = NDArray[np.intp]
Run = Callable[[int, Rows], Floats]


@dataclass(frozen=True, eq=False)
class Decision:
    """Rows are images. `weights` float32 [n, k] of the answer, rows sum to 1; `ran` bool [n, k]: cards that were run;
    `logits` float32 [k, n, c], zero where a card did not run; `routing`: what the gate said first, before any card had
    answered; `in_time` bool [n]: no card that the gate wanted was left out for lack of time."""

    weights: Floats
    ran: Bools
    logits: Floats
    routing: Routing
    in_time: Bools


def decide(gate: Gate, spectra: Floats, run: Run, *, deadline: float | None = None, window: bool = False) -> Decision:
    """Route spectra [n, h, h//2+1], run the cards that the gate names, let it reconsider, until it wants no more.

    `run(card, rows)` gives the logits [len(rows), c] of a card on these rows. Never more than `gate.limit` cards run
    for an image, whatever the gate asks for. Once `deadline` (`time.monotonic`, seconds) has passed no further card is
    started: every image then has the answer of the cards that ran for it, at least its heaviest. `window`: all images
    share one shift and are routed together (`Gate.route_window`).
    """
    first = gate.route_window(spectra) if window else gate.route(spectra)
    count, cards = first.weights.shape
    allowed = limited(first.weights, None, gate.limit)
    if allowed is not first.weights:
        first = dataclasses.replace(first, weights=allowed)
    answers = _Answers(run, cards, count)
    if not count:
        return Decision(first.weights, answers.ran, answers.table(), first, np.ones(0, np.bool_))
    late = answers.add(first.weights, None, deadline)
    weights = first.weights.copy()
    rows = None  # all of them
    if late.any():
        weights[late] = kept(weights[late], answers.ran[late])
        rows = np.flatnonzero(~late)
    routing = first if rows is None else part(first, rows)
    while rows is None or len(rows):
        ran = answers.ran if rows is None else answers.ran[rows]
        revised = gate.reconsider(routing, answers.of(rows), ran)
        if revised is routing:
            break
        revised = dataclasses.replace(revised, weights=limited(revised.weights, ran, gate.limit))
        weights[slice(None) if rows is None else rows] = revised.weights
        more = np.flatnonzero(((revised.weights > 0) & ~ran).any(axis=1))
        if not len(more):
            break
        rows, routing = more if rows is None else rows[more], part(revised, more)
        short = answers.add(routing.weights, rows, deadline)
        if short.any():
            weights[rows[short]] = kept(routing.weights[short], answers.ran[rows[short]])
            late[rows[short]] = True
            rows, routing = rows[~short], part(routing, np.flatnonzero(~short))
    return Decision(weights, answers.ran, answers.table(), first, ~late)


class _Answers:
    """What the cards have answered so far: `ran` bool [n, k] and their logits [k, n, c]."""

    def __init__(self, run: Run, cards: int, count: int) -> None:
        self.ran = np.zeros((count, cards), np.bool_)
        self._run, self._logits = run, np.empty((0, 0, 0), np.float32)

    def table(self) -> Floats:
        """Logits float32 [k, n, c], zero where a card did not run."""
        if not self.ran.size:
            self._keep(0, np.arange(0), self._run(0, np.arange(0)))
        return self._logits

    def of(self, rows: Rows | None) -> Floats:
        """Logits of these rows, None for all."""
        return self._logits if rows is None else self._logits[:, rows]

    def add(self, weights: Floats, rows: Rows | None, deadline: float | None) -> Bools:
        """Run the cards that weights [len(rows), k] name and that have not run; bool [len(rows)]: out of time."""
        new = weights > 0
        if rows is None:
            rows = np.arange(len(weights))
        else:
            new &= ~self.ran[rows]
        if deadline is None:
            for card, those in _columns(new, rows):
                self._keep(card, those, self._run(card, those))
            return np.zeros(len(rows), np.bool_)
        # Time is short: first the heaviest card of each row that has no answer yet, whatever the clock says.
        heaviest = largest(np.where(new, weights, np.float32(-1)), 1) & new & ~self.ran[rows].any(axis=1, keepdims=True)
        for wanted, must in ((heaviest, True), (new & ~heaviest, False)):
            for card, those in _columns(wanted, rows):
                if must or time.monotonic() < deadline:
                    self._keep(card, those, self._run(card, those))
        return np.asarray((new & ~self.ran[rows]).any(axis=1))

    def _keep(self, card: int, rows: Rows, logits: Floats) -> None:
        if not self._logits.size:
            count, cards = self.ran.shape
            self._logits = np.zeros((cards, count, logits.shape[1]), np.float32)
        self._logits[card, rows] = logits
        self.ran[rows, card] = True


def part(routing: Routing, rows: Rows) -> Routing:
    """Some rows of a routing."""
    return Routing(
        routing.weights[rows],
        routing.distances[rows],
        routing.unknown[rows],
        routing.choice[rows],
        routing.preference[rows],
        None if routing.strayed is None else routing.strayed[rows],
    )


def limited(weights: Floats, ran: Bools | None, most: int) -> Floats:
    """Weights [n, k] whose rows sum to 1 and name, with those that `ran` (None: none did), at most `most` cards.

    The heaviest stay. What is no weight (below 0, NaN, infinite) counts as 0; a row without any weight is shared by the
    cards that ran. Rows that are as they have to be are not touched.
    """
    if most < 1:
        raise InputError(f"at least one card must be allowed to run, not {most}")
    used = weights > 0 if ran is None else (weights > 0) | ran
    sound = (weights >= 0) & (weights < 1.1)
    within = sound.all() and used.sum(axis=1).max(initial=0) <= most
    if within and np.abs(weights.sum(axis=1) - 1).max(initial=0) <= 1e-5:
        return weights
    well = sound.all(axis=1) & (used.sum(axis=1) <= most)
    well &= np.abs(np.where(well[:, None], weights, 0).sum(axis=1) - 1) <= 1e-5
    repaired = weights.copy()
    repaired[~well] = _repaired(weights[~well], used[~well] & False if ran is None else ran[~well], most)
    return repaired


def _repaired(weights: Floats, ran: Bools, most: int) -> Floats:
    clean = np.where(np.isfinite(weights) & (weights > 0), weights, np.float32(0))
    clean = clean / np.maximum(clean.max(axis=1, keepdims=True), np.float32(1e-30))
    allowed = largest(np.where(ran, 2 + clean, clean), most)
    clean = np.where(allowed, clean, np.float32(0))
    nothing = clean.sum(axis=1) <= 0
    if nothing.any():
        clean[nothing] = np.where(ran[nothing].any(axis=1, keepdims=True), ran[nothing], allowed[nothing])
    return np.asarray(clean / clean.sum(axis=1, keepdims=True), np.float32)


def kept(weights: Floats, ran: Bools) -> Floats:
    """The weights of the cards that ran, shared anew; equal shares where they have none."""
    there = np.where(ran, weights, np.float32(0))
    total = there.sum(axis=1, keepdims=True)
    share = np.where(total > 0, there, ran) / np.where(total > 0, total, ran.sum(axis=1, keepdims=True))
    return np.asarray(share, np.float32)


def _columns(wanted: Bools, rows: Rows) -> Iterator[tuple[int, Rows]]:
    for card in np.flatnonzero(wanted.any(axis=0)).tolist():
        yield card, rows[wanted[:, card]]
