"""Layer-wise re-scaled initialisation: GradInit (Zhu et al., NeurIPS 2021), as ToST uses it.

Every weight tensor gets one positive factor. The factors are learned so that one step of gradient descent from the
scaled weights lowers the loss most, and so that the gradient is no longer than a bound: where it is longer, they
descend on its length instead (algorithm 1 of the paper, for SGD). As in the code that ToST uses, the step that is
looked ahead is `STEP` long whatever the gradient's length, no gradient of the factors goes through it, and the
gradient of each factor is clipped by itself.

What differs from that code: biases have no factors, images are not augmented, and the loss is not divided by `STEP`,
which to Adam makes no difference but where it is clipped.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from cards_deck.training.forward import to_float
from cards_deck.training.networks import memory_format
from cards_deck.training.task import Task

STEP = 0.1  # eta, the length of the step that is looked ahead
RATE = 0.01  # of the factors' own optimizer, Adam
BOUND = 1.0  # gamma, on the gradient's length
LEAST = 0.01  # no factor falls below
CLIP = 1.0  # of the gradient of each factor


def rescale(network: nn.Module, task: Task, generator: torch.Generator, steps: int) -> dict[str, float]:
    """Scale `network`'s weights in place; return the factor of each weight tensor and batch-norm scale, by name.

    Args:
        network: on the task's device; its batch-norm statistics are left as they are.
        task: whose schedule says how large a batch is; images are taken as they are, without augmentation.
        generator: of the batches, on the CPU.
        steps: number of batches.
    """
    weights = {name: value.detach() for name, value in network.named_parameters() if not name.endswith("bias")}
    factors = {name: torch.ones((), device=value.device, requires_grad=True) for name, value in weights.items()}
    optimizer = torch.optim.Adam(list(factors.values()), lr=RATE)
    training = network.training
    network.train()
    for _ in range(steps):
        images, labels = _batch(network, task, generator)
        others, other_labels = _batch(network, task, generator)
        half = len(images) // 2
        ahead = torch.cat([images[:half], others[half:]]), torch.cat([labels[:half], other_labels[half:]])
        optimizer.zero_grad()
        _objective(network, weights, factors, (images, labels), ahead).backward()
        nn.utils.clip_grad_value_(list(factors.values()), CLIP)
        optimizer.step()
        with torch.no_grad():
            for factor in factors.values():
                factor.clamp_(min=LEAST)
    network.train(training)
    with torch.no_grad():
        for name, value in weights.items():
            value.mul_(factors[name])
    return {name: float(factor.detach()) for name, factor in factors.items()}


def _batch(network: nn.Module, task: Task, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    images, labels = task.batch(task.schedule.batch_size, generator)
    return to_float(images, images.shape[-1], memory_format(network)), labels


def _objective(
    network: nn.Module,
    weights: dict[str, Tensor],
    factors: dict[str, Tensor],
    batch: tuple[Tensor, Tensor],
    ahead: tuple[Tensor, Tensor],
) -> Tensor:
    """The gradient's length where it is beyond the bound, else the loss on `ahead` after one step on `batch`."""
    scaled = {name: weight * factors[name] for name, weight in weights.items()}
    gradients = torch.autograd.grad(_loss(network, scaled, batch), list(scaled.values()), create_graph=True)
    length = torch.stack([gradient.square().sum() for gradient in gradients]).sum().sqrt()
    if length > BOUND:
        return length
    stepped = {
        name: value - STEP * (g / length).detach() for (name, value), g in zip(scaled.items(), gradients, strict=True)
    }
    return _loss(network, stepped, ahead)


def _loss(network: nn.Module, weights: dict[str, Tensor], batch: tuple[Tensor, Tensor]) -> Tensor:
    statistics = {name: value.clone() for name, value in network.named_buffers()}  # written to in training mode
    return F.cross_entropy(functional_call(network, {**weights, **statistics}, (batch[0],)), batch[1])
