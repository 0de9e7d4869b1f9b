"""The task a ticket method is handed: training with hooks, a labelled batch, a class subset. No files, no data sets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from cards_deck.training.augmentations import Augmentation
from cards_deck.training.checkpoint import Checkpoints
from cards_deck.training.loop import Run, StepHook, evaluate, fit
from cards_deck.training.progress import Progress
from cards_deck.training.schedule import Schedule

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

    def train(
        self,
        network: nn.Module,
        *,
        hooks: HookFactory = lambda optimizer: (),
        stage: str = "train",
        schedule: Schedule | None = None,
    ) -> nn.Module:
        """Train `network` in place and return the network to keep (its moving average where the schedule has one).

        Args:
            network: on the task's device.
            hooks: given the fresh optimizer, returns what runs inside each step.
            stage: names this run among the method's runs; a finished or interrupted stage is resumed by this name.
            schedule: instead of the task's.
        """
        run = Run.start(network, schedule or self.schedule)
        run.hooks = tuple(hooks(run.optimizer))
        self.checkpoints.resume(run, stage)
        with self.progress.stage(stage, run.epoch, run.schedule.epochs) as bar:

            def finish_epoch(run: Run) -> None:
                last = run.epoch == run.schedule.epochs
                if last or run.epoch % self.progress.validate_every == 0:
                    run.history[-1]["validation"] = self.validate(run.result)
                self.checkpoints.save(run, stage)
                bar.epoch(run.history[-1])

            fit(run, self.images, self.labels, self.augmentation, self.seed, on_step=bar.step, on_epoch=finish_epoch)
        return run.result

    def validate(self, network: nn.Module) -> float:
        """Accuracy in [0, 1] on the held-out images, clean and at full size."""
        return evaluate(network, self.validation_images, self.validation_labels)

    def batch(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return `n` random training images (uint8, not augmented) with their labels."""
        rows = torch.randperm(len(self.images), generator=generator)[:n].to(self.images.device)
        return self.images[rows], self.labels[rows]

    def only_classes(self, classes: Sequence[int]) -> Task:
        """Return the task of these classes alone, relabelled 0, 1, ... in the given order."""
        wanted = torch.tensor(classes, device=self.labels.device)
        (rows, new), (held, held_new) = _select(self.labels, wanted), _select(self.validation_labels, wanted)
        return replace(
            self,
            images=self.images[rows], labels=new,
            validation_images=self.validation_images[held], validation_labels=held_new,
        )  # fmt: skip


def _select(labels: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    matches = labels[:, None] == wanted
    rows = torch.nonzero(matches.any(1)).squeeze(1)
    return rows, matches[rows].long().argmax(1)
