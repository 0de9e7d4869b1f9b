"""The one training loop. It knows no ticket method, no file and no logger: hooks and callbacks bring those.

On a CPU the same seed and the same number of threads give the same bits on the same machine. On CUDA sums come in any
order, and only a tolerance is aimed at: of two short runs with one seed, at least 98 % of the mask entries are equal
and weights differ on average by at most 2 % of their mean magnitude. tests/test_training_cuda.py checks it, and is
skipped without a GPU: so far the CUDA path has not been run on one.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from cards_deck.errors import InputError
from cards_deck.training.augmentations import Augmentation
from cards_deck.training.forward import Forward, compiled_parts, to_float
from cards_deck.training.losses import training_loss
from cards_deck.training.networks import memory_format
from cards_deck.training.rewinding import RewindPoint
from cards_deck.training.schedule import Schedule

USUAL = Schedule()
Rate = Callable[[float], float]  # share of the steps taken -> learning rate
Loss = Callable[[Forward, Tensor, Tensor, Augmentation, torch.Generator, float], Tensor]


class StepHook(Protocol):
    """What a ticket method does inside training; its state travels with the checkpoint."""

    def on_gradients(self, step: int, steps: int) -> bool:
        """Called with fresh gradients; return True to skip the optimizer on this step."""
        ...

    def after_step(self) -> None:
        """Called when the optimizer has moved the weights."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return tensors and plain values that `load_state_dict` restores."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        ...


