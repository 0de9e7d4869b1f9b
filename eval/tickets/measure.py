"""The numbers of a card: accuracies on every domain, sizes, multiply-adds, milliseconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cards_deck.card import Card
from cards_deck.costs import card_costs
from cards_deck.inference.engines import EngineKind, Runner, available, load, supports
from cards_deck.inference.gates import CLEAN
from cards_deck.inference.pooling import softmax
from cards_deck.spectrum import Floats, Images
from eval.tickets.images import Stock
from eval.timing import SIZES, medians

Json = dict[str, Any]
Answers = dict[str, dict[str, Floats]]  # split -> domain -> logits or probabilities [n, classes]

BATCH = 250


def runner(card: Card, size: int, kind: EngineKind | None = None) -> tuple[EngineKind, Runner]:
    """The card in one engine, one thread: without the trials of AUTO, which would take longer than a cell's images."""
    if kind is None:
        usable = [each for each in (EngineKind.SPARSE, EngineKind.ONNX) if available(each) and supports(card, each)]
        kind = usable[0] if usable else EngineKind.TORCH
    return kind, load(card, kind, image_size=size, threads=1)


def answers(card: Card, stock: Stock) -> Answers:
    """Logits of the card on every domain."""
    _, run = runner(card, stock.validation.image_size)
    return {
        split: {name: _logits(run, images) for name, (images, _) in domains.items()}
        for split, domains in stock.domains.items()
    }


def _logits(run: Runner, images: Images) -> Floats:
    return np.concatenate([run(images[start : start + BATCH]) for start in range(0, len(images), BATCH)])


def pooled(members: Sequence[Answers]) -> Answers:
    """The mean of the members' softmax, domain by domain."""
    return {
        split: {name: np.mean([softmax(m[split][name]) for m in members], axis=0) for name in domains}
        for split, domains in members[0].items()
    }


def accuracies(found: Answers, stock: Stock) -> Json:
    """By split: the accuracy on each domain, and "corrupted", the mean over the corruptions, where there are some."""
    result: Json = {}
    for split, domains in found.items():
        right = {
            name: float((answer.argmax(1) == stock.domains[split][name][1]).mean()) for name, answer in domains.items()
        }
        corrupted = [value for name, value in right.items() if name != CLEAN]
        if corrupted:
            right = {CLEAN: right[CLEAN], "corrupted": float(np.mean(corrupted))} | right
        result[split] = {name: round(value, 6) for name, value in right.items()}
    return result


def sizes(card: Card, dense: Card, size: int) -> Json:
    """How small a card is beside the dense network of its recipe.

    `density` of convolution and linear weights; `conv_density` of convolutions alone; `compression` = all parameters
    of the dense network / those that are not zero, batch-norm and biases included (ShrinkBench); `speedup` =
    multiply-adds of the dense network / those of the kept weights, the theoretical speed-up.
    """
    costs, whole = card_costs(card, size), card_costs(dense, size)
    return {
        "density": card.density,
        "conv_density": _convolutions(card) / max(_convolutions(dense), 1),
        "compression": round(_parameters(dense) / max(_parameters(card), 1), 4),
        "macs": costs.macs_executed,
        "dense_macs": whole.macs,
        "speedup": round(whole.macs / max(costs.macs_executed, 1), 4),
    }


def _convolutions(card: Card) -> int:
    names = {node.params["weight"] for node in card.graph.nodes if node.op == "conv2d"}
    return sum(_kept(card, name) for name in names)


def _kept(card: Card, name: str) -> int:
    return int(np.count_nonzero(card.masks[name])) if name in card.masks else int(np.prod(card.shapes[name]))


def _parameters(card: Card) -> int:
    """Learned numbers that are kept; batch-norm's statistics are not learned."""
    statistics = {
        node.params[role]
        for node in card.graph.nodes
        for role in ("running_mean", "running_var")
        if role in node.params
    }
    return sum(_kept(card, name) for name in card.graph.parameter_names if name not in statistics)


def speed(card: Card, dense: Card, images: Images) -> Json:
    """Median milliseconds per batch of 1 and 32 images, one thread, and what follows from them.

    The card in the sparse engine, the dense network in that engine and in ONNX Runtime take turns in one run; engines
    that are not here are left out. `measured_speedup` is against the faster of the two dense ones.
    """
    size = images.shape[1]
    ways: dict[str, Runner] = {}
    if available(EngineKind.SPARSE):
        for name, each in (("sparse", card), ("dense_sparse", dense)):
            if supports(each, EngineKind.SPARSE):
                ways[name] = runner(each, size, EngineKind.SPARSE)[1]
    if available(EngineKind.ONNX):
        ways["dense_onnx"] = runner(dense, size, EngineKind.ONNX)[1]
    found: Json = {str(batch): medians(ways, images, batch) for batch in SIZES} if ways else {}
    against = [name for name in ("dense_sparse", "dense_onnx") if name in ways]
    speedups = {
        batch: round(min(taken[name] for name in against) / taken["sparse"], 4)
        for batch, taken in found.items()
        if against and "sparse" in taken
    }
    return {"milliseconds": found, "measured_speedup": speedups}


def summary(card: Card, found: Answers, stock: Stock, dense: Card) -> Json:
    """All numbers of a card but its speed."""
    size = stock.validation.image_size
    return {"sizes": sizes(card, dense, size), "accuracy": accuracies(found, stock)}


def of_ensemble(members: Mapping[str, Answers], stock: Stock) -> Json:
    """Accuracies of cards that answer together."""
    return {"members": sorted(members), "accuracy": accuracies(pooled(list(members.values())), stock)}
