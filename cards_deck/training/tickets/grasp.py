"""GraSP: before training, keep the weights that the flow of gradients needs.

The squared norm of the gradient g says how fast a step of gradient descent lowers the loss. Moving the weights by d
changes it by 2 d'Hg to first order, H the Hessian; removing weight q is d_q = -w_q. The paper's score is S = -w * Hg,
with its sign: a weight of large positive S slows training down while it is there, and those go first. Kept are the
largest of w * Hg, over all layers. No magnitude is taken: |w * Hg| is another method.

Hg is the gradient of g (held fixed) times g, one pass of double backpropagation. The published code adds up
the gradients of the two halves of its batch, so that batch-norm sees half of it at a time; here it sees all at once.
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


@METHODS.register("grasp")
@dataclass(frozen=True)
class Grasp:
    """Keep the weights of largest weight * (Hessian times gradient), then train (Wang et al., ICLR 2020).

    Attributes:
        density: fraction of convolution and linear weights kept, exact to one weight [chosen here].
        per_class: training images of each class that the gradient is taken on [paper].
        temperature: that divides the logits, so that the softmax of the untrained network is soft [published code].
        shuffle: control: as many weights in each layer, at random places [Frankle et al., ICLR 2021].
    """

    density: float = 0.1
    per_class: int = 10
    temperature: float = 200.0
    shuffle: bool = False

    def __post_init__(self) -> None:
        check_density("grasp", self.density)
        if self.per_class < 1 or self.temperature <= 0:
            raise InputError(
                "grasp: `per_class` must be at least 1 image and `temperature` positive, got "
                f"{self.per_class} and {self.temperature}"
            )

    def masks(self, network: nn.Module, task: Task, generator: torch.Generator) -> Masks:
        """Return the masks; the network stays as it is."""
        images, labels = task.balanced_batch(self.per_class, generator)
        floats = to_float(images, images.shape[-1], memory_format(network))
        scores = gradient_flow(network, floats, labels, self.temperature)
        masks = keep_largest(scores, exact_count(sum(score.numel() for score in scores.values()), self.density))
        return shuffled(masks, generator) if self.shuffle else masks

    def find(self, network: nn.Module, task: Task, generator: torch.Generator) -> tuple[Ticket, ...]:
        """Score, then train once; one ticket."""
        return train_from_start(self, network, task, generator)


def gradient_flow(network: nn.Module, images: Tensor, labels: Tensor, temperature: float) -> dict[str, Tensor]:
    """w * Hg of every convolution and linear weight, batch-norm in training mode; float [n, 3, h, w] images."""
    scored = copy.deepcopy(network).train()
    weights = prunable_weights(scored)
    loss = F.cross_entropy(scored(images) / temperature, labels)
    gradients = torch.autograd.grad(loss, list(weights.values()), create_graph=True)
    product = torch.stack([(gradient.detach() * gradient).sum() for gradient in gradients]).sum()
    flows = torch.autograd.grad(product, list(weights.values()), allow_unused=True, materialize_grads=True)
    return {name: weight.detach() * flow for (name, weight), flow in zip(weights.items(), flows, strict=True)}
