"""What moves masks: the exact choice of the smallest, when updates come, random growth, and SET."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_training import equal_states, make_network, make_task, one_thread  # noqa: F401  (the fixture acts by being here)
from torch import Tensor

from cards_deck.errors import InputError
from cards_deck.training.schedule import Schedule
from cards_deck.training.tickets import METHODS
from cards_deck.training.tickets.allocation import random_masks
from cards_deck.training.tickets.dynamic import (
    DropAndGrow,
    GradientGrowth,
    Moves,
    RandomGrowth,
    check_updates,
    drop_and_grow,
)
from cards_deck.training.tickets.masked import KeepMasked
from cards_deck.training.tickets.selection import largest, smallest
from cards_deck.training.tickets.set import SET


def test_smallest_and_largest_by_hand() -> None:
    """Of the three fives the first two are taken, from whichever side they come."""
    values = torch.tensor([5.0, 1.0, 5.0, 9.0, 5.0, torch.inf])
    assert smallest(values, 3).tolist() == [True, True, True, False, False, False]
    assert largest(values, 4).tolist() == [True, False, True, True, False, True]
    assert not smallest(values, 0).any()
    assert smallest(values, 6).all()


@settings(max_examples=80, deadline=None)
@given(st.lists(st.integers(-4, 4), min_size=1, max_size=40), st.data())
def test_the_choice_is_that_of_a_stable_sort(numbers: list[int], data: st.DataObject) -> None:
    count = data.draw(st.integers(0, len(numbers)))
    values = torch.tensor(numbers, dtype=torch.float32)
    rising = sorted(range(len(numbers)), key=lambda i: (numbers[i], i))[:count]
    falling = sorted(range(len(numbers)), key=lambda i: (-numbers[i], i))[:count]
    assert torch.nonzero(smallest(values, count)).flatten().tolist() == sorted(rising)
    assert torch.nonzero(largest(values, count)).flatten().tolist() == sorted(falling)


def test_what_is_not_a_number_has_no_rank() -> None:
    values = torch.tensor([1.0, torch.nan, 2.0])
    assert smallest(values, 2).tolist() == [True, False, True]
    with pytest.raises(InputError, match="diverged"):
        smallest(values, 3)


def test_updates_come_at_the_interval_and_at_the_start_if_asked_but_never_last() -> None:
    moves = Moves(3, 0.5, end=0.8, falls=False)
    assert [step for step in range(12) if moves.at(step, 12) is not None] == [3, 6, 9]
    assert {moves.at(step, 12) for step in (3, 6, 9)} == {0.5}
    first = Moves(3, 0.5, end=0.0, first=0.8)
    assert [(step, first.at(step, 12)) for step in range(12) if first.at(step, 12) is not None] == [(0, 0.8)]
    always = Moves(3, 0.4, falls=False)
    assert [step for step in range(10) if always.at(step, 10) is not None] == [3, 6]  # step 9 is the last
    assert Moves(1, 0.4).at(5, 10) == pytest.approx(0.2)  # half of a cosine


def test_a_weight_that_returns_keeps_its_value_or_starts_at_zero() -> None:
    """By hand: the 1 drops, and has the largest score of all that are not kept."""
    for fresh, value in ((False, 1.0), (True, 0.0)):
        weight, mask = torch.tensor([1.0, -2.0, 3.0, 0.0]), torch.tensor([True, True, True, False])
        grown = drop_and_grow(weight, torch.tensor([9.0, 9.0, 9.0, 1.0]), mask, 0.34, fresh=fresh)
        assert grown.tolist() == [True, False, False, False]
        assert mask.tolist() == [True, True, True, False]
        assert weight.tolist() == [value, -2.0, 3.0, 0.0]


@pytest.mark.parametrize(
    "settings",
    [
        {"name": "rigl"}, {"name": "rigl", "interval": 3, "end": 0.25}, {"name": "dst_ee"},
        {"name": "set", "interval": 7}, {"name": "free_tickets", "kind": "dst"},
        {"name": "free_tickets", "escape": 0.0, "interval": 4}, {"name": "sup_tickets", "escape": 0.0},
    ],
)  # fmt: skip
def test_masks_that_would_never_move_are_refused_before_training(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eight steps, two an epoch."""
    monkeypatch.setattr("cards_deck.training.task.fit", lambda *a, **k: pytest.fail("it trained"))
    name, task = settings["name"], make_task(32, schedule=Schedule(epochs=4, batch_size=16))
    method = METHODS.build(name, **{key: value for key, value in settings.items() if key != "name"})
    with pytest.raises(InputError, match=f"{name}: `interval` must let an update .* for 8 steps in all"):
        method.find(make_network(), task, torch.Generator())


def test_masks_that_are_asked_to_stay_may_stay() -> None:
    for density, moves in ((1.0, Moves(9, 0.3)), (0.5, Moves(9, 0.0)), (0.5, Moves(9, 0.3, end=0.0))):
        check_updates("rigl", density, [(moves, 8)])
    check_updates("rigl", 0.5, [(Moves(9, 0.0), 8), (Moves(9, 0.0, end=0.0, first=0.5), 8)])


def test_random_growth_depends_on_seed_and_step_alone() -> None:
    one, two = (RandomGrowth(torch.Generator().manual_seed(3)) for _ in range(2))
    shape = torch.zeros(4, 5)
    first = [one.scores(name, shape, 8) for name in ("a", "b")]
    assert not torch.equal(*first)
    one.scores("a", shape, 12)
    two.scores("a", shape, 4)
    again = [two.scores(name, shape, 8) for name in ("a", "b")]
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    other = RandomGrowth(torch.Generator().manual_seed(4)).scores("a", shape, 8)
    assert not torch.equal(first[0], other)


