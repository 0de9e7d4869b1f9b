"""Sup-tickets: the cycles, superposition within the density by hand, and batch-norm computed anew."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from tiny_training import equal_states, make_network, make_task, one_thread  # noqa: F401  (the fixture acts by being here)
from torch import Tensor, nn

from cards_deck.errors import InputError
from cards_deck.training.forward import to_float
from cards_deck.training.schedule import Schedule
from cards_deck.training.task import Task
from cards_deck.training.tickets import METHODS
from cards_deck.training.tickets import sup_tickets as module
from cards_deck.training.tickets.dynamic import Moves
from cards_deck.training.tickets.sup_tickets import SupTickets, masked_state, recompute_batch_norm, superpose, triangle

TEN = Schedule(epochs=10, batch_size=16)


def test_the_rate_of_a_cycle_is_a_triangle() -> None:
    assert [triangle(1, 5, p) for p in (0, 0.25, 0.5, 0.75, 1)] == [1, 3, 5, 3, 1]


def test_epochs_are_split_as_in_the_paper() -> None:
    assert SupTickets().epochs(250) == (226, 8)
    assert SupTickets().epochs(10) == (7, 1)
    with pytest.raises(InputError, match="3 cycles of 1 epochs leave none of the schedule's 3 epochs"):
        SupTickets().find(make_network(), make_task(schedule=replace(TEN, epochs=3)), torch.Generator())


def test_superposition_by_hand() -> None:
    """Half of each: 2 -> 3, 4 -> 2 (only here), 0 -> 2.5 (only there), -1 -> -1. Two layers keep four weights."""
    old = {"a": torch.tensor([2.0, 4.0, 0.0]), "b": torch.tensor([-1.0, 0.0])}
    old |= {"mean": torch.tensor([1.0]), "n": torch.tensor(7)}
    new = {"a": torch.tensor([4.0, 0.0, 5.0]), "b": torch.tensor([-1.0, 0.0])}
    new |= {"mean": torch.tensor([3.0]), "n": torch.tensor(9)}
    masks = {"a": torch.tensor([True, True, False]), "b": torch.tensor([True, False])}
    new_masks = {"a": torch.tensor([True, False, True]), "b": torch.tensor([True, False])}
    state, found = superpose(old, masks, new, new_masks, 0.5, 3)
    assert state["a"].tolist() == [3.0, 2.0, 2.5]
    assert state["b"].tolist() == [0.0, 0.0], "the smallest over both layers goes"
    assert {name: mask.tolist() for name, mask in found.items()} == {"a": [True] * 3, "b": [False] * 2}
    assert state["mean"].tolist() == [2.0]
    assert state["n"] == 9
    state, found = superpose(old, masks, new, new_masks, 1 / 4, 2)
    assert state["a"].tolist() == [2.5, 3.0, 0.0]
    assert found["a"].tolist() == [True, True, False]


def test_a_state_is_masked_before_it_is_averaged() -> None:
    network = make_network()
    masks = {"1.weight": torch.zeros_like(network.state_dict()["1.weight"], dtype=torch.bool)}
    state = masked_state(network, masks)
    assert not state["1.weight"].any()
    assert network.state_dict()["1.weight"].any(), "the network stays"


class Cycles:
    """The stages of a run with their rates, updates, and networks at the end; and what was superposed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.stages: list[str] = []
        self.rates: list[Any] = []
        self.moves: list[tuple[str, int]] = []
        self.fractions: list[float] = []
        self.shares: list[float] = []
        self.unlike: list[bool] = []
        self.before: list[Tensor] = []
        self.started: list[Tensor] = []
        train, at, join = Task.train, Moves.at, superpose

        def see_train(task: Task, network: nn.Module, **options: Any) -> nn.Module:
            self.stages.append(options["stage"])
            self.rates.append(options["rate"])
            self.started.append(network.state_dict()["5.conv2.weight"].clone())
            trained = train(task, network, **options)
            self.before.append(trained.state_dict()["5.conv2.weight"].clone())
            return trained

        def see_at(moves: Moves, step: int, steps: int) -> float | None:
            share = at(moves, step, steps)
            if share is not None and self.stages:  # before the first, it is only asked whether one comes
                self.moves.append((self.stages[-1], step))
                self.fractions.append(share)
            return share

        def see_join(*arguments: Any) -> Any:
            self.shares.append(arguments[4])
            self.unlike.append(not equal_states(arguments[1], arguments[3]))
            return join(*arguments)

        monkeypatch.setattr(Task, "train", see_train)
        monkeypatch.setattr(Moves, "at", see_at)
        monkeypatch.setattr(module, "superpose", see_join)


