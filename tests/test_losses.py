"""The training objective against sums done by hand and by SciPy."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.spatial.distance import jensenshannon
from scipy.special import softmax
from tiny_training import one_thread  # noqa: F401  (the fixture acts by being here)
from torch import Tensor

from cards_deck.training.augmentations.augmix import AugMix
from cards_deck.training.augmentations.crop_flip import CropFlip
from cards_deck.training.losses import JSD_WEIGHT, jensen_shannon, training_loss

LABELS = torch.tensor([0, 2, 1, 2])


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Recorder:
    """A linear network that remembers what it saw; features are changed before it."""

    stages = 1

    def __init__(self) -> None:
        self.seen: list[Tensor] = []
        self.weight = torch.randn(3 * 8 * 8, 3, generator=seeded(0)) / 2000

    def __call__(self, images: Tensor, change: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        self.seen.append(images)
        features = images.float() / 255 if change is None else change(images.float() / 255)
        return 255 * features.flatten(1) @ self.weight


def images() -> Tensor:
    return torch.randint(0, 256, (4, 3, 8, 8), dtype=torch.uint8, generator=seeded(1))


def smoothed_cross_entropy(logits: Tensor, share: float, labels: Tensor = LABELS) -> float:
    """-sum_c q(c) log p(c), with q = (1 - share) * one-hot + share / classes (Szegedy et al. 2016)."""
    log_p = np.log(softmax(logits.double().numpy(), axis=1))
    target = np.full(log_p.shape, share / log_p.shape[1])
    target[np.arange(len(target)), labels.numpy()] += 1 - share
    return float(-(target * log_p).sum(1).mean())


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5])
def test_label_smoothing_by_hand(share: float) -> None:
    network = Recorder()
    loss = training_loss(network, images(), LABELS, CropFlip(), seeded(2), share)
    assert float(loss) == pytest.approx(smoothed_cross_entropy(network(network.seen[0]), share), rel=1e-5)


def test_divergence_of_certain_and_opposite_views() -> None:
    """p = (1, 0), q = (0, 1): the mixture is (1/2, 1/2) and each divergence from it is log 2."""
    sure = torch.tensor([[100.0, -100.0]])
    assert float(jensen_shannon((sure, -sure))) == pytest.approx(math.log(2), rel=1e-5)
    assert float(jensen_shannon((sure, sure))) == pytest.approx(0, abs=1e-6)


def test_divergence_by_hand() -> None:
    """p = (1/2, 1/2), q = (1/4, 3/4), mixture (3/8, 5/8)."""
    p, q = torch.tensor([[0.5, 0.5]]), torch.tensor([[0.25, 0.75]])
    from_p = 0.5 * math.log(0.5 / 0.375) + 0.5 * math.log(0.5 / 0.625)
    from_q = 0.25 * math.log(0.25 / 0.375) + 0.75 * math.log(0.75 / 0.625)
    assert float(jensen_shannon((p.log(), q.log()))) == pytest.approx((from_p + from_q) / 2, rel=1e-5)


def test_divergence_of_two_agrees_with_scipy() -> None:
    views = torch.randn(2, 5, 4, generator=seeded(0), dtype=torch.float64)
    p, q = softmax(views.numpy(), axis=2)
    assert float(jensen_shannon((views[0], views[1]))) == pytest.approx(np.mean(jensenshannon(p, q, axis=1) ** 2))


def test_three_views_go_through_together_and_the_clean_one_has_the_labels() -> None:
    network, augmentation = Recorder(), AugMix(jsd=True)
    loss = training_loss(network, images(), LABELS, augmentation, seeded(2), 0.1)
    (seen,) = network.seen  # one forward pass, so that batch-norm sees all views
    clean, once, again = augmentation.views(images(), seeded(2))
    assert torch.equal(seen, torch.cat((clean, once, again)))
    assert torch.equal(clean, CropFlip()(images(), seeded(2)))
    assert not torch.equal(once, again)
    logits = network(seen).double()
    p = softmax(logits.numpy().reshape(3, 4, 3), axis=2)
    divergence = (p * np.log(p / p.mean(0))).sum(2).mean()
    wanted = smoothed_cross_entropy(logits[:4], 0.1) + JSD_WEIGHT * divergence
    assert JSD_WEIGHT == 12
    assert float(loss) == pytest.approx(wanted, rel=1e-4)