def test_random_growth_reaches_every_free_weight_and_ignores_the_gradient() -> None:
    """8 weights, 4 kept, the smallest of them goes: it and the four free ones grow equally often."""
    grown = torch.zeros(8)
    for seed in range(200):
        weight = torch.tensor([1.0, -2.0, 3.0, -4.0, 0, 0, 0, 0])
        mask = weight != 0
        growth = RandomGrowth(torch.Generator().manual_seed(seed))
        gradient = torch.tensor([0.0] * 7 + [100.0])
        grown += drop_and_grow(weight, growth.scores("a", gradient, 1), mask, 0.25)
        assert int(mask.sum()) == 4
        assert weight.tolist()[1:] == [-2, 3, -4, 0, 0, 0, 0]
        assert weight[0] == (1 if mask[0] else 0)  # dropped and back again, it keeps its value
    assert grown[1:4].sum() == 0
    assert all(20 <= int(times) <= 60 for times in (grown[0], *grown[4:]))


def test_masks_written_or_replaced_are_followed() -> None:
    """The factors that a hook multiplies by are those of its masks as they are now."""
    network = make_network()
    hook = KeepMasked(network, random_masks(network, 0.5, "uniform", torch.Generator().manual_seed(0)))
    names = list(hook.masks)

    def kept() -> dict[str, Tensor]:
        with torch.no_grad():
            for weight in hook.weights.values():
                weight.fill_(1)
        hook.after_step()
        return {name: weight.detach() != 0 for name, weight in hook.weights.items()}

    assert equal_states(kept(), hook.masks)
    hook.masks[names[0]][0] = False
    assert equal_states(kept(), hook.masks)
    assert not kept()[names[0]][0].any()
    hook.masks[names[1]] = torch.zeros_like(hook.masks[names[1]])
    assert equal_states(kept(), hook.masks)
    hook.load_state_dict({"masks": {name: torch.ones_like(mask) for name, mask in hook.masks.items()}})
    assert all(mask.all() for mask in kept().values())


def test_a_hook_moves_masks_of_its_own() -> None:
    network = make_network()
    given = random_masks(network, 0.5, "uniform", torch.Generator().manual_seed(0))
    before = {name: mask.clone() for name, mask in given.items()}
    hook = DropAndGrow(network, given, torch.optim.SGD(network.parameters(), lr=0.1), GradientGrowth(), Moves(1, 0.3))
    for parameter in network.parameters():
        parameter.grad = torch.rand_like(parameter)
    assert hook.on_gradients(1, 10)
    assert equal_states(given, before)
    assert not equal_states(given, hook.masks)


def test_the_growths_state_travels_with_the_hooks() -> None:
    class Counts(GradientGrowth):
        moves = 0

        def moved(self, masks: dict[str, Tensor]) -> None:
            self.moves += 1

        def state_dict(self) -> dict[str, Any]:
            return {"moves": self.moves}

        def load_state_dict(self, state: dict[str, Any]) -> None:
            self.moves = state["moves"]

    hooks = []
    for _ in range(2):
        network = make_network()
        optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
        masks = random_masks(network, 0.5, "uniform", torch.Generator().manual_seed(0))
        hooks.append(DropAndGrow(network, masks, optimizer, Counts(), Moves(1, 0.3)))
    for parameter in hooks[0].network.parameters():
        parameter.grad = torch.ones_like(parameter)
    assert hooks[0].on_gradients(1, 10)
    assert hooks[0].on_gradients(2, 10)
    hooks[1].load_state_dict(hooks[0].state_dict())
    assert hooks[1].growth.moves == 2  # type: ignore[attr-defined]


def test_set_moves_once_an_epoch_until_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """64 images in batches of 16: steps 4 and 8 of 12."""
    steps: list[int] = []
    scores = RandomGrowth.scores

    def see(self: RandomGrowth, name: str, gradient: Tensor, step: int) -> Tensor:
        steps.append(step)
        return scores(self, name, gradient, step)

    monkeypatch.setattr(RandomGrowth, "scores", see)
    network, generator = make_network(), torch.Generator().manual_seed(0)
    start = random_masks(network, 0.2, "erk", torch.Generator().manual_seed(0))
    task = make_task(schedule=Schedule(epochs=3, batch_size=16))
    (ticket,) = SET(density=0.2).find(network, task, generator)
    assert sorted(set(steps)) == [4, 8]
    assert {n: int(m.sum()) for n, m in ticket.masks.items()} == {n: int(m.sum()) for n, m in start.items()}
    assert any(not torch.equal(mask, start[name]) for name, mask in ticket.masks.items())


def test_an_impossible_random_mask_is_refused_when_it_is_asked_for() -> None:
    with pytest.raises(InputError, match="random: `distribution` must be"):
        METHODS.build("random", distribution="even")


@pytest.mark.parametrize("method", ["set", "rigl", "dst_ee", "free_tickets", "sup_tickets"])
@pytest.mark.parametrize(
    "fields",
    [{"interval": 0}, {"drop_fraction": 1.0}, {"density": 0.0}, {"density": 1.1}, {"distribution": "even"}],
)
def test_impossible_settings_are_refused(method: str, fields: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=f"{method}: .*`{next(iter(fields))}`"):
        METHODS.build(method, **fields)
