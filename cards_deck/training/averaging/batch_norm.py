"""Batch-norm statistics of an average of cards, recomputed on augmented training images.

The statistics that the parents had belong to their activations, not to those of the average (Izmailov et al.,
"Averaging Weights Leads to Wider Optima and Better Generalization", UAI 2018, section 3.2). They are recomputed on
images as the parents trained on: on clean ones alone, 3.7 points of accuracy under low contrast were lost when tried.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from cards_deck.averages import STATISTICS, statistics_names
from cards_deck.card import Card
from cards_deck.data import Dataset
from cards_deck.errors import InputError
from cards_deck.inference.engines.torch import TorchNetwork, _apply
from cards_deck.training.decks import augmented

Images = NDArray[np.uint8]
Floats = NDArray[np.float32]
GOLDEN = (5**0.5 - 1) / 2


@dataclass(frozen=True)
class BatchNorm:
    """How statistics are recomputed; a card's record keeps it.

    Attributes:
        images: training images looked at.
        batch: images at a time; each batch is normalised by its own statistics, as in training.
        seed: of the choice of images and of their augmentation.
    """

    images: int = 4000
    batch: int = 250
    seed: int = 0

    def __post_init__(self) -> None:
        if not 2 <= self.batch <= self.images:
            raise InputError(f"batch-norm needs 2 <= batch <= images, got {self.batch} and {self.images}")


@dataclass(frozen=True, eq=False)
class AugmentedImages:
    """Training images under the augmentations of cards, made once for each augmentation and kept.

    Attributes:
        train: training images.
        settings: how many of them, and the seed.
    """

    train: Dataset
    settings: BatchNorm = field(default_factory=BatchNorm)
    _made: dict[str, Images] = field(default_factory=dict, repr=False)

    def mixed(self, augmentations: Sequence[Mapping[str, Any]], shares: Sequence[float]) -> Images:
        """uint8 [n, h, h, 3]: each image under one of `augmentations`, in these shares, evenly mixed.

        The same image is under the same augmentation in any two mixtures that have it there, so that what is measured
        along a path of shares moves smoothly.
        """
        made = [self._under(augmentation) for augmentation in augmentations]
        place = (np.arange(len(made[0])) * GOLDEN) % 1
        which = np.minimum(np.searchsorted(np.cumsum(shares), place, side="right"), len(made) - 1)
        mixed = made[0].copy()
        for index, images in enumerate(made):
            mixed[which == index] = images[which == index]
        return mixed

    def _under(self, augmentation: Mapping[str, Any]) -> Images:
        key = json.dumps(augmentation, sort_keys=True)
        if key not in self._made:
            rows = np.random.default_rng(self.settings.seed).permutation(len(self.train))[: self.settings.images]
            self._made[key] = augmented(self.train.images[rows], augmentation, self.settings.seed)
        return self._made[key]


def recompute(card: Card, images: Images, batch: int) -> dict[str, Floats]:
    """Return the batch-norm statistics of `card`'s weights over `images`, by the tensor's name.

    Each batch goes through the network normalised by its own mean and variance; the result is the mean over batches of
    those means and (unbiased) variances, all batches weighing the same. Images beyond the last full batch are left out.

    Args:
        card: its own statistics are not read.
        images: uint8 [n, h, h, 3], n >= batch.
        batch: images at a time.
    """
    if len(images) < batch:
        raise InputError(f"batch-norm needs at least one batch of {batch} images, got {len(images)}")
    network = TorchNetwork(card)
    sums = {name: torch.zeros(card.shapes[name], dtype=torch.float64) for kind in statistics_names(card.graph)
            for name in kind}  # fmt: skip
    count = len(images) // batch
    with torch.inference_mode():
        for start in range(0, count * batch, batch):
            planes = torch.from_numpy(np.array(images[start : start + batch])).permute(0, 3, 1, 2)
            _add_batch(network, planes.contiguous().float().div(255), sums)
    return {name: (total / count).float().numpy() for name, total in sums.items()}


def _add_batch(network: TorchNetwork, planes: torch.Tensor, sums: dict[str, torch.Tensor]) -> None:
    values = {network.graph.input: planes}
    last = {name: index for index, node in enumerate(network.graph.nodes) for name in node.inputs}
    for index, node in enumerate(network.graph.nodes):
        params = {role: network.tensors[name] for role, name in node.params.items()}
        inputs = [values[name] for name in node.inputs]
        if node.op != "batch_norm":
            values[node.output] = _apply(node, inputs, params)
        else:
            mean, variance = (torch.zeros_like(params[kind]) for kind in STATISTICS)
            values[node.output] = functional.batch_norm(
                inputs[0], mean, variance, params.get("weight"), params.get("bias"),
                training=True, momentum=1.0, eps=float(node.attrs["eps"]),  # type: ignore[arg-type]
            )  # fmt: skip
            sums[node.params[STATISTICS[0]]] += mean
            sums[node.params[STATISTICS[1]]] += variance
        for name in node.inputs:
            if last[name] == index:
                values.pop(name, None)
