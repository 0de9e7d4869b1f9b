"""Recipes and where they are followed; tickets to cards and back."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_training import (
    NETWORK,
    SHORT,
    equal_states,
    one_thread,  # noqa: F401  (the fixture acts by being here)
    patterns,
)

from cards_deck.data import Dataset
from cards_deck.errors import InputError
from cards_deck.inference.engines import EngineKind, load
from cards_deck.training.augmentations import AUGMENTATIONS
from cards_deck.training.augmentations.crop_flip import CropFlip
from cards_deck.training.cards import make_card, ticket_of
from cards_deck.training.networks import NETWORKS, Normalize
from cards_deck.training.networks.resnet import ResNet
from cards_deck.training.recipe import Recipe, Workbench, channel_statistics
from cards_deck.training.tickets import METHODS, Ticket
from cards_deck.training.tickets.allocation import random_masks
from cards_deck.training.tickets.rigl import RigL
from cards_deck.training.tickets.ticket import full_masks

TRAIN, VALIDATION = patterns(48), patterns(16, seed=1, split="validation")
RECIPE = Recipe(NETWORK, RigL(density=0.4, interval=2), CropFlip(), SHORT, seed=5)


def bench(train: Dataset = TRAIN, validation: Dataset = VALIDATION, folder: Path | None = None) -> Workbench:
    return Workbench(train, validation, torch.device("cpu"), folder, quiet=True)


def ticket(share: float = 0.4) -> Ticket:
    network = bench().build(RECIPE)
    return Ticket.of(network, random_masks(network, share, "erk", torch.Generator().manual_seed(0)))


def test_channel_statistics_are_numpys_rounded() -> None:
    images = np.random.default_rng(0).integers(0, 200, (20, 32, 32, 3), dtype=np.uint8)
    images[..., 2] //= 3
    means, stds = channel_statistics(images)
    pixels = images.reshape(-1, 3) / 255
    assert means == pytest.approx(pixels.mean(0), abs=5.1e-5)
    assert stds == pytest.approx(pixels.std(0), abs=5.1e-5)
    assert all(round(value, 4) == value for value in means + stds)


def test_a_flat_channel_divides_by_something() -> None:
    means, stds = channel_statistics(np.full((2, 32, 32, 3), 51, np.uint8))
    assert means == [0.2] * 3
    assert stds == [0.001] * 3


def test_a_recipe_is_described_by_plain_values_that_restore_it() -> None:
    described = json.loads(json.dumps(RECIPE.describe()))
    assert described == RECIPE.describe(), "nothing that JSON changes"
    assert NETWORKS.restore(described["network"]) == NETWORK
    assert METHODS.restore(described["method"]) == RECIPE.method
    assert AUGMENTATIONS.restore(described["augmentation"]) == CropFlip()
    assert described["schedule"]["epochs"] == 2
    assert described["seed"] == 5


def test_a_network_is_built_from_the_recipes_seed_and_the_datas_statistics() -> None:
    one = bench().build(RECIPE)
    torch.rand(7)
    assert equal_states(one, bench().build(RECIPE))
    assert not equal_states(one, bench().build(replace(RECIPE, seed=6)))
    front = next(module for module in one.modules() if isinstance(module, Normalize))
    assert front.mean.flatten().tolist() == pytest.approx(channel_statistics(TRAIN.images)[0])
    assert front.std.flatten().tolist() == pytest.approx(channel_statistics(TRAIN.images)[1])


@pytest.mark.parametrize(
    ("train", "validation", "says"),
    [
        (TRAIN, replace(VALIDATION, classes=("a", "b", "c", "d")), "same classes and image size"),
        (TRAIN, patterns(8, 48), "same classes and image size"),
        (patterns(8, 28), patterns(8, 28), "32 to 96 px, got 28 x 28"),
        (patterns(4, 97), patterns(4, 97), "32 to 96 px, got 97 x 97"),
    ],
)
def test_data_that_does_not_fit_is_refused(train: Dataset, validation: Dataset, says: str) -> None:
    with pytest.raises(InputError, match=says):
        bench(train, validation)


def test_fine_tuning_keeps_the_masks_and_moves_the_weights() -> None:
    parent = ticket()
    tuned = bench().fine_tune(RECIPE, parent, "parent")
    assert equal_states(dict(tuned.masks), dict(parent.masks))
    assert not equal_states(dict(tuned.state), dict(parent.state))
    assert equal_states(dict(tuned.state), dict(bench().fine_tune(RECIPE, parent, "parent").state))


def test_fine_tuning_starts_from_the_parent() -> None:
    """With a rate of next to nothing, and nothing to average, only batch-norm's statistics move."""
    parent = ticket()
    still = replace(RECIPE, schedule=replace(SHORT, learning_rate=1e-12, weight_decay=0.0))
    tuned = bench().fine_tune(still, parent, "parent")
    for name, value in tuned.state.items():
        if "running" not in name and "tracked" not in name:
            assert torch.allclose(value, parent.state[name], atol=1e-7), name