@pytest.mark.parametrize("growth", ["gradient", "random"])
def test_cheap_tickets_come_one_a_cycle(growth: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four steps an epoch: one epoch before the cycles, three cycles of an epoch."""
    seen = Cycles(monkeypatch)
    network = make_network()
    method = SupTickets(density=0.2, interval=2, drop_fraction=0.4, growth=growth, share=0.75)  # type: ignore[arg-type]
    (ticket,) = method.find(network, make_task(schedule=replace(TEN, epochs=4)), torch.Generator().manual_seed(0))
    assert seen.stages == ["before", "cycle-1", "cycle-2", "cycle-3"]
    assert seen.moves == [("before", 2), ("cycle-1", 0), ("cycle-2", 0), ("cycle-3", 0)]
    assert seen.fractions == [0.4, 0.5, 0.5, 0.5], "the first is constant, not on its way down"
    assert seen.unlike == [True] * 3, "each cycle's masks are others than those superposed so far"
    assert seen.shares == [1 / 2, 1 / 3, 1 / 4], "so that the four networks count the same"
    assert seen.rates[0] is None
    assert [seen.rates[1](p) for p in (0, 0.5)] == pytest.approx([0.001, 0.005])
    for end, start in zip(seen.before, seen.started[1:], strict=False):
        assert torch.equal(end, start), "training goes on from the network, not from the average"
    total = sum(mask.numel() for mask in ticket.masks.values())
    assert sum(int(mask.sum()) for mask in ticket.masks.values()) == round(0.2 * total)
    assert not torch.equal(ticket.state["5.conv2.weight"], seen.before[-1])


def test_a_moving_average_weighs_the_newest_by_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = Cycles(monkeypatch)
    method = SupTickets(average="moving", share_of_new=0.4, tickets=2, share=0.5)
    method.find(make_network(), make_task(schedule=replace(TEN, epochs=4)), torch.Generator().manual_seed(0))
    assert seen.shares == [0.4, 0.4]


class AsTheyAre:
    """No augmentation."""

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        return images


def test_batch_norm_is_computed_anew_from_the_training_images() -> None:
    network, task = make_network(), make_task(64, schedule=TEN, augmentation=AsTheyAre())
    with torch.no_grad():
        for name, buffer in network.named_buffers():
            if "running" in name:
                buffer.fill_(50)
    weights = {name: p.clone() for name, p in network.named_parameters()}
    recompute_batch_norm(network, task, seed=0)
    stem = network.get_submodule("1")
    inside = stem(network.get_submodule("0")(to_float(task.images, 32)))
    norm = network.get_submodule("2")
    assert isinstance(norm, nn.BatchNorm2d)
    torch.testing.assert_close(norm.running_mean, inside.detach().mean((0, 2, 3)), rtol=1e-4, atol=1e-5)
    # The mean over four batches of their variances, a little below that of all images together.
    assert norm.running_var is not None
    ratio = norm.running_var / inside.detach().var((0, 2, 3))
    assert bool(((ratio > 0.8) & (ratio < 1.05)).all())
    assert norm.momentum == 0.1
    assert all(torch.equal(value, weights[name]) for name, value in network.named_parameters())
    again = make_network()
    recompute_batch_norm(again, task, seed=0)
    assert equal_states(network, again)


@pytest.mark.parametrize(
    "fields",
    [
        {"growth": "none"}, {"average": "none"}, {"tickets": 0}, {"share": 0.0}, {"share": 1.0}, {"escape": 1.0},
        {"share_of_new": 0.0}, {"low": 0.0}, {"low": 0.1},
    ],
)  # fmt: skip
def test_impossible_settings_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=f"sup_tickets: .*`{next(iter(fields))}`"):
        METHODS.build("sup_tickets", **fields)
