"""Averages of trained cards: sums and batch-norm statistics against other code, and what cannot be averaged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from families import family
from tiny_family import BASE, NOISE, TRAIN, TUNE, VALIDATION, bench, cards  # noqa: F401  (fixtures)
from tiny_training import one_thread  # noqa: F401  (the fixture acts by being here)
from torch.optim.swa_utils import update_bn

from cards_deck.averages import statistics_names
from cards_deck.card import Card, card_bytes, card_from_bytes
from cards_deck.errors import InputError
from cards_deck.inference.engines.torch import TorchNetwork
from cards_deck.inference.fake_deck import fake_card, fake_images
from cards_deck.registry import describe
from cards_deck.training.augmentations.crop_flip import CropFlip
from cards_deck.training.averaging.average import average, recalibrated, same_masks
from cards_deck.training.averaging.batch_norm import AugmentedImages, BatchNorm, recompute
from cards_deck.training.averaging.blends import Bench
from cards_deck.training.cards import ticket_of
from cards_deck.training.decks import augmented
from cards_deck.training.quantizers.int8 import Int8
from cards_deck.training.quantizing import quantize_card
from cards_deck.training.recipe import Workbench
from cards_deck.training.run import fine_tune_card

Family = tuple[Card, Card, Card]


def test_statistics_are_those_of_the_activations() -> None:
    """One batch norm, by numpy: the mean over batches of means and of unbiased variances."""
    card, images = fake_card("card"), fake_images(24)
    found = recompute(card, images, 8)
    planes = torch.from_numpy(images[:24].transpose(0, 3, 1, 2).copy()).float() / 255
    before = TorchNetwork(card).values(planes)["x2"].numpy().astype(np.float64)
    batches = before.reshape(3, 8, *before.shape[1:]).transpose(0, 2, 1, 3, 4).reshape(3, before.shape[1], -1)
    np.testing.assert_allclose(found["bn.running_mean"], batches.mean(2).mean(0), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found["bn.running_var"], batches.var(2, ddof=1).mean(0), rtol=1e-4)


def test_statistics_of_a_whole_network_are_those_of_torch(cards: Family) -> None:  # noqa: F811
    """Against torch's own recomputation for averaged weights, in train mode with cumulative momentum."""
    card = cards[0]
    network = Workbench(TRAIN, VALIDATION, torch.device("cpu"), quiet=True).build(BASE)
    network.load_state_dict(dict(ticket_of(card, network).state))
    planes = torch.from_numpy(TRAIN.images.transpose(0, 3, 1, 2).copy()).float() / 255
    update_bn(torch.split(planes, 32), network)
    found = recompute(card, TRAIN.images, 32)
    assert set(found) == {name for kind in statistics_names(card.graph) for name in kind}
    for name, array in found.items():
        np.testing.assert_allclose(array, network.state_dict()[name].numpy(), rtol=1e-4, atol=1e-5)


def test_a_partial_batch_is_left_out_and_too_few_images_are_refused() -> None:
    card, images = fake_card("card"), fake_images(21)
    full, part = recompute(card, images[:20], 10), recompute(card, images, 10)
    for name, array in full.items():
        np.testing.assert_array_equal(array, part[name])
    with pytest.raises(InputError, match="at least one batch of 32 images, got 21"):
        recompute(card, images, 32)
    for settings in ((10, 20), (1, 1)):
        with pytest.raises(InputError, match="2 <= batch <= images"):
            BatchNorm(*settings)


def test_images_are_mixed_in_the_shares_and_stay_under_their_augmentation() -> None:
    made = AugmentedImages(TRAIN, BatchNorm(80, 40, seed=4))
    clean, noise = describe(CropFlip()), describe(NOISE)
    rows = np.random.default_rng(4).permutation(len(TRAIN))[:80]
    plain, noisy = (augmented(TRAIN.images[rows], each, 4) for each in (clean, noise))
    for share in (0.25, 0.5):
        mixed = made.mixed([clean, noise], [share, 1 - share])
        is_plain = (mixed == plain).all((1, 2, 3))
        assert abs(is_plain.mean() - share) < 0.03
        assert ((mixed == noisy).all((1, 2, 3)) | is_plain).all()
        assert 0.5 * share < is_plain[:40].mean() < 1.5 * share
    np.testing.assert_array_equal(made.mixed([noise], [1.0]), noisy)
    few = (made.mixed([clean, noise], [0.2, 0.8]) == plain).all((1, 2, 3))
    more = (made.mixed([clean, noise], [0.6, 0.4]) == plain).all((1, 2, 3))
    assert (few <= more).all()


def test_the_average_of_trained_cards(cards: Family, bench: Bench) -> None:  # noqa: F811
    base, noisy, _ = cards
    card = average((base, noisy), (0.75, 0.25), bench.images, name="blend")
    assert card.averaged
    assert card.record.parents == (base.id, noisy.id)
    assert card.record.method["coefficients"] == [0.75, 0.25]
    settings = {"name": "recomputed", "images": 96, "batch": 32, "seed": 0, "data": TRAIN.sha256}
    assert card.record.method["batch_norm"] == settings
    assert card.record.augmentation == {
        "name": "mixed", "of": [base.record.augmentation, noisy.record.augmentation],
    }  # fmt: skip
    assert card.density == base.density
    assert same_masks(card, base)
    head = base.graph.weight_names[-1]
    weight = 0.75 * np.float64(base.tensors[head]) + 0.25 * np.float64(noisy.tensors[head])
    np.testing.assert_allclose(card.tensors[head], weight, rtol=2**-10, atol=1e-7)
    assert card_bytes(card_from_bytes(card_bytes(card))) == card_bytes(card)
    assert card_bytes(average((base, noisy), (0.75, 0.25), bench.images, name="blend")) == card_bytes(card)


