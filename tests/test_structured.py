"""Structured pruning: dependencies, what is cut, and that the network really becomes smaller, in every engine."""

from __future__ import annotations

import builtins
import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from tiny_training import (
    NETWORK,
    SHORT,
    make_network,
    make_task,
    one_thread,  # noqa: F401  (the fixture acts by being here)
    patterns,
    randomise,
)
from torch import Tensor, nn

from cards_deck.card import Card, read_card, write_card
from cards_deck.costs import card_costs
from cards_deck.errors import CardError, InputError
from cards_deck.inference.engines import EngineKind, available, load
from cards_deck.training import loop
from cards_deck.training.augmentations.crop_flip import CropFlip
from cards_deck.training.cards import make_card, ticket_of
from cards_deck.training.networks import Network, draw_anew, prunable_weights, resized
from cards_deck.training.networks.resnet import ResNet
from cards_deck.training.networks.wide_resnet import WideResNet
from cards_deck.training.recipe import Recipe, Workbench
from cards_deck.training.schedule import Schedule
from cards_deck.training.tickets.channels import ChannelSet, channel_sets, choose_channels, cut, weights_left
from cards_deck.training.tickets.structured import Structured, multiply_adds

NETWORKS = [NETWORK, ResNet((4, 6, 8), (2, 1, 1)), WideResNet(10, 1)]
STEM = ChannelSet(4, ("1.weight", "4.conv2.weight"), ("4.conv1.weight", "5.conv1.weight", "5.shortcut.0.weight"))


def count(network: nn.Module) -> int:
    return sum(weight.numel() for weight in prunable_weights(network).values())


def test_a_residual_sum_ties_its_summands_and_their_readers() -> None:
    """By hand: stem and second convolution of the first block are added, so that they are cut together."""
    sets = channel_sets(make_network(), 32)
    assert STEM in sets
    assert ChannelSet(4, ("4.conv1.weight",), ("4.conv2.weight",)) in sets
    assert ChannelSet(8, ("5.conv2.weight", "5.shortcut.0.weight"), ("8.weight",)) in sets
    assert len(sets) == 4
    assert all("8.weight" not in each.outputs for each in sets), "a class is no channel"


