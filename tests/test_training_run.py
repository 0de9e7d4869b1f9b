"""The verbs: train a card, fine-tune it, pack a deck; end to end on four generated classes."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
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
    tensors,
)
from torch import nn

from cards_deck import data
from cards_deck.card import Card, read_card
from cards_deck.data import Dataset, save_npz
from cards_deck.deck import Deck, read_deck
from cards_deck.errors import DataError, InputError
from cards_deck.inference.predictor import Predictor
from cards_deck.training import recipe as recipe_module
from cards_deck.training import run as module
from cards_deck.training.augmentations.augmix import AugMix
from cards_deck.training.augmentations.crop_flip import CropFlip
from cards_deck.training.augmentations.gaussian import Gaussian
from cards_deck.training.loop import Run, fit
from cards_deck.training.networks.resnet import ResNet
from cards_deck.training.recipe import Recipe
from cards_deck.training.run import choose_device, fine_tune_card, pack_deck, train_card, training_data
from cards_deck.training.tickets import METHODS, Ticket
from cards_deck.training.tickets.ticket import full_masks

BASE = Recipe(
    NETWORK,
    METHODS.build("rigl", density=0.5, interval=4),
    AugMix(),
    replace(SHORT, epochs=8, learning_rate=0.2),
    seed=1,
)
NOISY = replace(BASE, augmentation=Gaussian(), schedule=replace(SHORT, learning_rate=0.05), seed=2)


@dataclass(frozen=True)
class Made:
    """What one end-to-end run left behind."""

    root: Path
    train: Dataset
    validation: Dataset
    base: Card
    tuned: Card
    deck: Deck


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A base card, a card fine-tuned from it, and their deck; the data root has a test split that cannot be read."""
    root = tmp_path_factory.mktemp("run")
    save_npz(patterns(144), root)
    assert (root / "patterns_train.npz").is_file()
    (root / "patterns_test.npz").write_bytes(b"reading this would fail")
    train, validation = training_data(root, "patterns")
    (base,) = train_card(BASE, train, validation, root / "base", device="cpu", quiet=True)
    tuned = fine_tune_card(NOISY, base, train, validation, root / "tuned", name="noisy", device="cpu", quiet=True)
    deck = pack_deck([base, root / "tuned" / "noisy.card.safetensors"], train, validation, root / "deck")
    return Made(root, train, validation, base, tuned, deck)


def test_the_cards_are_on_disk_as_they_were_returned(made: Made) -> None:
    for card, path in ((made.base, "base/base"), (made.tuned, "tuned/noisy")):
        again = read_card(made.root / f"{path}.card.safetensors")
        assert again.record == card.record
        assert equal_states(*({n: torch.from_numpy(c.tensors[n]) for n in c.tensors} for c in (card, again)))
    assert made.base.name == "base"
    assert (made.root / "base" / "log.jsonl").read_text().count("\n") == 8


def test_fine_tuning_keeps_the_mask_and_says_whose_child_it_is(made: Made) -> None:
    base, tuned = made.base, made.tuned
    assert set(tuned.masks) == set(base.masks)
    assert all(np.array_equal(tuned.masks[name], base.masks[name]) for name in base.masks)
    assert tuned.density == base.density == pytest.approx(0.5, abs=1e-3)
    assert any(not np.array_equal(tuned.tensors[name], base.tensors[name]) for name in base.masks)
    assert tuned.record.parents == (base.id,)
    assert tuned.record.method == {"name": "fine_tune", "found_by": base.record.method}
    assert tuned.augmentation == "gaussian"
    assert tuned.id != base.id


def test_the_deck_is_on_disk_and_answers(made: Made) -> None:
    deck = read_deck(made.root / "deck")
    assert made.deck.folder == made.root / "deck"
    assert {card.id for card in deck.cards} == {made.base.id, made.tuned.id}
    assert (deck.name, deck.version, deck.classes) == ("deck", "1", made.train.classes)
    assert [card.id for card in deck.cards] == [card.id for card in made.deck.cards]
    unseen = patterns(48, seed=11)
    prediction = Predictor(deck).predict(unseen.images)
    assert (prediction.labels == unseen.labels).mean() > 0.5, "four classes: chance is 0.25"


