"""NoisyMix: features mixed and disturbed as published, the loss with both labels, and what a network can do with it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import softmax
from test_losses import LABELS, Recorder, images, seeded, smoothed_cross_entropy
from tiny_training import make_network, make_task, one_thread  # noqa: F401  (the fixture acts by being here)
from torch import Tensor

from cards_deck.errors import InputError
from cards_deck.training.augmentations.augmix import AugMix
from cards_deck.training.augmentations.gaussian import Gaussian
from cards_deck.training.augmentations.mixed import Mixed
from cards_deck.training.augmentations.noisymix import FeatureMixup, NoisyMix
from cards_deck.training.losses import JSD_WEIGHT, training_loss
from cards_deck.training.schedule import Schedule
from cards_deck.training.tickets.tost import ToST


def mixup(
    place: int = 1, *, sparsity: float = 0.65, additive: float = 0.2, multiplicative: float = 0.3
) -> FeatureMixup:
    """Of two views of two images, the second view with twice the additive noise; three quarters are of the partner."""
    levels = torch.tensor([additive, 2 * additive]), torch.tensor([multiplicative] * 2)
    return FeatureMixup(place, torch.tensor(0.25), torch.tensor([1, 0]), *levels, sparsity, seeded())


def test_each_view_is_mixed_within_itself() -> None:
    features = torch.tensor([0.0, 8.0, 100.0, 200.0]).view(4, 1, 1, 1)  # two views of two images
    found = mixup(sparsity=1.0)(features)
    assert found.flatten().tolist() == [6.0, 2.0, 175.0, 125.0]


def test_noise_has_its_level_and_leaves_a_share_alone() -> None:
    """Of zeros the additive noise remains, the second view with twice as much; of ones, without it, the other."""
    zeros = torch.zeros(4, 8, 40, 40)
    found = mixup()(zeros)
    for number, view in enumerate(found.chunk(2), start=1):
        touched = view[view != 0]
        assert len(touched) / view.numel() == pytest.approx(0.35, abs=0.01)
        assert float(touched.std()) == pytest.approx(0.2 * number, rel=0.03)
    found = mixup(sparsity=0.5, additive=0.0)(torch.ones(4, 8, 40, 40))
    assert float((found != 1).float().mean()) == pytest.approx(0.5, abs=0.01)
    assert float(found.min()) == pytest.approx(0.7, abs=0.005)
    assert float(found.max()) == pytest.approx(1.3, abs=0.005)
    assert float(found[found != 1].std()) == pytest.approx(0.3 / 3**0.5, rel=0.03)


def test_pixels_are_disturbed_around_grey() -> None:
    """In [-1, 1], as the published code has them: half the additive noise in [0, 1], and grey is not multiplied."""
    grey = torch.full((4, 3, 40, 40), 0.5)
    assert torch.equal(mixup(0, additive=0.0)(grey), grey)
    touched = mixup(0, sparsity=0.0, multiplicative=0.0)(grey)[:2]
    assert float(touched.std()) == pytest.approx(0.1, rel=0.03)


def test_draws_have_their_distributions() -> None:
    noise, generator = NoisyMix(additive=1.0, multiplicative=2.0), seeded()
    draws = [noise.mixup(5, 3, 4, generator) for _ in range(4000)]
    places = np.bincount([draw.place for draw in draws], minlength=4) / 4000
    assert places == pytest.approx([0.25] * 4, abs=0.03)
    shares = np.array([float(draw.share) for draw in draws])
    assert (shares.mean(), shares.std()) == (pytest.approx(0.5, abs=0.02), pytest.approx(12**-0.5, abs=0.01))
    levels = np.array([torch.cat((draw.additive, draw.multiplicative)).tolist() for draw in draws])
    levels /= [1, 2, 3, 2, 2, 2]  # the additive noise grows from view to view
    beta = 2 / 7, (2 * 5 / (7**2 * 8)) ** 0.5  # mean and deviation of Beta(2, 5)
    for level in levels.T:
        assert (level.mean(), level.std()) == (pytest.approx(beta[0], abs=0.01), pytest.approx(beta[1], abs=0.01))
    assert np.abs(np.corrcoef(levels.T) - np.eye(6)).max() < 0.06, "each view and each noise draws its own"
    assert all(sorted(draw.partner.tolist()) == [0, 1, 2, 3, 4] for draw in draws)


def test_loss_has_both_labels_in_their_shares() -> None:
    network, augmentation = Recorder(), NoisyMix()
    loss = training_loss(network, images(), LABELS, augmentation, seeded(2), 0.1)
    again, replay = seeded(2), Recorder()
    views = torch.cat(AugMix().views(images(), again))
    change = augmentation.mixup(4, 3, 1, again)
    (seen,) = network.seen
    assert torch.equal(seen, views)
    logits = replay(views, change).double().numpy()
    clean = torch.from_numpy(logits[:4])
    own, others = (smoothed_cross_entropy(clean, 0.1, labels) for labels in (LABELS, LABELS[change.partner]))
    p = softmax(logits.reshape(3, 4, 3), axis=2)
    divergence = (p * np.log(p / p.mean(0))).sum(2).mean()
    share = float(change.share)
    assert float(loss) == pytest.approx(share * own + (1 - share) * others + JSD_WEIGHT * divergence, rel=1e-4)


def test_images_are_those_of_augmix() -> None:
    assert torch.equal(NoisyMix()(images(), seeded(5)), AugMix()(images(), seeded(5)))


def test_a_network_learns_with_it_and_features_are_changed_at_every_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, int]] = []
    original = FeatureMixup.__call__

    def watched(self: FeatureMixup, features: Tensor) -> Tensor:
        seen.append((self.place, features.shape[1]))
        return original(self, features)

    monkeypatch.setattr(FeatureMixup, "__call__", watched)
    task = make_task(256, schedule=Schedule(epochs=8, batch_size=16, learning_rate=0.1), augmentation=NoisyMix())
    network = task.train(make_network())
    assert set(seen) == {(0, 3), (1, 4)}, "the pixels, and the four channels before the second stage"
    assert task.validate(network) > 0.8


def test_nothing_that_takes_images_alone_takes_it() -> None:
    with pytest.raises(InputError, match="noisymix mixes features, not images alone"):
        Gaussian(over="noisymix")
    with pytest.raises(InputError, match="cannot hold an augmentation that mixes features"):
        Mixed((AugMix(), NoisyMix()))
    with pytest.raises(InputError, match="tost: a softened network is no sequence of stages"):
        ToST().find(make_network(), make_task(augmentation=NoisyMix()), seeded())


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(
        InputError, match=r"must not be negative and `sparsity` must lie in \[0, 1\], got -1, 0\.5, 0\.65"
    ):
        NoisyMix(additive=-1)
    with pytest.raises(InputError, match=r"got 0\.5, 0\.5, 1\.5"):
        NoisyMix(sparsity=1.5)
