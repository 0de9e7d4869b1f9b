"""Distance to the training images in a card's features (deep nearest neighbours, Sun et al., ICML 2022)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from cards_deck.card import Card
from cards_deck.data import Dataset, split_train_validation
from cards_deck.graph import Graph
from cards_deck.inference.engines import Runner, load
from cards_deck.inference.predictor import BATCH
from cards_deck.spectrum import Floats as Floats32
from eval.cells import balanced_subset, ranks_by_pixels
from eval.context import Context
from eval.measure import CellAnswers, Job, clean_job
from eval.metrics import Floats, knn

BANK = 5000  # training images that are kept
NEIGHBOUR = 50  # the k of Sun et al. and of OpenOOD for CIFAR-10; not tuned here

Answers = Callable[[], CellAnswers]


class Vectors(Protocol):
    """Where an image lies, for the neighbours: `score` names what they are."""

    @property
    def score(self) -> str: ...

    def of(self, job: Job, answers: Answers) -> Floats32:
        """float32 [n, d] of the images of `job`, whose answers `answers()` gives where they are needed."""
        ...


@dataclass(frozen=True, eq=False)
class CardFeatures:
    """The penultimate features of one card, run by any engine and kept in the cache."""

    context: Context
    runner: Runner
    width: int
    key: str
    score: str = "knn_features"

    def of(self, job: Job, answers: Answers) -> Floats32:
        """See `Vectors`."""
        key, cache = f"{job.key()}/{self.key}", self.context.measurer.cache
        stored = cache.load(key, (job.size, self.width))
        if stored is not None:
            return stored.astype(np.float32, copy=False)
        images = job.images()
        starts = range(0, len(images), BATCH)
        features = np.concatenate([self.runner(images[start : start + BATCH]) for start in starts])
        cache.save(key, features)
        return features


@dataclass(frozen=True, eq=False)
class MeanLogits:
    """The mean of all cards' logits: for cards that have no penultimate features."""

    score: str = "knn_logits"

    def of(self, job: Job, answers: Answers) -> Floats32:
        """See `Vectors`."""
        return np.asarray(answers().logits.mean(axis=0))


@dataclass(frozen=True, eq=False)
class Neighbours:
    """`bank` float32 [m, d] of training images, to which `scores` gives distances."""

    vectors: Vectors
    bank: Floats32

    def scores(self, job: Job, cell: CellAnswers) -> Floats:
        """[n]: distance to the 50th nearest training image (to the farthest, of fewer than 50)."""
        return knn(self.vectors.of(job, lambda: cell), self.bank, min(NEIGHBOUR, len(self.bank)))


def feature_card(card: Card) -> Card | None:
    """The card without its last layer, so that any engine gives its features [n, d]; None where that is not linear."""
    last = next(node for node in card.graph.nodes if node.output == card.graph.output)
    rest = tuple(node for node in card.graph.nodes if node is not last)
    if last.op != "linear" or not rest:
        return None
    graph = Graph(card.graph.input, last.inputs[0], rest)
    tensors = {name: card.tensors[name] for name in graph.parameter_names}
    masks = {name: card.masks[name] for name in card.masks if name in tensors}
    sizes = [tensors[name].size for name in graph.weight_names]
    kept = [int(masks[name].sum()) if name in masks else tensors[name].size for name in graph.weight_names]
    return Card(card.name, replace(card.record, density=sum(kept) / sum(sizes)), graph, tensors, masks)


def bank_images(train: Dataset, seed: int, size: int = BANK) -> Dataset:
    """A seeded, class-balanced sample of what cards are trained on: the training split without its validation part."""
    part, _ = split_train_validation(train)
    return part.subset(balanced_subset(part.labels, ranks_by_pixels(part.images, seed), size))


def vectors_of(context: Context) -> Vectors:
    """The best single card's features, else the mean logits of all cards."""
    place = context.best_card.place
    cut = feature_card(context.deck.cards[place])
    if cut is None:
        return MeanLogits()
    size = context.deck.image_size
    runner = load(cut, context.engine, image_size=size)
    width = runner(np.zeros((1, size, size, 3), np.uint8)).shape[1]
    return CardFeatures(context, runner, width, f"features-{context.measurer.card_keys[place]}")


def neighbours(context: Context) -> Neighbours:
    """With the bank measured; DataError where there is no training split."""
    images = bank_images(context.dataset("train"), context.settings.seed)
    job = clean_job(images, "training images")
    vectors = vectors_of(context)
    progress = context.progress(job.size, "training images")
    return Neighbours(vectors, vectors.of(job, lambda: next(context.measurer.run([job], threads=1, progress=progress))))