def test_statistics_come_from_augmented_images_in_the_shares(cards: Family, bench: Bench) -> None:  # noqa: F811
    base, noisy, again = cards
    made = average((noisy, base), (0.75, 0.25), bench.images, name="blend")
    shares = {"crop_flip": 0.25, "gaussian": 0.75}
    described = sorted((card.record.augmentation for card in (base, noisy)), key=lambda each: str(each["name"]))
    mixed = bench.images.mixed(described, [shares[str(each["name"])] for each in described])
    for name, array in recompute(made, mixed, 32).items():
        np.testing.assert_allclose(made.tensors[name], array, rtol=2**-10, atol=1e-6)
    alike = average((base, again), (0.5, 0.5), bench.images, name="alike")
    assert alike.record.augmentation == base.record.augmentation


def test_statistics_may_be_averaged_like_the_weights(cards: Family, bench: Bench) -> None:  # noqa: F811
    base, noisy, _ = cards
    card = average((base, noisy), (0.25, 0.75), bench.images, name="plain", statistics="averaged")
    assert card.record.method["batch_norm"] == {"name": "averaged"}
    for kind in statistics_names(card.graph):
        for name in kind:
            wanted = 0.25 * np.float64(base.tensors[name]) + 0.75 * np.float64(noisy.tensors[name])
            np.testing.assert_array_equal(card.tensors[name], wanted.astype(np.float32))
    assert card.id != average((base, noisy), (0.25, 0.75), bench.images, name="plain").id


def test_an_average_is_trained_further_and_quantized_like_any_card(
    cards: Family, bench: Bench, tmp_path: Path  # noqa: F811
) -> None:  # fmt: skip
    half = average(cards[:2], (0.5, 0.5), bench.images, name="half", statistics="averaged")
    small = quantize_card(half, Int8(images=20), TRAIN, VALIDATION, tmp_path / "small")
    assert (small.record.parents, small.averaged, small.record.bits) == ((half.id,), False, 8)
    recipe = replace(TUNE, schedule=replace(TUNE.schedule, epochs=1))
    tuned = fine_tune_card(recipe, half, TRAIN, VALIDATION, tmp_path / "tuned", device="cpu", quiet=True)
    assert (tuned.record.parents, tuned.averaged) == ((half.id,), False)
    assert same_masks(tuned, half)


def test_recalibrating_changes_nothing_but_statistics(cards: Family, bench: Bench) -> None:  # noqa: F811
    card = cards[1]
    again = recalibrated(card, bench.images)
    statistics = {name for kind in statistics_names(card.graph) for name in kind}
    for name in card.tensors:
        same = np.array_equal(card.tensors[name], again.tensors[name])
        assert same == (name not in statistics)


def test_what_cannot_be_averaged_is_refused(cards: Family, bench: Bench, tmp_path: Path) -> None:  # noqa: F811
    base, noisy, _ = cards
    half = average((base, noisy), (0.5, 0.5), bench.images, name="half")
    small = quantize_card(base, Int8(images=20), TRAIN, bench.validation, tmp_path, name="small")
    for wrong, coefficients, says in (
        ((base,), (1.0,), "two or more different cards"),
        ((base, base), (0.5, 0.5), "two or more different cards"),
        ((base, half), (0.5, 0.5), "card 'half' is an average already"),
        ((base, small), (0.5, 0.5), "card 'small' is quantized to 8 bits"),
        ((base, fake_card("fake")), (0.5, 0.5), "are different networks"),
        ((base, noisy), (0.5, 0.25, 0.25), "one coefficient: got 3 for 2"),
        ((base, noisy), (0.5, 0.6), "must sum to 1"),
        ((base, noisy), (float("nan"), 0.5), "numbers in"),
        ((base, noisy), (1.0, 0.0), "numbers in"),
    ):
        with pytest.raises(InputError, match=says):
            average(wrong, coefficients, bench.images, name="wrong")
    with pytest.raises(InputError, match="name must be"):
        average((base, noisy), (0.5, 0.5), bench.images, name="a/b")


def test_different_masks_are_averaged_only_by_name() -> None:
    one, other = fake_card("one"), fake_card("other", seed=9)
    described = describe(CropFlip())
    one, other = (replace(card, record=replace(card.record, augmentation=described)) for card in (one, other))
    images = AugmentedImages(TRAIN, BatchNorm(8, 4))
    with pytest.raises(InputError, match="have different masks"):
        average((one, other), (0.5, 0.5), images, name="union")
    card = average((one, other), (0.5, 0.5), images, name="union", union=True)
    for name in one.masks:
        np.testing.assert_array_equal(card.masks[name], one.masks[name] | other.masks[name])
    assert card.density > max(one.density, other.density)


def test_masks_are_compared_weight_by_weight() -> None:
    base, tuned = family(2)
    assert same_masks(base, tuned)
    masks = dict(tuned.masks)
    assert not same_masks(base, replace(tuned, masks={name: masks[name] for name in list(masks)[1:]},
                                        record=replace(tuned.record, density=_without(tuned))))  # fmt: skip


def _without(card: Card) -> float:
    """Density where the first mask is gone."""
    first = next(iter(card.masks))
    return (card.num_kept + int((~card.masks[first]).sum())) / card.num_weights
