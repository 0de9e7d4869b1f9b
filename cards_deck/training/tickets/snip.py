"""SNIP: before training, keep the weights whose loss would feel most the removal: the largest |weight * gradient|.

The paper's sensitivity of a connection c that multiplies its weight w is |dL/dc| at c = 1, and dL/dc = w * dL/dw. One
batch of training images, batch-norm in training mode, all layers ranked together; dividing by the sum, as the paper
does, changes no rank. At very low densities a layer may lose all its weights.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cards_deck.errors import InputError
from cards_deck.training.forward import to_float
from cards_deck.training.networks import memory_format, prunable_weights
from cards_deck.training.task import Task
from cards_deck.training.tickets import METHODS
from cards_deck.training.tickets.pruning import check_density, keep_largest, shuffled, train_from_start
from cards_deck.training.tickets.ticket import Masks, Ticket, exact_count


@METHODS.register("snip")
@dataclass(frozen=True)
class Snip:
    """Keep the weights of largest |weight * gradient| on one batch, then train (Lee et al., ICLR 2019).

    Attributes:
        density: fraction of convolution and linear weights kept, exact to one weight [chosen here].
        batch: training images that the gradient is taken on [paper, for CIFAR-10].
        shuffle: control: as many weights in each layer, at random places [Frankle et al., ICLR 2021].
    """

    density: float = 0.1
    batch: int = 128
    shuffle: bool = False

    def __post_init__(self) -> None:
        check_density("snip", self.density)
        if self.batch < 2:
            raise InputError(f"snip: `batch` must be at least 2 images, got {self.batch}")

    def masks(self, network: nn.Module, task: Task, generator: torch.Generator) -> Masks:
        """Return the masks; the network stays as it is."""
        images, labels = task.batch(self.batch, generator)
        scores = sensitivities(network, to_float(images, images.shape[-1], memory_format(network)), labels)
        masks = keep_largest(scores, exact_count(sum(score.numel() for score in scores.values()), self.density))
        return shuffled(masks, generator) if self.shuffle else masks

    def find(self, network: nn.Module, task: Task, generator: torch.Generator) -> tuple[Ticket, ...]:
        """Score, then train once; one ticket."""
        return train_from_start(self, network, task, generator)


def sensitivities(network: nn.Module, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """|weight * gradient of the cross-entropy| of every convolution and linear weight; float [n, 3, h, w] images."""
    scored = copy.deepcopy(network).train()
    weights = prunable_weights(scored)
    gradients = torch.autograd.grad(F.cross_entropy(scored(images), labels), list(weights.values()))
    return {
        name: (weight.detach() * gradient).abs()
        for (name, weight), gradient in zip(weights.items(), gradients, strict=True)
    }
