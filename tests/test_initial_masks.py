"""Masks before training: random, SNIP, GraSP and SynFlow, each by hand or by another route to the same numbers."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
from tiny_training import (
    equal_states,
    make_network,
    make_task,
    one_thread,  # noqa: F401  (the fixture acts by being here)
)
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from cards_deck.errors import InputError
from cards_deck.training.forward import to_float
from cards_deck.training.networks import Normalize, prunable_weights
from cards_deck.training.tickets import METHODS
from cards_deck.training.tickets.grasp import Grasp, gradient_flow
from cards_deck.training.tickets.pruning import shuffled
from cards_deck.training.tickets.snip import Snip, sensitivities
from cards_deck.training.tickets.synflow import SynFlow, flows, linearised
from cards_deck.training.tickets.ticket import density, full_masks

INITIAL = ("grasp", "random", "snip", "synflow")


def linear(*weights: list[list[float]]) -> nn.Sequential:
    """A chain of linear layers without biases."""
    layers = [nn.Linear(len(weight[0]), len(weight), bias=False) for weight in weights]
    for layer, weight in zip(layers, weights, strict=True):
        layer.weight.data = torch.tensor(weight)
    return nn.Sequential(*layers)


@pytest.mark.parametrize("method", INITIAL)
def test_masks_are_exact_reproducible_and_leave_the_network_alone(method: str) -> None:
    network, task = make_network(), make_task()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    found = METHODS.build(method, density=0.25)
    masks = found.masks(network, task, torch.Generator().manual_seed(3))  # type: ignore[attr-defined]
    assert equal_states(network, before)
    assert network.training
    total = sum(mask.numel() for mask in masks.values())
    assert sum(int(mask.sum()) for mask in masks.values()) == round(0.25 * total)
    again = found.masks(network, task, torch.Generator().manual_seed(3))  # type: ignore[attr-defined]
    assert equal_states(masks, again)


@pytest.mark.parametrize("method", ["grasp", "snip", "synflow"])
def test_the_shuffled_control_keeps_the_counts_and_moves_the_places(method: str) -> None:
    network, task = make_network(), make_task()
    one, other = (
        METHODS.build(method, density=0.25, shuffle=shuffle).masks(network, task, torch.Generator().manual_seed(3))  # type: ignore[attr-defined]
        for shuffle in (False, True)
    )
    assert {n: int(m.sum()) for n, m in one.items()} == {n: int(m.sum()) for n, m in other.items()}
    assert not equal_states(one, other)
    assert shuffled(full_masks(network), torch.Generator()).keys() == one.keys()


@pytest.mark.parametrize("method", INITIAL)
def test_training_keeps_the_first_mask(method: str) -> None:
    network, task = make_network(), make_task()
    found = METHODS.build(method, density=0.25)
    masks = found.masks(network, task, torch.Generator().manual_seed(3))  # type: ignore[attr-defined]
    (ticket,) = found.find(network, task, torch.Generator().manual_seed(3))
    assert equal_states(dict(ticket.masks), masks)


def test_snip_by_hand() -> None:
    """Logits Wx of x = (1, 2) are (1, 5); with p = softmax, dL/dW = (p - y) x' and the score is |W| times that."""
    network = linear([[3.0, -1.0], [1.0, 2.0]])
    scores = sensitivities(network, torch.tensor([[1.0, 2.0]]), torch.tensor([1]))
    p = torch.softmax(torch.tensor([1.0, 5.0]), 0)[0].item()
    by_hand = torch.tensor([[3 * p * 1, 1 * p * 2], [1 * p * 1, 2 * p * 2]])
    assert torch.allclose(scores["0.weight"], by_hand, atol=1e-7)


def test_snip_is_the_effect_of_a_connection() -> None:
    """The loss's derivative by the factor c that multiplies one weight, by finite differences in double precision."""
    network, task = make_network().double(), make_task()
    images, labels = task.batch(32, torch.Generator().manual_seed(0))
    floats = to_float(images, 32).double()
    scores = sensitivities(network, floats, labels)
    network.train()
    for name, weight in list(prunable_weights(network).items())[::2]:
        place, c = (0,) * weight.dim(), 1e-5
        losses = []
        for factor in (1 + c, 1 - c):
            changed = weight.detach().clone()
            changed[place] *= factor
            with torch.no_grad():
                losses.append(float(F.cross_entropy(functional_call(network, {name: changed}, (floats,)), labels)))
        assert abs(losses[0] - losses[1]) / (2 * c) == pytest.approx(float(scores[name][place]), rel=1e-4, abs=1e-10)


def test_grasp_is_the_change_of_the_gradients_norm_with_its_sign() -> None:
    """w * Hg is half the derivative of |g|^2 by the factor that multiplies w: by finite differences again.

    Without ReLU, at whose kinks the gradient jumps, which a second derivative does not see.
    """
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.SiLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 4)]
    network, task = nn.Sequential(*layers).double(), make_task()
    images, labels = task.balanced_batch(3, torch.Generator().manual_seed(0))
    floats = to_float(images, 32).double()
    scores = gradient_flow(network, floats, labels, temperature=2.0)
    network.train()
    names = list(prunable_weights(network))

    def squared_norm(name: str, place: tuple[int, ...], factor: float) -> float:
        weights = {n: w.detach().clone() for n, w in prunable_weights(network).items()}
        weights[name][place] *= factor
        for weight in weights.values():
            weight.requires_grad_()
        loss = F.cross_entropy(functional_call(network, weights, (floats,)) / 2.0, labels)
        return sum(float(g.square().sum()) for g in torch.autograd.grad(loss, list(weights.values())))

    signs = set()
    for name in names:
        for place in ((0,) * scores[name].dim(), (-1,) * scores[name].dim()):
            c = 1e-5
            slope = (squared_norm(name, place, 1 + c) - squared_norm(name, place, 1 - c)) / (2 * c)
            assert slope / 2 == pytest.approx(float(scores[name][place]), rel=1e-3, abs=1e-9)
            signs.add(slope > 0)
    assert signs == {True, False}