def test_training_sees_the_training_split_alone(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    splits: list[str] = []

    def spy(root: Path, name: str, split: str, **options: Any) -> Dataset:
        splits.append(split)
        return data.load(root, name, split, **options)

    monkeypatch.setattr(module, "load", spy)
    train, validation = training_data(made.root, "patterns")
    assert splits == ["train"]
    with pytest.raises(DataError):
        data.load(made.root, "patterns", "test")
    everything = {image.tobytes() for image in patterns(144).images}
    parts = [{image.tobytes() for image in part.images} for part in (train, validation)]
    assert not parts[0] & parts[1]
    assert parts[0] | parts[1] == everything
    assert (len(train), len(validation)) == (130, 14)


def test_the_same_command_again_trains_nothing(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    from cards_deck.training import loop

    def never(*arguments: Any, **options: Any) -> None:
        raise AssertionError("it trains")

    monkeypatch.setattr(loop, "training_loss", never)
    before = (made.root / "base" / "base.card.safetensors").read_bytes()
    (again,) = train_card(BASE, made.train, made.validation, made.root / "base", device="cpu", quiet=True)
    assert again.record == made.base.record
    assert (made.root / "base" / "base.card.safetensors").read_bytes() == before


def test_fine_tuning_keeps_the_architecture(made: Made, tmp_path: Path) -> None:
    other = replace(NOISY, network=ResNet((4, 8), (1, 2)))
    with pytest.raises(InputError, match="keeps the parent's architecture"):
        fine_tune_card(other, made.base, made.train, made.validation, tmp_path, device="cpu", quiet=True)
    fewer = replace(made.train, classes=("a", "b", "c", "d", "e"))
    held = replace(made.validation, classes=fewer.classes)
    with pytest.raises(InputError, match="other classes"):
        fine_tune_card(NOISY, made.base, fewer, held, tmp_path, device="cpu", quiet=True)


class Several:
    """A method that finds three tickets, as FreeTickets does."""

    def find(self, network: torch.nn.Module, *rest: Any) -> tuple[Ticket, ...]:
        return (Ticket.of(network, full_masks(network)),) * 3


def test_several_tickets_get_numbered_names(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipe_module, "describe", lambda part: {"name": type(part).__name__})
    several = replace(BASE, method=Several())
    cards = train_card(several, made.train, made.validation, tmp_path, name="free", device="cpu", quiet=True)
    assert [card.name for card in cards] == ["free-1", "free-2", "free-3"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"free-{i}.card.safetensors" for i in (1, 2, 3)]


@pytest.mark.parametrize(
    ("fields", "says"), [({"name": "my card!"}, "card's name must be"), ({"bits": 8}, "`bits` must be 16 or 32")]
)
def test_what_could_not_be_written_is_refused_before_training(
    fields: dict[str, Any], says: str, made: Made, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=says):
        train_card(BASE, made.train, made.validation, tmp_path, device="cpu", quiet=True, **fields)
    assert not list(tmp_path.iterdir())


def test_devices_are_chosen_by_name() -> None:
    assert choose_device("cpu") == torch.device("cpu")
    assert choose_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize("name", ["gpu", "xpu", "cuda:99", "cuda:-1"])
def test_a_device_that_is_not_here_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="`device`"):
        choose_device(name)


def test_cuda_without_a_gpu_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match=r"finds 0 CUDA GPUs here: choose another, or cpu"):
        choose_device("cuda")


def test_bf16_training_multiplies_in_bf16_and_keeps_float32_weights() -> None:
    kinds: dict[str, torch.dtype] = {}

    class Listening(nn.Conv2d):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            found = super().forward(images)
            kinds["product"] = found.dtype
            return found

    images, labels = tensors(patterns(32))
    network = nn.Sequential(Listening(3, 4, 3), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    before = copy.deepcopy(network.state_dict())
    fit(Run.start(network, replace(SHORT, epochs=1, precision="bf16")), images, labels, CropFlip(), seed=0)
    assert kinds["product"] == torch.bfloat16
    assert all(value.dtype in (torch.float32, torch.int64) for value in network.state_dict().values())
    assert not equal_states(before, network)
