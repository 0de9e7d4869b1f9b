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

Run = Callable[[int, NDArray[np.intp]], Floats]


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
    share one shift, so they are routed by their mean spectrum; distances and `unknown` stay each image's own.
    """
    first = route_window(gate, spectra) if window else gate.route(spectra)
    cards, count = first.weights.shape[1], len(first.weights)
    ran, in_time = np.zeros((count, cards), np.bool_), np.ones(count, np.bool_)
    if not count:
        empty = run(0, np.arange(0))
        return Decision(first.weights, ran, np.zeros((cards, 0, empty.shape[1]), np.float32), first, in_time)
    first = dataclasses.replace(first, weights=limited(first.weights, ran, gate.limit))
    weights, logits = first.weights.copy(), np.zeros((cards, 0, 0), np.float32)
    rows, routing = np.arange(count), first
    while True:
        for card, those in _order(routing.weights, ran[rows], rows, deadline):
            answers = run(card, those)
            if not logits.size:
                logits = np.zeros((cards, count, answers.shape[1]), np.float32)
            logits[card, those] = answers
            ran[those, card] = True
        done = ran[rows]
        late = np.asarray(((routing.weights > 0) & ~done).any(axis=1))
        in_time[rows] = ~late
        weights[rows] = np.where(late[:, None], kept(routing.weights, done), routing.weights)
        rows, routing = rows[~late], part(routing, ~late)
        if not len(rows):
            break
        revised = gate.reconsider(routing, logits[:, rows], ran[rows])
        if revised is routing:
            break
        revised = dataclasses.replace(revised, weights=limited(revised.weights, ran[rows], gate.limit))
        weights[rows] = revised.weights
        more = np.asarray(((revised.weights > 0) & ~ran[rows]).any(axis=1))
        rows, routing = rows[more], part(revised, more)
        if not len(rows):
            break
    return Decision(weights, ran, logits, first, in_time)


def route_window(gate: Gate, spectra: Floats) -> Routing:
    """Routing of every image by the mean of all the spectra; distances and `unknown` of each image by itself."""
    own = gate.route(spectra)
    if len(spectra) < 2:
        return own
    shared = gate.route(spectra.mean(axis=0, keepdims=True, dtype=np.float64).astype(np.float32))
    wide = {
        name: np.repeat(getattr(shared, name), len(spectra), axis=0) for name in ("weights", "choice", "preference")
    }
    return dataclasses.replace(own, **wide)


def part(routing: Routing, rows: Bools) -> Routing:
    """The rows of a routing that are marked."""
    return routing if rows.all() else Routing(*(getattr(routing, f.name)[rows] for f in dataclasses.fields(Routing)))


def limited(weights: Floats, ran: Bools, most: int) -> Floats:
    """Weights [n, k] whose rows sum to 1 and name, with those that `ran`, at most `most` cards: the heaviest.

    What is no weight (below 0, NaN, infinite) counts as 0; a row without any weight is shared by the cards that ran.
    """
    if most < 1:
        raise InputError(f"at least one card must be allowed to run, not {most}")
    named = weights > 0
    well = ((weights >= 0) & (weights < 1.1)).all(axis=1) & ((named | ran).sum(axis=1) <= most)
    well &= np.abs(np.where(well[:, None], weights, 0).sum(axis=1) - 1) <= 1e-5
    if well.all():
        return weights
    repaired = weights.copy()
    repaired[~well] = _repaired(weights[~well], ran[~well], most)
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


def _order(
    weights: Floats, ran: Bools, rows: NDArray[np.intp], deadline: float | None
) -> Iterator[tuple[int, NDArray[np.intp]]]:
    """(card, rows) to run. Where time is short, first the heaviest card of each row that has no answer yet."""
    new = (weights > 0) & ~ran
    if deadline is not None:
        bare = np.asarray(~ran.any(axis=1))
        heaviest = np.zeros_like(new)
        heaviest[np.arange(len(new)), np.where(new, weights, -1).argmax(axis=1)] = True
        heaviest &= bare[:, None] & new
        yield from _columns(heaviest, rows)
        new = new & ~heaviest
    for card, those in _columns(new, rows):
        if deadline is not None and time.monotonic() >= deadline:
            return
        yield card, those


def _columns(wanted: Bools, rows: NDArray[np.intp]) -> Iterator[tuple[int, NDArray[np.intp]]]:
    for card in np.flatnonzero(wanted.any(axis=0)):
        yield int(card), rows[wanted[:, card]]