def test_grasp_keeps_the_largest_score_and_not_the_largest_magnitude(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = {"1.weight": torch.tensor([-9.0, 0.1, 2.0, -0.5])}
    monkeypatch.setattr("cards_deck.training.tickets.grasp.gradient_flow", lambda *arguments: scores)
    masks = Grasp(density=0.5).masks(make_network(), make_task(), torch.Generator())
    assert masks["1.weight"].tolist() == [False, True, True, False]


def chain(seed: int = 0, widths: tuple[int, ...] = (6, 5, 4)) -> nn.Sequential:
    """A plain network without skips, batch-norm with some past."""
    torch.manual_seed(seed)
    layers: list[nn.Module] = [Normalize((0.5,) * 3, (0.2,) * 3)]
    channels = 3
    for width in widths:
        layers += [nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
        channels = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 4))


def test_synflow_by_hand() -> None:
    """Two layers: |B||A| on ones. A = (1, -2; 3, 0), B = (-1, 2): R = 1*(1+2) + 2*(3+0) = 9."""
    network = linear([[1.0, -2.0], [3.0, 0.0]], [[-1.0, 2.0]])
    straight = linearised(network)
    ones = torch.ones(1, 2, dtype=torch.float64)
    assert straight(ones).sum().item() == 9
    weights = prunable_weights(straight)
    gradients = torch.autograd.grad(straight(ones).sum(), list(weights.values()))
    scores = [(w.detach() * g).tolist() for w, g in zip(weights.values(), gradients, strict=True)]
    assert scores == [[[1.0, 2.0], [6.0, 0.0]], [[3.0, 6.0]]]


def test_synflow_conserves_the_flow_of_every_layer_and_every_unit() -> None:
    network = chain()
    make_task().train(network)  # trained weights, statistics and biases must not matter
    straight, masks = linearised(network), full_masks(network)
    generator = torch.Generator().manual_seed(1)
    for name, mask in masks.items():
        mask &= torch.rand(mask.shape, generator=generator) < 0.6
        assert mask.any(), name
    scores = flows(straight, masks, 16)
    sums = [float(score.sum()) for score in scores.values()]
    assert sums == pytest.approx([sums[0]] * len(sums), rel=1e-12)
    assert all((score[~masks[name]] == 0).all() for name, score in scores.items())
    layers = list(scores.values())
    for one, other in pairwise(layers):
        into = one.flatten(1).sum(1)
        out = other.transpose(0, 1).flatten(1).sum(1)
        assert torch.allclose(into, out, rtol=1e-12, atol=0)


def test_synflow_takes_no_layer_away_where_one_round_does() -> None:
    """Of 1,300 weights keep 30: each layer keeps some; by magnitudes of the same network a layer goes."""
    network, task = chain(widths=(4, 30, 4)), make_task()
    with torch.no_grad():
        network[4].weight.mul_(0.01)
    total = sum(weight.numel() for weight in prunable_weights(network).values())
    masks = SynFlow(density=30 / total).masks(network, task, torch.Generator())
    assert sum(int(mask.sum()) for mask in masks.values()) == 30
    assert all(mask.any() for mask in masks.values())
    at_once = SynFlow(density=30 / total, rounds=1).masks(network, task, torch.Generator())
    assert not all(mask.any() for mask in at_once.values())


def test_synflow_runs_where_single_precision_overflows() -> None:
    network = chain(widths=(64,) * 12)
    with torch.no_grad():
        for weight in prunable_weights(network).values():
            weight.mul_(300.0)
    scores: dict[str, Tensor] = flows(linearised(network), full_masks(network), 16)
    assert all(bool(torch.isfinite(score).all()) for score in scores.values())
    assert max(float(score.max()) for score in scores.values()) > 3.4e38


def test_random_masks_follow_their_distribution() -> None:
    network, task = make_network(), make_task()
    for distribution in ("erk", "uniform", "flops"):
        method = METHODS.build("random", density=0.2, distribution=distribution)
        masks = method.masks(network, task, torch.Generator().manual_seed(0))  # type: ignore[attr-defined]
        assert density(masks) == pytest.approx(0.2, abs=1e-3)
        stem = density({"stem": masks["1.weight"]})
        assert (abs(stem - 0.2) < 0.01) == (distribution == "uniform")


@pytest.mark.parametrize(
    ("method", "fields"),
    [("snip", {"batch": 1}), ("grasp", {"per_class": 0}), ("grasp", {"temperature": 0.0}), ("synflow", {"rounds": 0})],
)
def test_impossible_settings_are_refused(method: str, fields: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=f"{method}: `{next(iter(fields))}`|`per_class`"):
        METHODS.build(method, **fields)


def test_snip_takes_all_images_where_there_are_fewer() -> None:
    assert density(Snip(density=0.5, batch=10_000).masks(make_network(), make_task(), torch.Generator())) == 0.5
