"""Budgeted pruning: its plan, its rounds and the learning rates of its retrainings, by hand."""

from __future__ import annotations

import math
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
from torch import nn

from cards_deck.errors import InputError
from cards_deck.training import loop
from cards_deck.training.networks import prunable_weights
from cards_deck.training.schedule import Schedule
from cards_deck.training.tickets import METHODS
from cards_deck.training.tickets.bimp import Bimp, Rounds
from cards_deck.training.tickets.retraining import Plan, Rates


def test_the_budget_is_split_without_rest() -> None:
    """Ten epochs: five dense ones, then 1, 2 and 2."""
    plan = Bimp(dense=0.5, rounds=3).plan(10)
    assert plan.starts == (0, 5, 6, 8, 10)
    assert [plan.length(phase) for phase in range(4)] == [5, 1, 2, 2]
    assert Bimp(dense=0.75, rounds=1).plan(4).starts == (0, 3, 4)


@pytest.mark.parametrize(
    ("fields", "epochs", "says"),
    [
        ({"dense": 0.5, "rounds": 3}, 4, "3 rounds need an epoch each after the 2 dense ones of 4"),
        ({"dense": 0.9, "rounds": 1}, 2, "need an epoch each after the 2 dense ones"),
        ({"dense": 0.2, "rounds": 2, "retrain": "lrw"}, 10, "must have at least 4 epochs, not 2"),
    ],
)
def test_a_budget_too_small_is_refused_before_training(
    fields: dict[str, Any], epochs: int, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "_step", lambda *arguments: pytest.fail("training has begun"))
    task = make_task(schedule=replace(SHORT, epochs=epochs))
    with pytest.raises(InputError, match=says):
        Bimp(**fields).find(make_network(), task, torch.Generator())


def rates(retrain: str, decay: Any = "step") -> Rates:
    """Ten dense epochs that fall from 1 to 0.1 and 0.01 at their half and three quarters, then two times five."""
    dense = Schedule(learning_rate=1.0, decay=decay, warmup=0.2, milestones=(0.375, 0.6875))
    # After the warm-up, milestones count what is left: 0.2 + 0.8 * 0.375 = 0.5 and 0.2 + 0.8 * 0.6875 = 0.75.
    return Rates(retrain, dense.rate, 0.2, 1.0, Plan((0, 10, 15, 20)), per_epoch=10)


SHARES = (0.0, 0.05, 0.1, 0.55, 0.775)  # of the retraining; after its warm-up these are 0, 1/2 and 3/4
COSINE = [(1 - math.cos(math.pi * x)) / 2 for x in (0.0, 0.5)]  # half a cosine up: 0 and 1/2


@pytest.mark.parametrize(
    ("retrain", "by_hand"),
    [
        ("ft", [0.01, 0.01, 0.01, 0.01, 0.01]),
        ("lrw", [0.1, 0.1, 0.1, 0.01, 0.01]),  # the dense training from its half: 0.5, 0.525, 0.55, 0.775, 0.8875
        ("llr", [*COSINE, 1.0, 0.5, 0.25]),
        ("clr", [*COSINE, 1.0, 0.505, 0.01 + 0.99 * (1 - math.sqrt(0.5)) / 2]),
        ("slr", [*COSINE, 1.0, 0.1, 0.01]),
    ],
)
def test_rates_of_a_retraining_by_hand(retrain: str, by_hand: list[float]) -> None:
    found = [rates(retrain).retraining_rate(share, 5, 1.0) for share in SHARES]
    assert found == pytest.approx(by_hand)


@pytest.mark.parametrize(
    ("norm_drop", "peak"),
    [(0.8, 0.8), (0.3, 0.5), (1.7, 1.0), (0.0, 0.5)],  # at least 5 of the 10 epochs' share, at most all
)
def test_the_adaptive_peak_by_hand(norm_drop: float, peak: float) -> None:
    found = [rates("allr").retraining_rate(share, 5, norm_drop) for share in (0.05, 0.1, 0.55, 1.0)]
    assert found == pytest.approx([peak / 2, peak, peak / 2, 0.0])


