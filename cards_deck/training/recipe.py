"""A recipe: every setting that makes a card; and the verb that follows it."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cards_deck.data import Dataset
from cards_deck.errors import InputError
from cards_deck.registry import describe
from cards_deck.training.augmentations import Augmentation
from cards_deck.training.augmentations.augmix import AugMix
from cards_deck.training.checkpoint import Checkpoints
from cards_deck.training.export import export_graph
from cards_deck.training.networks import Network, Normalize, memory_format
from cards_deck.training.networks.resnet import ResNet
from cards_deck.training.progress import Progress
from cards_deck.training.quantizers import Quantizer
from cards_deck.training.quantizers.straight_through import KeepQuantized
from cards_deck.training.schedule import Schedule
from cards_deck.training.task import Task
from cards_deck.training.tickets import Ticket, TicketMethod
from cards_deck.training.tickets.masked import KeepMasked
from cards_deck.training.tickets.rigl import RigL


@dataclass(frozen=True)
class Recipe:
    """How one card is made.

    Attributes:
        network: architecture settings.
        method: what finds the ticket; unused where the card is fine-tuned from another.
        augmentation: what it trains on.
        schedule: of each training run.
        seed: of the initial weights, the masks, the data order and the augmentation.
    """

    network: Network = field(default_factory=ResNet)
    method: TicketMethod = field(default_factory=RigL)
    augmentation: Augmentation = field(default_factory=AugMix)
    schedule: Schedule = field(default_factory=Schedule)
    seed: int = 0

    def describe(self) -> dict[str, Any]:
        """Return the settings as plain values, as a card records them."""
        return {
            "network": describe(self.network),
            "method": describe(self.method),
            "augmentation": describe(self.augmentation),
            "schedule": json.loads(json.dumps(self.schedule.describe())),
            "seed": self.seed,
        }


@dataclass(frozen=True)
class Workbench:
    """Where recipes are followed: data on a device, a folder for checkpoints and logs.

    Attributes:
        train: training images.
        validation: held-out images of the same classes and size; nothing is selected on anything else.
        device: torch device; images live there.
        folder: checkpoints and `log.jsonl`; None keeps nothing.
        quiet: show no progress.
    """

    train: Dataset
    validation: Dataset
    device: torch.device
    folder: Path | None = None
    quiet: bool = False

    def __post_init__(self) -> None:
        height, width = self.train.images.shape[1:3]
        same_size = self.train.images.shape[1:] == self.validation.images.shape[1:]
        if self.train.classes != self.validation.classes or not same_size:
            raise InputError("training and validation data must have the same classes and image size")
        if height != width or not 32 <= height <= 96:
            raise InputError(f"images must be square, 32 to 96 px, got {height} x {width}: resize them when loading")

    def find_tickets(
        self, recipe: Recipe, given: Ticket | None = None, given_id: str | None = None
    ) -> tuple[Ticket, ...]:
        """Follow `recipe` from random weights; resumes where an earlier run of it in the same folder stopped.

        A method that begins with a trained card gets it as `given` (a ticket of the recipe's network) and its id.
        """
        if given is not None and not getattr(recipe.method, "takes_card", False):
            raise InputError(
                f"{describe(recipe.method)['name']} begins with random weights: no card can be given to it; to train a "
                "card further under its mask, fine-tune it (--from)"
            )
        network = self.build(recipe)
        generator = torch.Generator().manual_seed(recipe.seed)
        task = replace(self._task(recipe, () if given_id is None else (given_id,)), given=given)
        task.checkpoints.check()
        return recipe.method.find(network, task, generator)

    def fine_tune(self, recipe: Recipe, parent: Ticket, parent_id: str, quantizer: Quantizer | None = None) -> Ticket:
        """Train `parent` further with its masks fixed, by `recipe`'s schedule, augmentation and seed.

        With a `quantizer`, its weights stay on the quantizer's grid (see `quantizers.straight_through`).
        """
        network = self.build(recipe) if parent.network is None else copy.deepcopy(parent.network).to(self.device)
        network.load_state_dict(dict(parent.state))
        masks = dict(parent.masks)
        hook, origin = KeepMasked(network, masks), [parent_id]
        if quantizer is not None:
            covered = quantizer.covers(export_graph(network).weight_names)
            hook = KeepQuantized(network, masks, quantizer, covered)
            origin.append(json.dumps(describe(quantizer)))
        task = self._task(recipe, origin)
        task.checkpoints.check()
        trained = task.train(network, hooks=lambda optimizer: [hook], stage="fine-tune")
        return replace(Ticket.of(trained, hook.masks), network=parent.network, weights=parent.weights)

    def build(self, recipe: Recipe) -> nn.Module:
        """Return `recipe`'s network on the device, its weights drawn from the recipe's seed."""
        torch.manual_seed(recipe.seed)
        network = recipe.network.build(len(self.train.classes), Normalize(*channel_statistics(self.train.images)))
        return network.to(self.device, memory_format=memory_format(network))  # type: ignore[call-overload,no-any-return]

    def _task(self, recipe: Recipe, parents: Sequence[str]) -> Task:
        identity = json.dumps([recipe.describe(), self.train.sha256, list(parents)], sort_keys=True)
        log = self.folder / "log.jsonl" if self.folder is not None else None
        return Task(
            *_to_device(self.train, self.device), *_to_device(self.validation, self.device),
            recipe.augmentation, recipe.schedule, recipe.seed,
            Checkpoints(self.folder, identity), Progress(self.quiet, log),
        )  # fmt: skip


def channel_statistics(images: np.ndarray[Any, np.dtype[np.uint8]]) -> tuple[list[float], list[float]]:
    """Mean and standard deviation per channel of uint8 [n, h, w, 3], in units of [0, 1], rounded to four digits."""
    # A histogram per channel gives exact sums without a float copy of the images.
    values = np.arange(256) / 255
    counts = [np.bincount(images[..., channel].ravel(), minlength=256) for channel in range(3)]
    means = [float((count * values).sum() / count.sum()) for count in counts]
    stds = [float(np.sqrt((c * (values - m) ** 2).sum() / c.sum())) for c, m in zip(counts, means, strict=True)]
    return [round(m, 4) for m in means], [round(max(s, 1e-3), 4) for s in stds]


def _to_device(data: Dataset, device: torch.device) -> tuple[Tensor, Tensor]:
    images = torch.from_numpy(np.ascontiguousarray(data.images.transpose(0, 3, 1, 2))).to(device)
    return images, torch.from_numpy(np.ascontiguousarray(data.labels)).long().to(device)
