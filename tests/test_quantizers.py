"""Quantizers: grids by hand and for the whole registry, training on the grid, and cards made of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_training import (
    NETWORK,
    equal_states,
    make_network,
    make_task,
    one_thread,  # noqa: F401  (the fixture acts by being here)
    patterns,
)

from cards_deck.card import Card, read_card
from cards_deck.errors import InputError
from cards_deck.inference.engines import EngineKind, load
from cards_deck.training.augmentations.augmix import AugMix
from cards_deck.training.networks import prunable_weights
from cards_deck.training.quantizers import QUANTIZERS
from cards_deck.training.quantizers.straight_through import KeepQuantized, on_grid
from cards_deck.training.quantizing import quantize_card
from cards_deck.training.recipe import Recipe
from cards_deck.training.run import SUFFIX, fine_tune_card, train_card
from cards_deck.training.schedule import Schedule
from cards_deck.training.tickets import METHODS
from cards_deck.training.tickets.allocation import random_masks

CODED = tuple(name for name in QUANTIZERS.names() if QUANTIZERS[name].bits < 16)
LARGEST = {1: 1, 2: 1, 8: 127}


def _weight(outputs: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(outputs, 4, 3, 3, generator=generator) * torch.rand(outputs, 1, 1, 1, generator=generator)
    return weight, torch.rand(weight.shape, generator=generator) < 0.4


@pytest.mark.parametrize("name", CODED)
def test_every_grid_is_of_whole_codes_inside_the_mask(name: str) -> None:
    quantizer = QUANTIZERS.build(name)
    weight, mask = _weight()
    codes, scale = quantizer.grid(weight * mask, mask)
    assert torch.equal(codes, codes.round())
    assert float(codes.abs().max()) <= LARGEST[quantizer.bits]
    assert not codes[~mask].any()
    assert scale.shape in ((1,), (6,))
    assert bool((scale > 0).all())
    values = on_grid(weight, mask, quantizer)[0]
    assert torch.equal(values, on_grid(weight * mask, mask, quantizer)[0])  # what is masked does not count
    assert float((values - weight * mask).norm() / (weight * mask).norm()) < (0.02 if quantizer.bits == 8 else 0.9)


@pytest.mark.parametrize("name", CODED)
def test_a_layer_without_weights_has_a_grid(name: str) -> None:
    codes, scale = QUANTIZERS.build(name).grid(torch.zeros(3, 2), torch.zeros(3, 2, dtype=torch.bool))
    assert not codes.any()
    assert bool((scale > 0).all())
    assert bool(torch.isfinite(scale).all())


def test_binary_by_hand() -> None:
    weight = torch.tensor([[1.0, -2.0, 9.0], [0.0, 3.0, -9.0]])
    mask = torch.tensor([[1, 1, 0], [1, 1, 0]]).bool()
    codes, scale = QUANTIZERS.build("binary").grid(weight, mask)
    assert codes.tolist() == [[1, -1, 0], [1, 1, 0]]
    assert scale.tolist() == [6 / 4]  # the sum of magnitudes over the number kept


def test_ternary_by_hand() -> None:
    weight = torch.tensor([[1.0, -2.0, 9.0], [0.5, 4.5, -9.0]])
    mask = torch.tensor([[1, 1, 0], [1, 1, 0]]).bool()
    codes, scale = QUANTIZERS.build("ternary").grid(weight, mask)  # the threshold is 0.7 * 8 / 4 = 1.4
    assert codes.tolist() == [[0, -1, 0], [0, 1, 0]]
    assert scale.tolist() == [6.5 / 2]


def test_int8_by_hand() -> None:
    weight = torch.tensor([[1.0, -0.5, 0.0], [0.2, 0.1, 7.0]])
    mask = torch.tensor([[1, 1, 1], [1, 1, 0]]).bool()
    codes, scale = QUANTIZERS.build("int8").grid(weight, mask)
    assert codes.tolist() == [[64, -32, 0], [64, 32, 0]]
    torch.testing.assert_close(scale, torch.tensor([1 / 64, 0.2 / 64]))
    assert QUANTIZERS.build("int8", reduced=False).grid(weight, mask)[0][0].tolist() == [127, -64, 0]


def test_the_first_and_last_layers_are_left_unless_asked() -> None:
    names = ("stem", "a", "b", "head")
    assert QUANTIZERS.build("binary").covers(names) == ("a", "b")
    assert QUANTIZERS.build("ternary", ends=True).covers(names) == names
    assert QUANTIZERS.build("int8").covers(names) == names
    assert QUANTIZERS.build("fp16").covers(names) == ()


@pytest.mark.parametrize("fields", [{"threshold": 1.0}, {"threshold": -0.1}])
def test_impossible_settings_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="threshold"):
        QUANTIZERS.build("ternary", **fields)
    with pytest.raises(InputError, match="images"):
        QUANTIZERS.build("int8", images=0)
    with pytest.raises(InputError, match="no codes"):
        QUANTIZERS.build("fp16").grid(*_weight())


def _hook(name: str = "binary") -> KeepQuantized:
    network = make_network()
    masks = random_masks(network, 0.5, "uniform", torch.Generator().manual_seed(0))
    quantizer = QUANTIZERS.build(name)
    return KeepQuantized(network, masks, quantizer, quantizer.covers(list(prunable_weights(network))))


def test_a_step_moves_the_latent_weight_by_the_gradient_at_the_quantized_one() -> None:
    hook = _hook()
    name = next(iter(hook.latent))
    weight, mask = hook.weights[name], hook.masks[name]
    before = hook.latent[name].clone()
    quantized = weight.detach().clone()
    assert len(quantized[mask].abs().unique()) == 1
    (weight.square().sum() / 2).backward()  # the gradient is the weight itself
    for other in hook.weights.values():
        other.grad = torch.zeros_like(other) if other.grad is None else other.grad
    assert hook.on_gradients(0, 1) is False
    assert torch.equal(weight.detach(), before)
    with torch.no_grad():
        weight.sub_(0.1 * weight.grad)
    hook.after_step()
    torch.testing.assert_close(hook.latent[name], before - 0.1 * quantized)
    assert torch.equal(weight.detach(), on_grid(hook.latent[name], mask, hook.quantizer)[0])
    assert not weight.detach()[~mask].any()


@pytest.mark.parametrize("name", CODED)
def test_training_stays_on_the_grid_and_learns(name: str) -> None:
    hook = _hook(name)
    schedule = Schedule(epochs=6, batch_size=16, learning_rate=0.1)
    trained = make_task(96, schedule=schedule).train(hook.network, hooks=lambda optimizer: [hook])
    for weight, mask in ((hook.weights[n].detach(), hook.masks[n]) for n in hook.latent):
        values, scale = on_grid(weight, mask, hook.quantizer)
        torch.testing.assert_close(values, weight, rtol=1e-5, atol=1e-6)
        levels = (weight / scale.view(-1, *[1] * (weight.dim() - 1))).round().unique()
        assert len(levels) <= 2 * LARGEST[hook.quantizer.bits] + 1
        assert not weight[~mask].any()
    assert make_task(96).validate(trained) > 0.6


def test_a_resumed_run_takes_the_same_steps(tmp_path: Path) -> None:
    schedule = Schedule(epochs=2, batch_size=16, learning_rate=0.1)
    whole, parts = _hook(), _hook()
    make_task(schedule=schedule).train(whole.network, hooks=lambda optimizer: [whole])

    class StopError(Exception):
        pass

    task = make_task(schedule=schedule, folder=tmp_path)
    original = type(task.checkpoints).save

    def save_and_stop(self: Any, run: Any, stage: str) -> None:
        original(self, run, stage)
        raise StopError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(task.checkpoints), "save", save_and_stop)
        with pytest.raises(StopError):
            task.train(parts.network, hooks=lambda optimizer: [parts])
    fresh = _hook()
    make_task(schedule=schedule, folder=tmp_path).train(fresh.network, hooks=lambda optimizer: [fresh])
    assert equal_states(fresh.network, whole.network)
    assert equal_states(fresh.latent, whole.latent)


TRAIN, VALIDATION = patterns(128), patterns(64, seed=1)
RECIPE = Recipe(
    NETWORK, METHODS.build("rigl", density=0.5, interval=4), AugMix(),
    Schedule(epochs=6, batch_size=16, learning_rate=0.2), seed=1,
)  # fmt: skip


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Card:
    (card,) = train_card(RECIPE, TRAIN, VALIDATION, tmp_path_factory.mktemp("parent"), device="cpu", quiet=True)
    return card


def _accuracy(card: Card) -> float:
    runner = load(card, EngineKind.ONNX, image_size=32)
    return float((runner(VALIDATION.images).argmax(1) == VALIDATION.labels).mean())


@pytest.mark.parametrize("epochs", [0, 2])
@pytest.mark.parametrize("name", QUANTIZERS.names())
def test_every_quantizer_makes_a_card_with_the_parents_mask(
    name: str, epochs: int, parent: Card, tmp_path: Path
) -> None:
    quantizer = QUANTIZERS.build(name)
    schedule = Schedule(epochs=epochs, batch_size=16, learning_rate=0.05) if epochs else None
    card = quantize_card(
        parent, quantizer, TRAIN, VALIDATION, tmp_path / name, schedule=schedule, device="cpu", quiet=True
    )
    again = read_card(tmp_path / name / f"{name}{SUFFIX}")
    assert again.id == card.id != parent.id
    assert (card.record.bits, card.record.quantizer["name"]) == (quantizer.bits, name)
    assert (card.record.parents, card.density) == ((parent.id,), parent.density)
    assert bool(card.ranges) == (name == "int8")
    assert set(card.scales) == set(quantizer.covers(card.graph.weight_names))
    for weight, mask in parent.masks.items():
        np.testing.assert_array_equal(card.masks[weight], mask)
        np.testing.assert_array_equal(again.tensors[weight], card.tensors[weight])
    if epochs:
        assert _accuracy(card) > 0.6
    else:
        norm = next(n for n in card.tensors if n.endswith("running_mean"))
        np.testing.assert_array_equal(card.tensors[norm], parent.tensors[norm])
    if quantizer.bits >= 8:
        assert abs(_accuracy(card) - _accuracy(parent)) <= (0.25 if epochs else 0.05)


def test_what_is_already_quantized_is_not_quantized_or_trained_again(parent: Card, tmp_path: Path) -> None:
    card = quantize_card(parent, QUANTIZERS.build("binary"), TRAIN, VALIDATION, tmp_path / "one", quiet=True)
    with pytest.raises(InputError, match="has 1 bits already"):
        quantize_card(card, QUANTIZERS.build("int8"), TRAIN, VALIDATION, tmp_path / "two", quiet=True)
    with pytest.raises(InputError, match="has 1 bits: train the card it came from"):
        fine_tune_card(RECIPE, card, TRAIN, VALIDATION, tmp_path / "three", quiet=True)


def test_averaged_weights_are_refused(parent: Card, tmp_path: Path) -> None:
    schedule = replace(Schedule(epochs=1, batch_size=16), ema=0.9)
    with pytest.raises(InputError, match="set the schedule's `ema` to 0"):
        quantize_card(
            parent, QUANTIZERS.build("binary"), TRAIN, VALIDATION, tmp_path / "card", schedule=schedule, quiet=True
        )