@dataclass
class Run:
    """One training run: everything that changes while it goes on, and so everything a checkpoint holds.

    `rate` and `loss` stand in for the schedule's learning rate and for `training_loss`; `start_at` is where the run
    begins if not at step 0. `generator` is that of the epoch under way.
    """

    network: nn.Module
    schedule: Schedule
    optimizer: torch.optim.SGD
    hooks: Sequence[StepHook] = ()
    average: nn.Module | None = None
    epoch: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    rate: Rate | None = None
    loss: Loss | None = None
    start_at: RewindPoint | None = None
    generator: torch.Generator | None = None

    @classmethod
    def start(cls, network: nn.Module, schedule: Schedule) -> Run:
        """Return a run at epoch 0 with a fresh optimizer (hooks that need the optimizer are added by the caller)."""
        average = copy.deepcopy(network).requires_grad_(False) if schedule.ema else None
        return cls(network, schedule, make_optimizer(network, schedule), average=average)

    @property
    def result(self) -> nn.Module:
        """The network to keep: the averaged one where the schedule asks for it."""
        return self.average if self.average is not None else self.network

    def state_dict(self) -> dict[str, Any]:
        """Return the state as tensors and plain values."""
        return {
            "network": self.network.state_dict(),
            "average": self.average.state_dict() if self.average is not None else {},
            "optimizer": self.optimizer.state_dict(),
            "hooks": [hook.state_dict() for hook in self.hooks],
            "epoch": self.epoch,
            "history": self.history,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned, in place."""
        self.network.load_state_dict(state["network"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        for hook, hook_state in zip(self.hooks, state["hooks"], strict=True):
            hook.load_state_dict(hook_state)
        self.epoch, self.history = state["epoch"], state["history"]


def make_optimizer(network: nn.Module, schedule: Schedule) -> torch.optim.SGD:
    """Return SGD with weight decay on weight matrices only (batch-norm and biases are not decayed)."""
    decayed = [p for p in network.parameters() if p.requires_grad and p.dim() > 1]
    plain = [p for p in network.parameters() if p.requires_grad and p.dim() <= 1]
    groups = [{"params": decayed, "weight_decay": schedule.weight_decay}, {"params": plain, "weight_decay": 0.0}]
    return torch.optim.SGD(groups, lr=schedule.learning_rate, momentum=schedule.momentum, nesterov=schedule.nesterov)


def fit(
    run: Run,
    images: Tensor,
    labels: Tensor,
    augmentation: Augmentation,
    seed: int,
    *,
    on_step: Callable[[int, int, float], None] | None = None,
    on_epoch: Callable[[Run], None] | None = None,
) -> None:
    """Train from `run.epoch` to the end of its schedule, in place.

    Order and augmentation of an epoch depend on (seed, epoch) alone, so a run resumed at any epoch's end takes the
    same steps as one never stopped.

    Args:
        run: the network and the state of its training.
        images: uint8 [n, 3, h, w], on the device to train on.
        labels: int64 [n], there too.
        augmentation: what each batch goes through.
        seed: of the data order and the augmentation.
        on_step: called with (step, steps in all, loss); reading the loss waits for the device every 20 steps.
        on_epoch: called when `run.epoch` epochs are done; saves, validates, reports.
    """
    parts = compiled_parts(run.network, images.device, cut=hasattr(augmentation, "mixup"))
    layout = memory_format(run.network)
    batches = epoch_steps(len(images), run.schedule)
    steps = batches * run.schedule.epochs
    first = run.start_at.step if run.start_at is not None else 0
    while run.epoch < run.schedule.epochs:
        run.generator = generator = torch.Generator(images.device).manual_seed(seed * 100_003 + run.epoch)
        size = run.schedule.size(run.epoch, images.shape[-1])
        run.network.train()
        total = torch.zeros((), device=images.device)
        for batch, rows in enumerate(epoch_rows(len(images), run.schedule.batch_size, generator)):
            step = run.epoch * batches + batch
            if step < first:
                continue
            if run.start_at is not None and batch and step == first:
                generator.set_state(run.start_at.stream)
            forward = Forward(parts, size, layout)
            loss = _step(run, forward, images[rows], labels[rows], augmentation, generator, step, steps)
            total += loss
            if on_step is not None and step % 20 == 0:
                on_step(step, steps, float(loss))
        run.epoch += 1
        taken = min(batches, run.epoch * batches - first)
        run.history.append({"epoch": run.epoch, "loss": float(total) / taken, "size": size})
        if on_epoch is not None:
            on_epoch(run)


def epoch_steps(n: int, schedule: Schedule) -> int:
    """Steps in an epoch of `n` images; InputError where they do not make one full batch."""
    if n < schedule.batch_size:
        raise InputError(
            f"an epoch needs at least one full batch of {schedule.batch_size} images, got {n} images: "
            "lower the schedule's `batch_size` (--schedule.batch_size)"
        )
    return n // schedule.batch_size


def epoch_rows(n: int, batch_size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Yield the row numbers of each full batch of one shuffled pass."""
    order = torch.randperm(n, generator=generator, device=generator.device)
    for start in range(0, n - batch_size + 1, batch_size):
        yield order[start : start + batch_size]


def _step(
    run: Run,
    forward: Forward,
    images: Tensor,
    labels: Tensor,
    augmentation: Augmentation,
    generator: torch.Generator,
    step: int,
    steps: int,
) -> Tensor:
    rate, objective = (run.rate or run.schedule.rate)(step / steps), run.loss or training_loss
    for group in run.optimizer.param_groups:
        group["lr"] = rate
    with autocast(images.device, run.schedule):
        loss = objective(forward, images, labels, augmentation, generator, run.schedule.label_smoothing)
    run.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    # Every hook sees the gradients, also after one of them has claimed the step.
    claimed = [hook.on_gradients(step, steps) for hook in run.hooks]
    if not any(claimed):
        run.optimizer.step()
    for hook in run.hooks:
        hook.after_step()
    if run.average is not None:
        update_average(run.average, run.network, min(run.schedule.ema, (1 + step) / (10 + step)))
    return loss.detach()


@torch.no_grad()
def update_average(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Move every float weight and buffer of `average` towards `network`'s by 1 - decay; copy the integers."""
    for mean, value in zip(average.state_dict().values(), network.state_dict().values(), strict=True):
        if mean.is_floating_point():
            mean.lerp_(value, 1 - decay)
        else:
            mean.copy_(value)


def autocast(device: torch.device, schedule: Schedule = USUAL) -> torch.autocast:
    """The precision that `schedule` asks for on `device`: bf16 autocast or nothing."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=schedule.bf16(device.type))


@torch.no_grad()
def evaluate(network: nn.Module, images: Tensor, labels: Tensor, batch_size: int = 500) -> float:
    """Return the accuracy in [0, 1] of `network` in eval mode on uint8 [n, 3, h, w] images."""
    network.eval()
    layout = memory_format(network)
    right = torch.zeros((), dtype=torch.int64, device=images.device)
    for start in range(0, len(images), batch_size):
        rows = slice(start, start + batch_size)
        with autocast(images.device):
            logits = network(to_float(images[rows], images.shape[-1], layout))
        right += (logits.argmax(1) == labels[rows]).sum()
    return float(right) / len(images)
