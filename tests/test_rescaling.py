"""The re-scaled start: what a first step gains, the bound on the gradient, and the step that is looked ahead."""

from __future__ import annotations

import copy

import pytest
import torch
from tiny_training import equal_states, make_network, make_task, one_thread  # noqa: F401  (the fixture acts by being here)
from torch import Tensor, nn
from torch.nn import functional as F

from cards_deck.training.networks import prunable_weights
from cards_deck.training.tickets.rescaling import LEAST, _objective, rescale


def look_ahead(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Loss after one step of 0.1 against the gradient, on the same batch."""
    network = copy.deepcopy(network).train()
    weights = [value for name, value in network.named_parameters() if not name.endswith("bias")]
    for weight, gradient in zip(
        weights, torch.autograd.grad(F.cross_entropy(network(images), labels), weights), strict=True
    ):
        weight.data -= 0.1 * gradient
    return float(F.cross_entropy(network(images), labels).detach())


def gradient_length(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    network = copy.deepcopy(network).train()
    weights = [value for name, value in network.named_parameters() if not name.endswith("bias")]
    gradients = torch.autograd.grad(F.cross_entropy(network(images), labels), weights)
    return float(torch.cat([gradient.flatten() for gradient in gradients]).norm())


def test_the_re_scaled_start_gains_more_by_a_first_step() -> None:
    task, network = make_task(), make_network()
    images, labels = task.images[:32].float() / 255, task.labels[:32]
    first, length = look_ahead(network, images, labels), gradient_length(network, images, labels)
    start = copy.deepcopy(network)
    factors = rescale(network, task, torch.Generator().manual_seed(0), 30)
    assert look_ahead(network, images, labels) < first - 0.01
    assert gradient_length(network, images, labels) < max(1.5, length)
    assert all(factor >= LEAST for factor in factors.values())
    assert len({round(factor, 6) for factor in factors.values()}) > 5, "each tensor its own"
    for name, value in network.state_dict().items():
        assert torch.allclose(value.float(), start.state_dict()[name].float() * factors.get(name, 1.0)), name
    assert set(prunable_weights(network)) <= set(factors)


def test_a_gradient_beyond_the_bound_is_shortened() -> None:
    network, task = make_network(), make_task()
    with torch.no_grad():
        network.get_parameter("8.weight").mul_(20)
    images, labels = task.images.float() / 255, task.labels
    before = gradient_length(network, images, labels)
    assert before > 2
    rescale(network, task, torch.Generator().manual_seed(0), 20)
    assert gradient_length(network, images, labels) < 0.9 * before


def test_the_step_that_is_looked_ahead_has_one_length_and_no_gradient() -> None:
    """By another way: the loss at w - 0.1 g / |g|, and its gradient there times w for the factors."""
    network = make_network().train()
    with torch.no_grad():
        network.get_parameter("8.weight").mul_(0.1)  # the gradient stays below the bound
    images, labels = make_task().images.float() / 255, make_task().labels
    assert gradient_length(network, images, labels) < 1
    weights = {name: value.detach().clone() for name, value in network.named_parameters() if "bias" not in name}
    factors = {name: torch.ones((), requires_grad=True) for name in weights}
    found = _objective(network, weights, factors, (images, labels), (images, labels))
    found.backward()
    ahead = copy.deepcopy(network)
    own = [ahead.get_parameter(name) for name in weights]
    gradients = torch.autograd.grad(F.cross_entropy(ahead(images), labels), own)
    length = torch.cat([gradient.flatten() for gradient in gradients]).norm()
    with torch.no_grad():
        for weight, gradient in zip(own, gradients, strict=True):
            weight.sub_(0.1 * gradient / length)
    expected = F.cross_entropy(ahead(images), labels)
    assert float(found.detach()) == pytest.approx(float(expected.detach()), rel=1e-4)
    for (name, factor), gradient in zip(factors.items(), torch.autograd.grad(expected, own), strict=True):
        assert factor.grad is not None
        assert float(factor.grad) == pytest.approx(float((gradient * weights[name]).sum()), rel=1e-2, abs=1e-4), name


def test_no_steps_leave_the_start_as_it_is() -> None:
    network = make_network()
    assert set(rescale(network, make_task(), torch.Generator(), 0).values()) == {1.0}
    assert equal_states(network, make_network())
