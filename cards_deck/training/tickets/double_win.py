"""Double-Win: tickets drawn from a pre-trained network, standard or adversarially robust (Chen et al., ICML 2022).

Iterative magnitude pruning whose "initial weights" are those of a pre-trained network: prune a fifth of them first,
train, prune a fifth of what was trained, go back to the pre-trained weights (batch-norm and its statistics with them),
and so on, each time with a fresh optimizer. Pre-training and pruning each come in a standard and an adversarial arm
(PGD inside an L-infinity ball, Madry et al., ICLR 2018). The paper's question is which of the four tickets keeps
both the accuracy and the robustness of its dense network.

There the pre-training is on ImageNet and the ticket is carried over to other data. Here the pre-trained network is a
given card (`--given`), also of other classes (the head is then fresh), or it is trained first on the task's own data.
As in the paper only convolutions are pruned; `density` counts the linear layers too, which stay whole. Its 19 rounds
have a learning rate of their own (0.0005 for 30 epochs); here each takes the task's schedule, with an order of the data
and a stream of the augmentation of its own. Attacks see the network in evaluation mode, as `adversarial_loss` says.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cards_deck.errors import InputError
from cards_deck.training.augmentations import Augmentation
from cards_deck.training.loop import Loss
from cards_deck.training.task import Task
from cards_deck.training.tickets import METHODS
from cards_deck.training.tickets.convolutions import convolution_count, convolution_weights, with_whole_linear
from cards_deck.training.tickets.heads import head_name
from cards_deck.training.tickets.pruning import check_density, level_counts, prune_smallest, train_masked
from cards_deck.training.tickets.stages import stage_task
from cards_deck.training.tickets.ticket import Ticket, full_masks

ARMS = ("standard", "adversarial")


@METHODS.register("double_win")
@dataclass(frozen=True)
class DoubleWin:
    """Prune a pre-trained network, going back to its weights, on clean or attacked images (Chen et al., ICML 2022).

    Attributes:
        density: fraction of convolution and linear weights kept, exact to one weight; linear layers are whole, and the
            last round prunes less than `rate` where it would overshoot [chosen here].
        rate: share of the remaining convolution weights pruned in a round [published code].
        pretraining: how the network is trained first, where no card is given: `standard` or `adversarial` [paper].
        training: how it is trained in each round and at last: `standard` or `adversarial` [paper].
        radius: of the ball that attacked pixels stay in, in steps of 1/255 [published code].
        attack_steps: of projected gradient ascent for each batch [published code].
        step_size: of each of them, in steps of 1/255 [published code: 16/3].
    """

    density: float = 0.1
    rate: float = 0.2
    pretraining: Literal["standard", "adversarial"] = "standard"
    training: Literal["standard", "adversarial"] = "standard"
    radius: float = 8.0
    attack_steps: int = 3
    step_size: float = 16 / 3

    takes_card: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_density("double_win", self.density)
        if not 0 < self.rate < 1 or self.pretraining not in ARMS or self.training not in ARMS:
            raise InputError(
                f"double_win: `rate` must lie in (0, 1), `pretraining` and `training` be {' or '.join(ARMS)}, got "
                f"{self.rate}, {self.pretraining!r}, {self.training!r}"
            )
        if not 0 < self.radius <= 255 or self.attack_steps < 1 or self.step_size <= 0:
            raise InputError(
                "double_win: `radius` must lie in (0, 255], `attack_steps` be at least 1 and `step_size` positive, got "
                f"{self.radius}, {self.attack_steps}, {self.step_size}"
            )

    def find(self, network: nn.Module, task: Task, generator: torch.Generator) -> tuple[Ticket, ...]:
        """Pre-train, then train once per round; one ticket."""
        target = convolution_count("double_win", network, self.density)
        task.steps()
        if task.given is not None:
            self._check_given(task.given, target)
        self._pretrain(network, task)
        start = {name: value.detach().clone() for name, value in network.state_dict().items()}
        masks = {name: torch.ones_like(w, dtype=torch.bool) for name, w in convolution_weights(network).items()}
        total = sum(mask.numel() for mask in masks.values())
        counts = level_counts(total, target / total, self.rate)
        for level, kept in enumerate(counts[1:] or counts, start=1):
            masks = prune_smallest(convolution_weights(network), masks, kept)
            network.load_state_dict(start)
            loss, own = self._loss(network, self.training), stage_task(task, level)
            train_masked(network, with_whole_linear(network, masks), own, f"round-{level:02d}", loss=loss)
        return (Ticket.of(network, with_whole_linear(network, masks)),)

    def _check_given(self, given: Ticket, target: int) -> None:
        if self.pretraining != "standard":
            raise InputError(
                f"double_win: `pretraining` is not done where a card is given, got {self.pretraining!r}: leave it out"
            )
        masks = [mask for mask in given.masks.values() if mask.dim() == 4]
        if masks and (kept := sum(int(mask.sum()) for mask in masks)) < target:
            raise InputError(
                f"double_win: `density` {self.density} keeps {target} convolution weights, the given card has {kept}: "
                "lower `density` or give a denser card"
            )

    def _pretrain(self, network: nn.Module, task: Task) -> None:
        if task.given is not None:
            load_pretrained(network, task.given)
            return
        loss = self._loss(network, self.pretraining)
        train_masked(network, full_masks(network), task, "pre-training", loss=loss)

    def _loss(self, network: nn.Module, arm: str) -> Loss | None:
        if arm == "standard":
            return None
        return adversarial_loss(network, self.radius / 255, self.attack_steps, self.step_size / 255)


def load_pretrained(network: nn.Module, given: Ticket) -> None:
    """Put `given`'s weights into `network`, in place; a head of other classes stays as it is in `network`.

    InputError where anything else differs.
    """
    own, state = network.state_dict(), dict(given.state)
    head = head_name(network)
    if state.keys() == own.keys() and state[f"{head}.weight"].shape != own[f"{head}.weight"].shape:
        state |= {name: value for name, value in own.items() if name.startswith(f"{head}.")}
    shapes = [{name: tuple(value.shape) for name, value in each.items()} for each in (own, state)]
    if odd := sorted(name for name, _ in set(shapes[0].items()) ^ set(shapes[1].items())):
        raise InputError(f"the given card is of another architecture than the network: they differ in {odd[0]!r}")
    network.load_state_dict(state)


def adversarial_loss(network: nn.Module, radius: float, steps: int, step_size: float) -> Loss:
    """Return the cross-entropy on attacked images, as a loss for `Task.train`.

    Images are augmented, then attacked at full size with batch-norm in evaluation mode, so that the attack leaves its
    statistics alone. An augmentation's consistency term is left out.
    """

    def loss(
        forward: Callable[[Tensor], Tensor],
        images: Tensor,
        labels: Tensor,
        augmentation: Augmentation,
        generator: torch.Generator,
        label_smoothing: float,
    ) -> Tensor:
        clean = augmentation(images, generator).float() / 255
        network.eval()
        attacked = attack(forward, clean, labels, radius, steps, step_size, generator)
        network.train()
        return F.cross_entropy(forward(attacked).float(), labels, label_smoothing=label_smoothing)

    return loss


def attack(
    forward: Callable[[Tensor], Tensor],
    images: Tensor,
    labels: Tensor,
    radius: float,
    steps: int,
    step_size: float,
    generator: torch.Generator,
) -> Tensor:
    """Projected gradient ascent of the cross-entropy from a random start (Madry et al., ICLR 2018, section 2.1).

    Args:
        forward: float [n, 3, h, w] in [0, 1] -> logits [n, c].
        images: float [n, 3, h, w] in [0, 1].
        labels: int64 [n].
        radius: largest change of a value.
        steps: number of steps.
        step_size: change of a value per step.
        generator: of the random start, on the images' device.

    Returns:
        images within `radius` of the given ones and within [0, 1], cut off from any gradient.
    """
    low, high = (images - radius).clamp(min=0), (images + radius).clamp(max=1)
    noise = torch.rand(images.shape, generator=generator, device=images.device)
    attacked = low + noise * (high - low)
    for _ in range(steps):
        attacked.requires_grad_(True)
        loss = F.cross_entropy(forward(attacked).float(), labels)
        (gradient,) = torch.autograd.grad(loss, attacked)
        attacked = (attacked.detach() + step_size * gradient.sign()).maximum(low).minimum(high)
    return attacked
