"""The task a ticket method is handed: training with hooks, a labelled batch, a class subset. No files, no data sets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from cards_deck.errors import InputError
from cards_deck.training.augmentations import Augmentation
from cards_deck.training.checkpoint import Checkpoints
from cards_deck.training.loop import Loss, Rate, Run, StepHook, epoch_steps, evaluate, fit
from cards_deck.training.progress import Progress
from cards_deck.training.rewinding import KeepPoint, RewindPoint
from cards_deck.training.schedule import Schedule

if TYPE_CHECKING:
    from cards_deck.training.tickets.ticket import Ticket

HookFactory = Callable[[torch.optim.SGD], Sequence[StepHook]]


@dataclass(frozen=True)
class Task:
    """Training data on its device, and how to train on it.

    Attributes:
        images: uint8 [n, 3, h, w], on the device to train on.
        labels: int64 [n].
        validation_images: uint8 [m, 3, h, w], never trained on.
        validation_labels: int64 [m].
        augmentation: what each batch goes through.
        schedule: of every `train` call that brings none of its own.
        seed: of the data order and the augmentation.
        checkpoints: where runs are saved at the end of each epoch and found again.
        progress: what a person sees.
        given: of a trained card, for a method that begins with one (it says so by `takes_card`); None: begin afresh.
    """

    images: Tensor
    labels: Tensor
    validation_images: Tensor
    validation_labels: Tensor
    augmentation: Augmentation
    schedule: Schedule
    seed: int
    checkpoints: Checkpoints
    progress: Progress
    given: Ticket | None = None

    def train(
        self,
        network: nn.Module,
        *,
        hooks: HookFactory = lambda optimizer: (),
        stage: str = "train",
        schedule: Schedule | None = None,
        rate: Rate | None = None,
        loss: Loss | None = None,
        keep: RewindPoint | None = None,
        start: RewindPoint | None = None,
    ) -> nn.Module:
        """Train `network` in place and return the network to keep (its moving average where the schedule has one).

        Args:
            network: on the task's device.
            hooks: given the fresh optimizer, returns what runs inside each step.
            stage: names this run among the method's runs; a finished or interrupted stage is resumed by this name.
            schedule: instead of the task's.
            rate: learning rate after a share of the steps, instead of the schedule's.
            loss: instead of `training_loss`, and called as that is; its `forward` takes uint8 or float [0, 1] images.
            keep: filled with the state after its number of steps, to go back to.
            start: a filled point of an earlier stage to begin at; see `RewindPoint`.
        """
        schedule = schedule or self.schedule
        if start is not None:
            start.restore(network)
        run = Run.start(network, schedule)
        run.rate, run.loss, run.start_at = rate, loss, start
        if start is not None:
            run.epoch = start.step // epoch_steps(len(self.images), schedule)
        run.hooks = tuple(hooks(run.optimizer))
        if run.average is not None:
            run.average.load_state_dict(network.state_dict())  # hooks have masked the network by now
        if keep is not None:
            run.hooks = (*run.hooks, KeepPoint(run, keep))
        self.checkpoints.resume(run, stage)
        with self.progress.stage(stage, run.epoch, schedule.epochs) as bar:

            def finish_epoch(run: Run) -> None:
                last = run.epoch == schedule.epochs
                if last or run.epoch % self.progress.validate_every == 0:
                    run.history[-1]["validation"] = self.validate(run.result)
                self.checkpoints.save(run, stage)
                bar.epoch(run.history[-1])

            fit(run, self.images, self.labels, self.augmentation, self.seed, on_step=bar.step, on_epoch=finish_epoch)
        return run.result

    def validate(self, network: nn.Module) -> float:
        """Accuracy in [0, 1] on the held-out images, clean and at full size."""
        return evaluate(network, self.validation_images, self.validation_labels)

    def steps(self, schedule: Schedule | None = None) -> int:
        """Steps of a whole `train` call; InputError where the images do not make one full batch."""
        schedule = schedule or self.schedule
        return epoch_steps(len(self.images), schedule) * schedule.epochs

    @property
    def classes(self) -> int:
        """Number of classes: one more than the largest label."""
        return int(self.labels.max()) + 1

    def batch(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return `n` random training images (uint8, not augmented) with their labels."""
        rows = torch.randperm(len(self.images), generator=generator)[:n].to(self.images.device)
        return self.images[rows], self.labels[rows]

    def balanced_batch(self, per_class: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return `per_class` random training images of each class (all of a class that has fewer), as `batch` does."""
        rows = []
        for label in range(self.classes):
            found = torch.nonzero(self.labels.cpu() == label).squeeze(1)
            rows.append(found[torch.randperm(len(found), generator=generator)[:per_class]])
        chosen = torch.cat(rows).to(self.images.device)
        return self.images[chosen], self.labels[chosen]

    def only_classes(self, classes: Sequence[int]) -> Task:
        """Return the task of these classes alone, relabelled 0, 1, ... in the given order.

        InputError where a class is named twice or is not in the data, where the images left make no batch, and
        where none of the validation images is of these classes.
        """
        missing = sorted(set(classes) - set(self.labels.unique().tolist()))
        if missing or not classes or len(set(classes)) != len(classes):
            raise InputError(
                f"a class subset must name different classes of the {self.classes} in the data, got {list(classes)}"
            )
        wanted = torch.tensor(classes, device=self.labels.device)
        (rows, new), (held, held_new) = _select(self.labels, wanted), _select(self.validation_labels, wanted)
        if not len(held):
            raise InputError(f"a class subset needs validation images too, the classes {list(classes)} have none")
        epoch_steps(len(rows), self.schedule)
        return replace(
            self,
            images=self.images[rows], labels=new,
            validation_images=self.validation_images[held], validation_labels=held_new,
        )  # fmt: skip


def _select(labels: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    matches = labels[:, None] == wanted
    rows = torch.nonzero(matches.any(1)).squeeze(1)
    return rows, matches[rows].long().argmax(1)