def random_choice(sets: tuple[ChannelSet, ...], seed: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    kept = [torch.rand(each.width, generator=generator) < 0.5 for each in sets]
    for mask in kept:
        mask[0] = True
    return kept


@pytest.mark.parametrize("settings", NETWORKS, ids=str)
def test_what_is_cut_is_what_nobody_reads(settings: Network) -> None:
    """All who read a channel are made deaf to it by hand: cutting it out then changes no answer."""
    network = randomise(make_network(settings))
    sets = channel_sets(network, 32)
    kept = random_choice(sets, 3)
    deaf = copy.deepcopy(network)
    for each, mask in zip(sets, kept, strict=True):
        for name in each.inputs:
            deaf.state_dict()[name][:, ~mask] = 0
    small = cut(network, 32, sets, kept).eval()
    images = torch.rand(5, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert torch.allclose(small(images), deaf(images), atol=1e-5)
        assert not torch.allclose(small(images), network(images), atol=1e-2)
    assert count(small) == weights_left(network, sets, [int(mask.sum()) for mask in kept]) < count(network)
    for each, mask in zip(sets, kept, strict=True):
        widths = {small.get_parameter(name).shape[0] for name in each.outputs}
        assert widths == {int(mask.sum())}, "what is added up has one width"


def test_a_flattened_image_gives_several_features_a_channel() -> None:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.AvgPool2d(16), nn.Flatten(), nn.Linear(24, 5)]
    network = nn.Sequential(*layers, nn.ReLU(), nn.Linear(5, 2))
    sets = channel_sets(network, 32)
    assert sets == (ChannelSet(6, ("0.weight",), ("4.weight",)), ChannelSet(5, ("4.weight",), ("6.weight",)))
    assert weights_left(network, sets, [2, 3]) == 2 * 27 + 3 * 8 + 3 * 2
    kept = [torch.tensor([1, 0, 0, 1, 0, 0]).bool(), torch.tensor([0, 1, 1, 1, 0]).bool()]
    small = cut(network, 32, sets, kept)
    assert torch.equal(small.get_parameter("4.weight"), network[4].weight[kept[1]][:, kept[0].repeat_interleave(4)])


def test_the_least_channels_go_until_the_next_would_lead_away() -> None:
    """By hand: a stem of 4 channels (27 weights and 2 readers each) and a head of 2: 4 * 29 = 116 weights."""
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    sets = channel_sets(network, 32)
    scores = [torch.tensor([0.9, 0.1, 1.5, 0.2])]
    assert choose_channels(network, sets, scores, 60)[0].tolist() == [True, False, True, False], "58, not 87"
    assert choose_channels(network, sets, scores, 75)[0].tolist() == [True, False, True, True], "87, not 58"
    assert choose_channels(network, sets, scores, 1)[0].tolist() == [False, False, True, False], "the best one stays"
    assert choose_channels(network, sets, scores, 116)[0].all()


def test_grouped_convolutions_are_refused() -> None:
    network = nn.Sequential(nn.Conv2d(3, 6, 3, groups=3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 2))
    with pytest.raises(InputError, match="3 groups"):
        channel_sets(network, 32)


def test_a_network_takes_the_shapes_of_a_cut_one() -> None:
    network = make_network()
    sets = channel_sets(network, 32)
    small = cut(network, 32, sets, random_choice(sets, 0))
    again = resized(network, {name: tuple(value.shape) for name, value in small.state_dict().items()})
    again.load_state_dict(small.state_dict())
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(again.eval()(images), small.eval()(images))
    assert [repr(m) for m in again.modules()] == [repr(m) for m in small.modules()], "sizes are told alike"
    with pytest.raises(InputError, match="another network"):
        resized(network, {"1.weight": (4, 3)})


def found(**settings: Any) -> tuple[Recipe, Workbench, Card]:
    recipe = Recipe(NETWORK, Structured(density=0.3, **settings), CropFlip(), SHORT, 1)
    bench = Workbench(patterns(64), patterns(16, seed=1), torch.device("cpu"), None, quiet=True)
    (ticket,) = bench.find_tickets(recipe)
    return recipe, bench, make_card("small", recipe, bench.build(recipe), ticket, bench.train)


def test_the_card_is_smaller_in_every_engine(tmp_path: Any) -> None:
    recipe, bench, card = found()
    write_card(card, tmp_path / "card")
    card = read_card(tmp_path / "card")
    whole = bench.build(recipe)
    total = count(whole)
    assert card.record.cut_from == total
    assert card.density == pytest.approx(card.num_weights / total)
    assert abs(card.density - 0.3) < 0.05
    assert not card.masks, "nothing is masked"
    cost = card_costs(card, 32)
    assert cost.macs == cost.macs_executed < 0.6 * multiply_adds(whole, 32)
    images = patterns(6, seed=5).images
    answers = [
        load(card, kind, image_size=32)(images)
        for kind in (EngineKind.TORCH, EngineKind.ONNX, EngineKind.SPARSE, EngineKind.OPENVINO)
        if available(kind)
    ]
    assert len(answers) >= 2
    assert all(np.allclose(answer, answers[0], atol=1e-4) for answer in answers)


def test_a_cut_card_is_fine_tuned_as_it_is() -> None:
    recipe, bench, card = found()
    ticket = ticket_of(card, bench.build(recipe))
    assert ticket.density == pytest.approx(card.density)
    again = bench.fine_tune(recipe, ticket, card.id)
    tuned = make_card("tuned", recipe, bench.build(recipe), again, bench.train, method={"name": "fine_tune"})
    assert tuned.shapes == card.shapes
    assert tuned.density == card.density
    assert not np.array_equal(tuned.tensors["1.weight"], card.tensors["1.weight"])


def test_a_card_cannot_be_larger_than_what_it_was_cut_from() -> None:
    _, _, card = found()
    for weights, match in ((card.num_weights - 1, "more than the"), (0, "whole number"), ("many", "whole number")):
        with pytest.raises(CardError, match=match):
            replace(card, record=replace(card.record, method={**card.record.method, "weights": weights}))


def test_the_controls_train_for_the_same_epochs_or_the_same_computation() -> None:
    given = Schedule(epochs=160, learning_rate=0.1, sizes=((0.5, 16),))
    tuned = Structured().schedule(given, saving=2.5)
    assert (tuned.epochs, tuned.rate(0.0), tuned.rate(1.0)) == (40, pytest.approx(0.001), pytest.approx(0.001))
    assert tuned.sizes == (), "at full size, as `fine_tune` has it"
    assert Structured(retraining="scratch_e").schedule(given, saving=2.5) == given
    assert Structured(retraining="scratch_b").schedule(given, saving=2.5).epochs == 400


@pytest.mark.parametrize("retraining", ["fine_tune", "scratch_e", "scratch_b"])
def test_only_the_controls_begin_anew(retraining: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ends: dict[str, dict[str, Tensor]] = {}
    begins: dict[str, nn.Module] = {}
    epochs: dict[str, int] = {}
    train = make_task().__class__.train

    def noting(self: Any, network: nn.Module, *, stage: str, **options: Any) -> nn.Module:
        begins[stage] = copy.deepcopy(network)
        epochs[stage] = (options.get("schedule") or self.schedule).epochs
        trained = train(self, network, stage=stage, **options)
        ends[stage] = {name: value.clone() for name, value in trained.state_dict().items()}
        return trained

    monkeypatch.setattr("cards_deck.training.task.Task.train", noting)
    Structured(0.3, retraining).find(make_network(), make_task(), torch.Generator().manual_seed(0))
    assert list(begins) == ["whole", retraining]
    inherited = begins[retraining].get_parameter("4.conv1.weight")
    rows = ends["whole"]["4.conv1.weight"].flatten().tolist()
    assert all(value in rows for value in inherited.flatten().tolist()) == (retraining == "fine_tune")
    statistics = begins[retraining].get_buffer("2.running_mean")
    assert bool((statistics == 0).all()) == (retraining != "fine_tune")
    assert (epochs[retraining] > 2) == (retraining == "scratch_b")


def test_fresh_weights_have_the_usual_spread() -> None:
    network = ResNet((64,), (1,)).build(10, make_network()[0])  # type: ignore[index]
    draw_anew(network, torch.Generator().manual_seed(0))
    assert network.get_parameter("4.conv1.weight").std().item() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.02)
    assert network.get_parameter("7.weight").abs().max().item() == pytest.approx(64**-0.5, rel=0.05)


def test_a_density_that_no_width_reaches_is_refused_before_any_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "training_loss", lambda *a, **k: pytest.fail("it trained"))
    with pytest.raises(InputError, match="`density` must be at least"):
        Structured(density=0.01).find(make_network(), make_task(), torch.Generator())


def test_without_the_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    found_here = builtins.__import__

    def missing(name: str, *arguments: Any, **options: Any) -> Any:
        if name == "torch_pruning":
            raise ImportError(name)
        return found_here(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(InputError, match=r"cards-deck\[structured\]"):
        channel_sets(make_network(), 32)


@pytest.mark.parametrize("settings", [{"density": 0}, {"retraining": "none"}, {"epochs": 0}, {"learning_rate": -1}])
def test_impossible_settings_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="structured"):
        Structured(**settings)