def test_every_step_has_the_rate_of_its_phase() -> None:
    rule = rates("llr", "linear")
    dense = [rule(step, []) for step in (0, 10, 20, 60, 99)]
    assert dense == pytest.approx([0, 0.5, 1.0, 0.5, 1 / 80])
    assert [rule(step, [1.0]) for step in (100, 105, 149)] == pytest.approx([0, 1.0, (1 - 44 / 45)])
    assert [rule(step, [1.0, 1.0]) for step in (150, 155, 199)] == pytest.approx([0, 1.0, (1 - 44 / 45)])


def test_a_round_prunes_globally_and_measures_what_it_took() -> None:
    """Weights 4, -3, 2 and -1: two rounds to a quarter keep 2 of them and then 1."""
    network = nn.Sequential(nn.Linear(2, 2, bias=False))
    with torch.no_grad():
        network[0].weight.copy_(torch.tensor([[4.0, -3.0], [2.0, -1.0]]))
    hook = Rounds(network, Bimp(density=0.25, rounds=2), [3, 5])
    assert hook.counts == [2, 1]
    for step in range(6):
        network[0].weight.grad = torch.ones(2, 2)
        hook.on_gradients(step, 6)
        hook.after_step()
        kept = int(hook.masks["0.weight"].sum())
        assert kept == (4 if step < 2 else 2 if step < 4 else 1)
    assert network[0].weight.tolist() == [[4.0, 0.0], [0.0, 0.0]]
    first = math.sqrt(2**2 + 1) / math.sqrt(30) / math.sqrt(0.5)
    second = 3 / 5 / math.sqrt(0.5)
    assert hook.norm_drops == pytest.approx([first, second])
    again = Rounds(network, Bimp(density=0.25, rounds=2), [3, 5])
    again.load_state_dict(hook.state_dict())
    assert again.norm_drops == hook.norm_drops
    assert int(again.masks["0.weight"].sum()) == 1


@pytest.mark.parametrize("retrain", ["llr", "allr", "ft", "lrw", "slr", "clr"])
def test_one_run_spends_the_budget_and_no_more(retrain: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four epochs of four steps: dense for two, then a round after 8 and after 12 steps; momentum goes on."""
    seen: list[tuple[float, int, bool]] = []
    network = make_network()
    step = torch.optim.SGD.step

    def noted(optimizer: torch.optim.SGD, closure: None = None) -> None:
        (group, _) = optimizer.param_groups
        kept = sum(int((weight != 0).sum()) for weight in prunable_weights(network).values())
        seen.append((group["lr"], kept, bool(optimizer.state)))
        step(optimizer)

    monkeypatch.setattr(torch.optim.SGD, "step", noted)
    task = make_task(schedule=replace(SHORT, epochs=4, warmup=0.0))
    (ticket,) = Bimp(density=0.25, rounds=2, retrain=retrain).find(network, task, torch.Generator())  # type: ignore[arg-type]
    total = sum(mask.numel() for mask in ticket.masks.values())
    assert len(seen) == 16
    assert [kept for _, kept, _ in seen] == [total] * 8 + [round(total / 2)] * 4 + [round(total / 4)] * 4
    assert [momentum for _, _, momentum in seen] == [False] + [True] * 15
    assert [rate for rate, _, _ in seen[:8]] == pytest.approx([0.1 * (1 - k / 8) for k in range(8)])
    if retrain == "llr":
        assert [rate for rate, _, _ in seen[8:12]] == pytest.approx([0, 0.1 * 0.75 / 0.9, 0.1 * 0.5 / 0.9, 0.025 / 0.9])


@pytest.mark.parametrize(
    "fields", [{"density": 2.0}, {"rounds": 0}, {"dense": 0.0}, {"dense": 1.0}, {"retrain": "x"}, {"dense_rate": "x"}]
)
def test_impossible_settings_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="bimp: "):
        METHODS.build("bimp", **fields)
