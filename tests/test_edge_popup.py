"""Edge-popup and biprop: the choice of scores by hand, one step against autograd, frozen weights, binary cards."""

from __future__ import annotations

import math
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
    make_network,
    make_task,
    one_thread,  # noqa: F401  (the fixture acts by being here)
    patterns,
)
from torch import Tensor, nn

from cards_deck import tensorfile
from cards_deck.card import read_card, write_card
from cards_deck.errors import InputError
from cards_deck.inference.engines import EngineKind, load
from cards_deck.training.augmentations.crop_flip import CropFlip
from cards_deck.training.cards import make_card
from cards_deck.training.forward import to_float
from cards_deck.training.networks import prunable_weights
from cards_deck.training.recipe import Recipe
from cards_deck.training.tickets import METHODS
from cards_deck.training.tickets.biprop import Biprop, Signs
from cards_deck.training.tickets.edge_popup import EdgePopup
from cards_deck.training.tickets.scored import Choice, Effective, KeepScored, draw_scores, draw_weights

SCORES = {"1.weight": torch.tensor([[0.1, -0.9], [0.3, -0.3]]), "2.weight": torch.tensor([[2.0, -3.0], [1.0, 1.0]])}


def two_layers() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(2, 2), nn.Linear(2, 2))


def kept(choice: Choice, progress: float = 1.0) -> list[list[list[bool]]]:
    return [mask.tolist() for mask in choice.masks(SCORES, progress).values()]


def test_the_largest_scores_of_each_layer_are_kept_whatever_their_sign() -> None:
    """Of two equal ones the first."""
    assert kept(Choice(two_layers(), 0.5, "layer", 0.1)) == [
        [[False, True], [True, False]],
        [[True, True], [False, False]],
    ]


def test_the_global_threshold_is_one_over_all_layers_but_empties_none() -> None:
    assert kept(Choice(two_layers(), 5 / 8, "global", 0.0)) == [
        [[False, True], [False, False]],
        [[True, True], [True, True]],
    ]
    assert kept(Choice(two_layers(), 2 / 8, "global", 0.0)) == [
        [[False, True], [False, False]],
        [[False, True], [False, False]],
    ]


def test_the_global_density_falls_from_a_half_as_a_cube() -> None:
    choice = Choice(two_layers(), 0.25, "global", 0.5)
    assert choice.density_at(0) == 0.5
    assert choice.density_at(0.25) == pytest.approx(0.25 + 0.25 / 8)
    assert choice.density_at(0.5) == choice.density_at(1) == 0.25
    counts = [sum(int(mask.sum()) for mask in choice.masks(SCORES, p).values()) for p in (0, 0.25, 0.5, 1)]
    assert counts == [4, 2, 2, 2]
    assert Choice(two_layers(), 0.75, "global", 0.5).density_at(0) == 0.75, "it never rises"
    assert Choice(two_layers(), 0.25, "layer", 0.5).density_at(0) == 0.25


def test_weights_and_scores_are_drawn_for_the_inputs_that_are_kept() -> None:
    network = make_network()
    draw_weights(network, EdgePopup(density=0.5), torch.Generator().manual_seed(0))
    scores = draw_scores(network, torch.Generator().manual_seed(0))
    for name, weight in prunable_weights(network).items():
        size = math.sqrt(2 / (weight[0].numel() * 0.5))
        torch.testing.assert_close(weight.abs().detach(), torch.full_like(weight, size).detach())
        assert (weight > 0).any()
        assert (weight < 0).any()
        bound = 1 / math.sqrt(weight[0].numel())
        assert bound * 0.7 < scores[name].abs().max() <= bound
    draw_weights(network, Biprop(density=0.5), torch.Generator().manual_seed(0))
    wide = prunable_weights(network)["5.conv2.weight"]
    assert wide.std().item() == pytest.approx(math.sqrt(2 / (72 * 0.5)), rel=0.15)
    assert len(wide.unique()) == wide.numel()


class StraightThrough(torch.autograd.Function):
    """What the papers' code does: forward a mask of the largest |score|, backward as if that were the identity."""

    @staticmethod
    def forward(ctx: Any, magnitude: Tensor, count: int) -> Tensor:
        mask = torch.zeros(magnitude.numel())
        mask[magnitude.flatten().argsort(descending=True)[:count]] = 1
        return mask.view_as(magnitude)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        return gradient, None


def published_gradient(weight: Tensor, scores: Tensor, count: int, x: Tensor, *, binary: bool) -> Tensor:
    """d loss / d scores of loss = sum of (x W^T)^2, by autograd through the papers' layers."""
    scores = scores.clone().requires_grad_()
    mask = StraightThrough.apply(scores.abs(), count)
    if binary:
        alpha = (weight.abs() * mask.detach()).sum() / count
        # The value of alpha * mask, with the gradient |w| * that of the mask.
        scaled = weight.abs() * mask + (alpha * mask - weight.abs() * mask).detach()
        effective = torch.sign(weight) * scaled
    else:
        effective = weight * mask
    (x @ effective.T).square().sum().backward()
    assert scores.grad is not None
    return scores.grad


