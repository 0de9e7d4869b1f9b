"""How long an answer takes on this machine, through the predictor that serves: for the report, not for benchmarks."""

from __future__ import annotations

import copy
import functools
import statistics
import time
from collections.abc import Callable, Hashable, Mapping
from typing import Any, TypeVar

import numpy as np

from cards_deck.inference.gates import Gate, UniformGate
from cards_deck.inference.predictor import Predictor
from cards_deck.spectrum import Images

Name = TypeVar("Name", bound=Hashable)

SIZES = (1, 32)
REPEATS = {1: 60, 32: 12}


def timing(predictor: Predictor, images: Images, *, best_card: int, engines: tuple[str, ...]) -> dict[str, Any]:
    """Median milliseconds of `predict` on batches of clean images, one thread: gated, plain average; and of the best
    card alone, without spectrum and gate.

    The three take turns, so that a slow spell of the machine meets all of them alike.
    """
    deck = predictor.deck
    uniform = _with_gate(predictor, UniformGate.from_deck(deck))
    ways: dict[str, Callable[[Images], object]] = {
        "gated": predictor.predict,
        "uniform": uniform.predict,
        "best_card": functools.partial(predictor.card_logits, card=best_card),
    }
    measured = {size: medians(ways, images, size) for size in SIZES}
    return {"engine": _engine(engines), "threads": 1, **{f"batch_{size}_ms": measured[size] for size in SIZES}}


def _engine(engines: tuple[str, ...]) -> str:
    return ", ".join(dict.fromkeys(engines))


def _with_gate(predictor: Predictor, gate: Gate) -> Predictor:
    changed = copy.copy(predictor)  # shares the loaded cards
    changed.gate = gate
    return changed


def medians(ways: Mapping[Name, Callable[[Images], object]], images: Images, size: int) -> dict[Name, float]:
    """Median milliseconds of each way on batches of `size` images; the ways take turns on the same batches."""
    taken: dict[Name, list[float]] = {name: [] for name in ways}
    for turn in range(-1, REPEATS[size]):
        rows = (np.arange(size) + size * max(turn, 0)) % len(images)
        batch = np.ascontiguousarray(images[rows])
        for name, way in ways.items():
            start = time.perf_counter()
            way(batch)
            if turn >= 0:  # the first turn warms up
                taken[name].append(1e3 * (time.perf_counter() - start))
    return {name: round(statistics.median(values), 4) for name, values in taken.items()}
