"""Flip probabilities: from predictions and gate choices to the numbers of a report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cards_deck.corruptions.sequences import NOISE, frames_of
from cards_deck.errors import InputError
from cards_deck.inference.predictor import combine
from eval.measure import CellAnswers
from eval.metrics import Floats, intervals
from eval.routing import Route
from eval.suites._base import Json

Labels = NDArray[np.integer]


def flips(predictions: Labels, *, noise: bool) -> Floats:
    """Each sequence's share of frames with another answer: `predictions` [n, frames] -> float64 [n].

    A frame is compared with the one before it, or where `noise` with the first: noise frames are drawn independently,
    and the first is clean. As `flip_prob` of ImageNet-P/cifar-p-eval.py of github.com/hendrycks/robustness.
    """
    if predictions.ndim != 2 or predictions.shape[1] < 2:
        raise InputError(f"predictions must be [n, frames] with at least 2 frames, got {list(predictions.shape)}")
    before = predictions[:, :1] if noise else predictions[:, :-1]
    return np.asarray((predictions[:, 1:] != before).mean(axis=1, dtype=np.float64))


def flip_probability(predictions: Labels, noise: bool) -> float:
    """The mean of `flips` over the sequences."""
    return float(flips(predictions, noise=noise).mean())


@dataclass(frozen=True, eq=False)
class Block:
    """What is kept of some sequences under one perturbation: name of a number -> float64 [n]."""

    flip: Mapping[str, Floats]
    right: Mapping[str, Floats]
    cost: Mapping[str, Floats]


def block_of(name: str, cell: CellAnswers, routes: Mapping[str, Route]) -> Block:
    """What is kept of the answers to the perturbation `name`, whose frames follow one another in `cell`."""
    frames, noise = frames_of(name), name in NOISE
    _, cards = np.unique(cell.decision.ran, axis=0, return_inverse=True)
    flip = {
        "choice": flips(cell.routing.choice.reshape(-1, frames), noise=noise),
        "routing": flips(cards.reshape(-1, frames), noise=noise),
    }
    right, cost = {}, {}
    for route, member in routes.items():
        routed = member.route(cell)
        answers = combine(cell.logits, routed.weights).argmax(axis=1)
        flip[route] = flips(answers.reshape(-1, frames), noise=noise)
        cost[route] = routed.cost.reshape(-1, frames).mean(axis=1)
        if cell.labels is not None:
            right[route] = (answers == cell.labels).reshape(-1, frames).mean(axis=1)
    return Block(flip, right, cost)


def joined(parts: Sequence[Block]) -> Block:
    """The sequences of all parts, one after the other."""

    def whole(field: str) -> dict[str, Floats]:
        return {
            name: np.concatenate([getattr(part, field)[name] for part in parts]) for name in getattr(parts[0], field)
        }

    return Block(whole("flip"), whole("right"), whole("cost"))


def sequence_results(measured: Mapping[str, Block], *, seed: int, resamples: int) -> Json:
    """perturbations, mean, differences and cards_per_image of the JSON.

    Images are resampled with all their sequences. Differences below 0 say that the gated deck is steadier.
    """
    mean = _mean(list(measured.values()))
    others = [route for route in mean.cost if route != "gated"]
    columns = {
        (name, *key): values for name, block in {"mean": mean, **measured}.items() for key, values in _columns(block)
    }
    for route in others:
        columns["difference", "flip", route] = mean.flip["gated"] - mean.flip[route]
    found = intervals(np.stack(list(columns.values()), axis=1), resamples=resamples, seed=seed)
    shown = {key: interval.as_dict() for key, interval in zip(columns, found, strict=True)}
    rows = {
        name: {"frames": frames_of(name), "compared_with": "first" if name in NOISE else "previous"}
        | _row(name, block, shown)
        for name, block in measured.items()
    }
    return {
        "perturbations": rows,
        "mean": _row("mean", mean, shown),
        "differences": {
            f"gated_minus_{route}": {"flip_probability": shown["difference", "flip", route]} for route in others
        },
        "cards_per_image": _costs(mean),
    }


def _mean(blocks: list[Block]) -> Block:
    """Each image's mean over the perturbations."""

    def over(field: str) -> dict[str, Floats]:
        first = getattr(blocks[0], field)
        return {name: np.mean([getattr(block, field)[name] for block in blocks], axis=0) for name in first}

    return Block(over("flip"), over("right"), over("cost"))


def _columns(block: Block) -> Iterator[tuple[tuple[str, str], Floats]]:
    for field in ("flip", "right"):
        for name, values in getattr(block, field).items():
            yield (field, name), values


def _row(name: str, block: Block, shown: Mapping[tuple[str, str, str], dict[str, float]]) -> Json:
    return {
        "flip_probability": {route: shown[name, "flip", route] for route in block.cost},
        "choice_flip": shown[name, "flip", "choice"],
        "routing_flip": shown[name, "flip", "routing"],
        "accuracy": {route: shown[name, "right", route] for route in block.right} or None,
        "cards_per_image": _costs(block),
    }


def _costs(block: Block) -> dict[str, float]:
    return {route: round(float(values.mean()), 6) for route, values in block.cost.items()}