def test_another_parents_checkpoint_is_refused(tmp_path: Path) -> None:
    bench(folder=tmp_path).fine_tune(RECIPE, ticket(), "one")
    with pytest.raises(InputError, match="checkpoint of another run"):
        bench(folder=tmp_path).fine_tune(RECIPE, ticket(), "another")


def test_fine_tuning_beside_another_methods_checkpoint_is_refused(tmp_path: Path) -> None:
    bench(folder=tmp_path).find_tickets(RECIPE)
    before = {path.name for path in tmp_path.iterdir()}
    assert "fine-tune.checkpoint.pt" not in before
    with pytest.raises(InputError, match="another run"):
        bench(folder=tmp_path).fine_tune(RECIPE, ticket(), "one")
    assert {path.name for path in tmp_path.iterdir()} == before


def test_a_card_says_how_it_was_made_and_computes_what_the_ticket_does() -> None:
    network, found = bench().build(RECIPE), ticket()
    card = make_card("one", RECIPE, network, found, TRAIN, bits=32, parents=("abc",))
    record = card.record
    assert {"network": record.network, "method": record.method} == {
        key: RECIPE.describe()[key] for key in ("network", "method")
    }
    assert record.schedule == RECIPE.describe()["schedule"]
    assert (record.bits, record.seed, record.parents) == (32, 5, ("abc",))
    assert record.data == {"name": "patterns", "split": "train", "n": 48, "sha256": TRAIN.sha256}
    assert record.density == found.density
    network.load_state_dict(dict(found.state))
    with torch.no_grad():
        wanted = network.eval()(torch.from_numpy(TRAIN.images[:4]).permute(0, 3, 1, 2) / 255).numpy()
    assert load(card, EngineKind.ONNX, image_size=32)(TRAIN.images[:4]) == pytest.approx(wanted, abs=1e-4)


def test_dense_layers_have_no_mask_in_the_card_and_a_full_one_in_the_ticket() -> None:
    network = bench().build(RECIPE)
    masks = full_masks(network)
    name = max(masks, key=lambda key: masks[key].numel())
    masks[name][::2] = False
    found = Ticket.of(network, masks)
    card = make_card("one", RECIPE, network, found, TRAIN, bits=32)
    assert set(card.masks) == {name}
    assert equal_states(dict(ticket_of(card, network).masks), dict(found.masks))


def test_cards_are_measured_as_their_file_holds_them() -> None:
    """Values are rounded when the card is made, not when it is written."""
    card = make_card("one", RECIPE, bench().build(RECIPE), ticket(), TRAIN)
    for name in card.masks:
        assert np.array_equal(card.tensors[name], card.tensors[name].astype(np.float16).astype(np.float32))


@pytest.mark.parametrize(
    "settings", [{"classes": 7}, {"network": ResNet((4, 6), (1, 1))}, {"network": ResNet((4, 8), (1, 2))}]
)
def test_a_card_of_another_architecture_is_refused(settings: dict[str, Any]) -> None:
    card = make_card("one", RECIPE, bench().build(RECIPE), ticket(), TRAIN)
    other = settings.get("network", NETWORK).build(settings.get("classes", 4), Normalize((0, 0, 0), (1, 1, 1)))
    with pytest.raises(InputError, match="another architecture"):
        ticket_of(card, other)
