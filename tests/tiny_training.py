"""Small, learnable training sets, networks and tasks; shared by the tests of training."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cards_deck.data import Dataset
from cards_deck.training.augmentations import AUGMENTATIONS, Augmentation
from cards_deck.training.checkpoint import Checkpoints
from cards_deck.training.networks import Network, Normalize
from cards_deck.training.networks.resnet import ResNet
from cards_deck.training.progress import Progress
from cards_deck.training.schedule import Schedule
from cards_deck.training.task import Task

CLASSES = ("rows", "columns", "checks", "plain")
NETWORK = ResNet((4, 8), (1, 1))
SHORT = Schedule(epochs=2, batch_size=16, learning_rate=0.1)


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Sums in one order, whatever the machine; import it into a test module to have it there."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def patterns(n: int, size: int = 32, seed: int = 0, split: str = "train") -> Dataset:
    """`n` noisy images of four patterns that a tiny network learns within a few epochs."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(n) % 4).astype(np.int64)
    wave = np.sin(np.arange(size) * (2 * np.pi / 8))
    flat = np.zeros((size, size))
    shapes = np.stack([flat + wave[:, None], flat + wave, np.outer(wave, wave), flat])
    tint = rng.uniform(30, 90, (n, 1, 1, 3))
    images = 128 + tint * shapes[labels][..., None] + rng.normal(0, 12, (n, size, size, 3))
    return Dataset(images.clip(0, 255).astype(np.uint8), labels, CLASSES, "patterns", split)


def tensors(data: Dataset) -> tuple[Tensor, Tensor]:
    """uint8 [n, 3, h, w] and int64 [n]."""
    return torch.from_numpy(data.images.transpose(0, 3, 1, 2).copy()), torch.from_numpy(data.labels)


def make_network(settings: Network = NETWORK, classes: int = 4, seed: int = 0) -> nn.Module:
    """The network with weights of its own seed."""
    torch.manual_seed(seed)
    return settings.build(classes, Normalize((0.5, 0.5, 0.5), (0.25, 0.25, 0.25)))


def make_task(
    n: int = 64,
    *,
    schedule: Schedule = SHORT,
    augmentation: Augmentation | None = None,
    seed: int = 0,
    folder: Path | None = None,
    identity: str = "",
) -> Task:
    """A task on `n` images of patterns, 32 more for validation."""
    return Task(
        *tensors(patterns(n)), *tensors(patterns(32, seed=1)),
        augmentation or AUGMENTATIONS.build("crop_flip"), schedule, seed,
        Checkpoints(folder, identity), Progress(quiet=True),
    )  # fmt: skip


def randomise(network: nn.Module, seed: int = 0) -> nn.Module:
    """Give every batch-norm statistics and weights of its own, as training would; in eval mode."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.uniform_(-0.5, 0.5, generator=generator)
            module.running_var.uniform_(0.3, 2, generator=generator)
            if module.affine:
                nn.init.uniform_(module.weight, 0.4, 1.3, generator=generator)
                nn.init.uniform_(module.bias, -0.4, 0.4, generator=generator)
    return network.eval()


def equal_states(one: nn.Module | dict[str, Tensor], other: nn.Module | dict[str, Tensor]) -> bool:
    """Whether two states are equal bit for bit."""
    first = one.state_dict() if isinstance(one, nn.Module) else one
    second = other.state_dict() if isinstance(other, nn.Module) else other
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)
