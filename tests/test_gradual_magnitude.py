"""Gradual magnitude pruning and one-shot fine-tuning: the cubic curve by hand, what is pruned when, refusals."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from tiny_training import (
    SHORT,
    make_network,
    make_task,
    one_thread,  # noqa: F401  (the fixture acts by being here)
)
from torch import Tensor, nn

from cards_deck.errors import InputError
from cards_deck.training import loop
from cards_deck.training.networks import prunable_weights
from cards_deck.training.schedule import Schedule
from cards_deck.training.tickets import METHODS
from cards_deck.training.tickets.allocation import layer_counts
from cards_deck.training.tickets.fine_tune import FineTune
from cards_deck.training.tickets.gradual_magnitude import GradualMagnitude


def test_the_cubic_curve_by_hand() -> None:
    """From step 10 to 50 of 100: after a quarter of the way 1 - (3/4)^3 of what goes in the end is gone."""
    method = GradualMagnitude(start=0.1, end=0.5, interval=10)
    by_hand = {10: 0.0, 20: 37 / 64, 30: 7 / 8, 40: 63 / 64, 50: 1.0}
    for taken in range(101):
        share = method.pruned_share(taken, 100)
        if taken in by_hand:
            assert share == pytest.approx(by_hand[taken])
        else:
            assert share is None


def test_the_last_pruning_is_exact_wherever_it_falls() -> None:
    """Every 30 steps from 10, and at 50, which is none of them."""
    method = GradualMagnitude(start=0.1, end=0.5, interval=30)
    assert [t for t in range(101) if method.pruned_share(t, 100) is not None] == [10, 40, 50]
    assert method.pruned_share(50, 100) == 1.0


class Watch:
    """Notes the kept weights of every layer after each step."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        self.counts: list[dict[str, int]] = []
        self.values: list[dict[str, Tensor]] = []

    def after_step(self) -> None:
        weights = prunable_weights(self.network)
        self.counts.append({name: int((weight != 0).sum()) for name, weight in weights.items()})
        self.values.append({name: weight.detach().clone() for name, weight in weights.items()})


def watched(method: GradualMagnitude, monkeypatch: pytest.MonkeyPatch) -> tuple[Watch, nn.Module]:
    """A run of 20 steps."""
    network = make_network()
    watch = Watch(network)
    step = loop._step

    def stepped(run: loop.Run, *arguments: Any) -> Tensor:
        loss = step(run, *arguments)
        watch.after_step()
        return loss

    monkeypatch.setattr(loop, "_step", stepped)
    method.find(network, make_task(schedule=replace(SHORT, epochs=5)), torch.Generator())
    return watch, network


@pytest.mark.parametrize("distribution", ["uniform", "erk", "global"])
def test_training_prunes_along_the_curve(distribution: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """After 4, 8 and 12 of 20 steps: 0, 7/8 and all of what goes; smallest first, and nothing comes back."""
    method = GradualMagnitude(density=0.2, distribution=distribution, start=0.2, end=0.6, interval=4)
    watch, network = watched(method, monkeypatch)
    shapes = {name: tuple(weight.shape) for name, weight in prunable_weights(network).items()}
    sizes = {name: weight.numel() for name, weight in prunable_weights(network).items()}
    total, goal = sum(sizes.values()), round(0.2 * sum(sizes.values()))
    totals = [sum(count.values()) for count in watch.counts]
    assert totals[:7] == [total] * 7
    assert totals[7:11] == [pytest.approx(total - 7 / 8 * (total - goal), abs=len(sizes))] * 4
    assert totals[11:] == [goal] * 9
    if distribution != "global":
        assert watch.counts[-1] == layer_counts(shapes, 0.2, distribution)
    for one, other in zip(watch.values, watch.values[1:], strict=False):
        assert all(not other[name][one[name] == 0].any() for name in one), "what is pruned stays so"
    before = torch.cat([value.flatten() for value in watch.values[6].values()]).abs()
    after = torch.cat([value.flatten() for value in watch.values[7].values()])
    if distribution == "global":
        assert before[after != 0].mean() > 2 * before[after == 0].mean()


def test_an_interval_without_a_pruning_between_the_ends_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be one-shot pruning by another name: nothing at `start`, all at `end`."""
    with pytest.raises(InputError, match="got 8 for 8 steps between `start` and `end`"):
        watched(GradualMagnitude(start=0.2, end=0.6, interval=8), monkeypatch)
    watched(GradualMagnitude(start=0.2, end=0.6, interval=7), monkeypatch)


@pytest.mark.parametrize(
    "fields",
    [
        {"density": 0.0},
        {"start": -0.1},
        {"start": 0.7, "end": 0.7},
        {"end": 1.0},
        {"interval": 0},
        {"distribution": "even"},
    ],
)
def test_impossible_settings_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="gradual_magnitude: "):
        METHODS.build("gradual_magnitude", **fields)


def test_a_schedule_too_short_is_refused_before_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "_step", lambda *arguments: pytest.fail("training has begun"))
    task = make_task(16, schedule=replace(SHORT, epochs=2))
    for fields in ({"end": 0.2}, {"start": 0.5, "end": 0.6}, {"end": 0.8}):
        with pytest.raises(InputError, match="2 steps leave none"):
            GradualMagnitude(**fields).find(make_network(), task, torch.Generator())


def test_fine_tuning_is_slow_constant_and_on_top(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight steps of training, pruned once to a fifth, four of tuning at a hundredth of the rate."""
    seen: list[tuple[float, int]] = []
    network, step = make_network(), torch.optim.SGD.step

    def noted(optimizer: torch.optim.SGD, closure: None = None) -> None:
        kept = sum(int((weight != 0).sum()) for weight in prunable_weights(network).values())
        seen.append((optimizer.param_groups[0]["lr"], kept))
        step(optimizer)

    monkeypatch.setattr(torch.optim.SGD, "step", noted)
    schedule = replace(SHORT, warmup=0.5)
    method = FineTune(density=0.2, epochs=0.5, learning_rate=0.01)
    (ticket,) = method.find(network, make_task(schedule=schedule), torch.Generator())
    total = sum(mask.numel() for mask in ticket.masks.values())
    assert [rate for rate, _ in seen] == pytest.approx([schedule.rate(k / 8) for k in range(8)] + [0.001] * 4)
    assert [kept for _, kept in seen] == [total] * 8 + [round(0.2 * total)] * 4


@pytest.mark.parametrize("fields", [{"density": 1.1}, {"epochs": 0.0}, {"learning_rate": 0.0}])
def test_impossible_fine_tuning_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="fine_tune: "):
        METHODS.build("fine_tune", **fields)


def test_tuning_is_at_full_size_and_at_least_an_epoch() -> None:
    schedule = Schedule(epochs=3, sizes=((0.5, 20),), warmup=0.2)
    tuning = FineTune(epochs=0.1).tuning(schedule)
    assert (tuning.epochs, tuning.sizes, tuning.rate(0.0), tuning.rate(1.0)) == (1, (), 0.001, 0.001)
