"""RigL: one mask update by hand and against an independent implementation; when updates happen, and what they spare."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tiny_training import equal_states, make_network, make_task, one_thread  # noqa: F401  (the fixture acts by being here)
from torch import Tensor, nn

from cards_deck.errors import InputError
from cards_deck.training.networks import prunable_weights
from cards_deck.training.schedule import Schedule
from cards_deck.training.tickets import METHODS
from cards_deck.training.tickets import dynamic as module
from cards_deck.training.tickets.allocation import random_masks
from cards_deck.training.tickets.dynamic import DropAndGrow, GradientGrowth, Moves, drop_and_grow
from cards_deck.training.tickets.rigl import RigL
from cards_deck.training.tickets.ticket import density

Array = NDArray[Any]


def test_drop_and_grow_by_hand() -> None:
    """Half of four kept weights go: 0.5 and -1, the smallest. Then -9 and -3 are the largest free gradients."""
    weight = torch.tensor([3.0, -1.0, 0.5, -2.0, 0.0, 0.0, 0.0, 0.0])
    gradient = torch.tensor([100.0, -9.0, 0.1, -50.0, 2.0, -3.0, 1.0, 0.0])
    mask = torch.tensor([True] * 4 + [False] * 4)
    grown = drop_and_grow(weight, gradient.abs(), mask, 0.5)
    assert mask.tolist() == [True, True, False, True, False, True, False, False]
    assert grown.tolist() == [False, True, False, False, False, True, False, False]
    # -1 was dropped, returned, and has kept its value; the other grown weight starts at zero.
    assert weight.tolist() == [3.0, -1.0, 0.0, -2.0, 0.0, 0.0, 0.0, 0.0]


def test_ties_go_to_the_lower_index() -> None:
    weight = torch.tensor([1.0, -1.0, 1.0, 1.0, 0.0, 0.0, 0.0])
    mask = weight != 0
    drop_and_grow(weight, torch.tensor([0, 0, 0, 0, 5.0, 5.0, 5.0]), mask, 0.5)
    assert mask.tolist() == [False, False, True, True, True, True, False]


@pytest.mark.parametrize(("fraction", "moved"), [(0.0, 0), (0.1, 0), (0.13, 1), (0.3, 1), (0.4, 2), (0.99, 4)])
def test_the_number_moved_is_rounded(fraction: float, moved: int) -> None:
    weight = torch.cat((torch.arange(1.0, 5.0), torch.zeros(4)))
    mask = weight != 0
    grown = drop_and_grow(weight, torch.cat((torch.zeros(4), torch.arange(1.0, 5.0))), mask, fraction)
    assert int(grown.sum()) == moved
    assert int(mask.sum()) == 4


def test_a_dense_layer_stays_as_it_is() -> None:
    weight, mask = torch.arange(1.0, 7.0).view(2, 3), torch.ones(2, 3, dtype=torch.bool)
    assert not drop_and_grow(weight, torch.ones(2, 3), mask, 0.5).any()
    assert mask.all()
    assert torch.equal(weight, torch.arange(1.0, 7.0).view(2, 3))


def published_update(weight: Array, gradient: Array, mask: Array, fraction: float) -> tuple[Array, Array]:
    """Algorithm 1 of the paper, one connection at a time: (mask, weight) after the update."""
    kept = {int(i) for i in np.flatnonzero(mask)}
    moved = round(fraction * len(kept))
    survivors = kept - set(sorted(kept, key=lambda i: (abs(weight[i]), i))[:moved])
    free = sorted(set(range(len(weight))) - survivors, key=lambda i: (-abs(gradient[i]), i))
    chosen = survivors | set(free[:moved])
    after = np.array([i in chosen for i in range(len(weight))])
    return after, np.where(after, weight, 0)


@pytest.mark.parametrize("seed", range(8))
def test_drop_and_grow_is_the_published_update(seed: int) -> None:
    rng = np.random.default_rng(seed)
    mask = rng.random((5, 4, 3, 3)) < 0.4
    weight = np.where(mask, rng.normal(size=mask.shape), 0).astype(np.float32)
    gradient = rng.normal(size=mask.shape).astype(np.float32).round(1)  # with ties
    fraction = float(rng.uniform(0.05, 0.5))
    wanted_mask, wanted_weight = published_update(weight.ravel(), gradient.ravel(), mask.ravel(), fraction)
    found_mask, found_weight = torch.from_numpy(mask.copy()), torch.from_numpy(weight.copy())
    # As the loop has them: channels last, which changes the order in memory but must not change the answer.
    found_weight = found_weight.contiguous(memory_format=torch.channels_last)
    drop_and_grow(found_weight, torch.from_numpy(gradient).abs(), found_mask, fraction)
    assert np.array_equal(found_mask.numpy().ravel(), wanted_mask)
    assert np.array_equal(found_weight.numpy().ravel(), wanted_weight)


class Workshop:
    """A network inside a hook, with gradients and momentum of its own making."""

    def __init__(self, **settings: Any) -> None:
        self.network = make_network()
        self.optimizer = torch.optim.SGD(self.network.parameters(), lr=0.1, momentum=0.9)
        moves = Moves(**{"interval": 2, "fraction": 0.3, "end": 0.5, **settings})
        masks = random_masks(self.network, 0.3, "erk", torch.Generator().manual_seed(0))
        self.hook = DropAndGrow(self.network, masks, self.optimizer, GradientGrowth(), moves)
        self.generator = torch.Generator().manual_seed(1)

    def gradients(self) -> None:
        for parameter in self.network.parameters():
            parameter.grad = torch.randn(parameter.shape, generator=self.generator)

    def masks(self) -> dict[str, Tensor]:
        return {name: mask.clone() for name, mask in self.hook.masks.items()}

    def weights(self) -> dict[str, Tensor]:
        return {name: weight.detach().clone() for name, weight in prunable_weights(self.network).items()}


def test_updates_come_at_the_interval_until_the_end() -> None:
    shop = Workshop(interval=2, end=0.5)
    claimed = []
    for step in range(20):
        shop.gradients()
        claimed.append(shop.hook.on_gradients(step, 20))
    assert [step for step, claim in enumerate(claimed) if claim] == [2, 4, 6, 8]


def test_the_fraction_falls_as_a_cosine(monkeypatch: pytest.MonkeyPatch) -> None:
    """alpha / 2 * (1 + cos(pi t / T_end)) with alpha 0.3, T_end 75: 3/4 of alpha at a third, 1/4 at two thirds."""
    seen: list[float] = []

    def see(weight: Tensor, scores: Tensor, mask: Tensor, fraction: float, *, fresh: bool) -> Tensor:
        assert not fresh, "a weight that returns keeps its value"
        seen.append(fraction)
        return torch.zeros_like(mask)

    monkeypatch.setattr(module, "drop_and_grow", see)
    shop = Workshop(interval=25, end=0.75, fraction=0.3)
    for step in range(100):
        shop.gradients()
        shop.hook.on_gradients(step, 100)
    layers = len(shop.hook.masks)
    assert seen == pytest.approx([0.225] * layers + [0.075] * layers)
    assert seen[0] == pytest.approx(0.3 / 2 * (1 + math.cos(math.pi * 25 / 75)))


def test_an_update_moves_masks_and_spares_weights_and_counts() -> None:
    shop = Workshop()
    before, weights = shop.masks(), shop.weights()
    shop.gradients()
    assert shop.hook.on_gradients(2, 20)
    after = shop.masks()
    moved = 0
    for name, mask in after.items():
        assert int(mask.sum()) == int(before[name].sum()), "every layer keeps its number of weights"
        moved += int((mask & ~before[name]).sum())
        found = prunable_weights(shop.network)[name].detach()
        stayed = mask & before[name]
        assert torch.equal(found[stayed], weights[name][stayed])
        assert not found[~stayed].any()
    assert moved > 50


def test_momentum_of_grown_weights_is_zero_and_no_other() -> None:
    shop = Workshop()
    shop.gradients()
    shop.optimizer.step()
    for state in shop.optimizer.state.values():
        state["momentum_buffer"].fill_(1)
    shop.hook.after_step()
    before = shop.masks()
    shop.gradients()
    shop.hook.on_gradients(2, 20)
    for name, weight in prunable_weights(shop.network).items():
        buffer = shop.optimizer.state[weight]["momentum_buffer"]
        new = shop.hook.masks[name] & ~before[name]
        assert not buffer[new].any()
        assert (buffer[~shop.hook.masks[name]] == 1).all()
        assert int((buffer == 0).sum()) >= int(new.sum())
    norms = [m for m in shop.network.modules() if isinstance(m, nn.BatchNorm2d)]
    assert all((shop.optimizer.state[norm.weight]["momentum_buffer"] == 1).all() for norm in norms)


def test_between_updates_gradients_behind_the_mask_are_zero() -> None:
    shop = Workshop()
    shop.gradients()
    raw = {name: weight.grad.clone() for name, weight in prunable_weights(shop.network).items()}  # type: ignore[union-attr]
    assert not shop.hook.on_gradients(3, 20)
    for name, weight in prunable_weights(shop.network).items():
        assert weight.grad is not None
        assert torch.equal(weight.grad, raw[name] * shop.hook.masks[name])


class Watch:
    """A hook that notes the weights, the masks and the momentum after every step."""

    def __init__(self, network: nn.Module, optimizer: torch.optim.SGD) -> None:
        self.network, self.optimizer = network, optimizer
        self.states: list[dict[str, Tensor]] = []

    def on_gradients(self, step: int, steps: int) -> bool:
        return False

    def after_step(self) -> None:
        self.states.append({k: v.detach().clone() for k, v in self.network.named_parameters()})

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


def test_training_skips_the_optimizer_on_updates_and_freezes_no_sign() -> None:
    """Eight steps, an update at step 4: every other step moves positive and negative weights, that one moves none."""
    network = make_network()
    masks = random_masks(network, 0.3, "erk", torch.Generator().manual_seed(0))
    hooks: list[Any] = []

    def make(optimizer: torch.optim.SGD) -> list[Any]:
        hooks[:] = [
            DropAndGrow(network, masks, optimizer, GradientGrowth(), Moves(4, 0.3, 0.75)),
            Watch(network, optimizer),
        ]
        return hooks

    make_task(schedule=Schedule(epochs=2, batch_size=16, warmup=0)).train(network, hooks=make)
    states = hooks[1].states
    assert len(states) == 8
    for step in range(1, 8):
        before, after = states[step - 1], states[step]
        for name, mask in hooks[0].masks.items():
            both = (before[name] != 0) & (after[name] != 0)
            moved = (before[name] != after[name]) & both
            if step == 4:
                assert not moved.any()
            elif mask.sum() > 20:
                assert moved[before[name] > 0].float().mean() > 0.3
                assert moved[before[name] < 0].float().mean() > 0.3
        biases_move = any(not torch.equal(before[n], after[n]) for n in before if n not in hooks[0].masks)
        assert biases_move == (step != 4)


def test_find_moves_the_masks_and_keeps_every_layers_count() -> None:
    network, generator = make_network(), torch.Generator().manual_seed(0)
    start = random_masks(network, 0.2, "erk", torch.Generator().manual_seed(0))
    (ticket,) = RigL(density=0.2, interval=2).find(network, make_task(), generator)
    assert {n: int(m.sum()) for n, m in ticket.masks.items()} == {n: int(m.sum()) for n, m in start.items()}
    assert ticket.density == density(start)
    assert any(not torch.equal(mask, start[name]) for name, mask in ticket.masks.items())


@pytest.mark.parametrize(
    "fields", [{"interval": 0}, {"drop_fraction": 1.0}, {"drop_fraction": -0.1}, {"end": 1.5}, {"end": -0.1}]
)
def test_impossible_settings_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="rigl: `interval`"):
        METHODS.build("rigl", **fields)


@pytest.mark.parametrize("fields", [{"density": 0.0}, {"density": 1.5}, {"distribution": "even"}])
def test_impossible_masks_are_refused_before_training(fields: dict[str, Any]) -> None:
    network = make_network()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(InputError, match=r"`density`|`distribution`"):
        RigL(**fields).find(network, make_task(), torch.Generator())
    assert equal_states(network, before)