@pytest.mark.parametrize("binary", [False, True])
def test_one_step_is_that_of_the_published_layers(binary: bool) -> None:
    """Masked weights in, gradients of scores out, scores moved by SGD with weight decay."""
    generator = torch.Generator().manual_seed(0)
    network = nn.Sequential(nn.Linear(5, 4, bias=False))
    weight, scores = torch.randn(4, 5, generator=generator), torch.randn(4, 5, generator=generator)
    x = torch.randn(7, 5, generator=generator)
    with torch.no_grad():
        network[0].weight.copy_(weight)
    choice = Choice(network, 0.4, "layer", 0.0)
    hook = KeepScored(network, {"0.weight": scores.clone()}, choice, Signs() if binary else Effective(), affine=False)
    effective = network[0].weight.detach().clone()
    assert int((effective != 0).sum()) == 8
    mask = hook.masks["0.weight"]
    if binary:
        alpha = float((weight.abs() * mask).sum()) / 8  # the sum of magnitudes over the number kept
        torch.testing.assert_close(effective, alpha * weight.sign() * mask)
    else:
        assert torch.equal(effective, weight * mask)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, weight_decay=0.01)
    network(x).square().sum().backward()
    assert not hook.on_gradients(0, 10)
    optimizer.step()
    hook.after_step()
    gradient = published_gradient(weight, scores, 8, x, binary=binary)
    torch.testing.assert_close(hook.scores["0.weight"], scores - 0.1 * (gradient + 0.01 * scores))
    assert torch.equal(hook.frozen["0.weight"], weight)
    assert torch.equal(network[0].weight != 0, hook.masks["0.weight"])


@pytest.mark.parametrize("threshold", ["layer", "global"])
@pytest.mark.parametrize("affine", [False, True])
def test_training_moves_masks_and_no_weight(threshold: str, affine: bool) -> None:
    network = make_network()
    settings = EdgePopup(threshold=threshold, affine=affine, ramp=0.3)  # type: ignore[arg-type]
    (ticket,) = settings.find(network, make_task(), torch.Generator().manual_seed(0))
    again, generator = make_network(), torch.Generator().manual_seed(0)
    draw_weights(again, settings, generator)
    start = Choice(again, 0.3, threshold, 0.0).masks(draw_scores(again, generator), 1.0)
    assert any(not torch.equal(mask, start[name]) for name, mask in ticket.masks.items())
    for name, weight in prunable_weights(again).items():
        assert torch.equal(ticket.state[name], torch.where(ticket.masks[name], weight, 0.0))
    fresh = again.state_dict()
    assert set(ticket.state) == set(fresh), "no scores in the result"
    plain = [name for name, parameter in again.named_parameters() if parameter.dim() == 1]
    assert all(torch.equal(ticket.state[name], fresh[name]) != affine for name in plain)
    assert all((ticket.state[name] != 0).any() for name in plain if "norm" in name and name.endswith("weight"))


def test_a_biprop_ticket_becomes_a_binary_card(tmp_path: Path) -> None:
    network, method = make_network(), Biprop(density=0.25)
    (ticket,) = method.find(network, make_task(), torch.Generator().manual_seed(0))
    for name, mask in ticket.masks.items():
        assert set(ticket.state[name][mask].abs().tolist()) == {float(ticket.scales[name])}
    recipe = Recipe(NETWORK, method, CropFlip(), SHORT, 0)
    card = make_card("card", recipe, network, ticket, patterns(16), bits=32)
    write_card(card, tmp_path / "card")
    again = read_card(tmp_path / "card")
    assert again.record.bits == 1
    assert again.record.quantizer == {"name": "binary", "ends": True}
    assert set(again.scales) == set(again.graph.weight_names), "the first and the last layer too"
    for name in again.graph.weight_names:
        assert np.array_equal(again.tensors[name], ticket.state[name].numpy())
    stored, _ = tensorfile.decode((tmp_path / "card").read_bytes())
    for name, mask in ticket.masks.items():
        assert stored[f"{name}.values"].nbytes == math.ceil(int(mask.sum()) / 8), "one bit a kept weight"
    images = patterns(8, seed=3).images
    network.load_state_dict(dict(ticket.state))
    with torch.no_grad():
        wanted = network.eval()(to_float(torch.from_numpy(images.transpose(0, 3, 1, 2).copy()), 32))
    found = load(again, EngineKind.ONNX, image_size=32, threads=1)(images)
    np.testing.assert_allclose(found, wanted.numpy(), atol=1e-4)


@pytest.mark.parametrize("method", ["edge_popup", "biprop"])
@pytest.mark.parametrize(
    "fields", [{"density": 0.0}, {"threshold": "both"}, {"initial": "zero"}, {"ramp": 1.0}, {"ramp": -0.1}]
)
def test_impossible_settings_are_refused(method: str, fields: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=f"{method}: .*`{next(iter(fields))}`"):
        METHODS.build(method, **fields)


@pytest.mark.parametrize("method", ["edge_popup", "biprop"])
def test_what_no_run_can_follow_is_refused_before_training(method: str) -> None:
    network = make_network()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(InputError, match=f"{method}: .*`ema` to 0"):
        METHODS.build(method).find(network, make_task(schedule=replace(SHORT, ema=0.9)), torch.Generator())
    with pytest.raises(InputError, match="density too low"):
        METHODS.build(method, density=1e-4).find(network, make_task(), torch.Generator())
    with pytest.raises(InputError, match="at least one full batch"):
        METHODS.build(method).find(network, make_task(8), torch.Generator())
    assert equal_states(network, before)
