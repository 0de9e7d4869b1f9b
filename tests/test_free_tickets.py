"""FreeTickets: how the epochs are split, what a stage takes over, when masks move, and several cards of one run."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

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
from torch import Tensor, nn

from cards_deck.errors import InputError
from cards_deck.training.augmentations.crop_flip import CropFlip
from cards_deck.training.cards import make_card
from cards_deck.training.networks import draw_anew
from cards_deck.training.recipe import Recipe
from cards_deck.training.schedule import Schedule
from cards_deck.training.task import Task
from cards_deck.training.tickets import METHODS
from cards_deck.training.tickets import dynamic as module
from cards_deck.training.tickets.allocation import random_masks
from cards_deck.training.tickets.dynamic import GradientGrowth, Moves
from cards_deck.training.tickets.free_tickets import FreeTickets, refining
from cards_deck.training.tickets.stages import Stages, part, stage_task

FOUR = Schedule(epochs=4, batch_size=16, warmup=0.25)


def find(method: FreeTickets, schedule: Schedule = FOUR) -> Any:
    return method.find(make_network(), make_task(schedule=schedule), torch.Generator().manual_seed(0))


def test_epochs_are_split_as_in_the_paper() -> None:
    assert FreeTickets().epochs(450) == (150, 100, 100, 100)
    assert FreeTickets(tickets=2).epochs(4) == (1, 1, 2)
    assert FreeTickets(tickets=1, exploration=0.01).epochs(5) == (1, 4)
    for total in range(4, 40):
        assert sum(FreeTickets().epochs(total)) == total
    with pytest.raises(InputError, match="free_tickets: one exploration and 3 refinements"):
        find(FreeTickets(), replace(FOUR, epochs=3))


def test_a_refinement_has_a_tenth_and_then_a_hundredth_of_the_rate() -> None:
    assert [refining(0.1, p) for p in (0, 0.49, 0.5, 0.99)] == pytest.approx([0.01, 0.01, 0.001, 0.001])


def test_a_part_of_a_schedule_keeps_the_sizes_and_the_warm_up() -> None:
    whole = Schedule(epochs=10, warmup=0.2, sizes=((0.3, 16), (0.7, 24)))
    parts = [part(whole, 0, 4), part(whole, 4, 2), part(whole, 6, 4)]
    sides = [schedule.size(epoch, 32) for schedule in parts for epoch in range(schedule.epochs)]
    assert sides == [whole.size(epoch, 32) for epoch in range(10)] == [16] * 3 + [24] * 4 + [32] * 3
    assert [schedule.warmup for schedule in parts] == [0.5, 0, 0], "two epochs of the first four"
    assert stage_task(make_task(), 0).seed == make_task().seed != stage_task(make_task(), 1).seed


class Seen:
    """The updates of a run: (number of the stage, step in it, share)."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.stages: list[str] = []
        self.rates: list[list[float]] = []
        self.moves: list[tuple[str, int, float]] = []
        self.fresh: list[bool] = []
        train, at = Task.train, Moves.at

        def see_train(task: Task, network: nn.Module, **options: Any) -> nn.Module:
            self.stages.append(options["stage"])
            schedule = options.get("schedule") or task.schedule
            rate = options.get("rate") or schedule.rate
            self.rates.append([rate(share / 8) for share in range(8)])
            return train(task, network, **options)

        def see_at(moves: Moves, step: int, steps: int) -> float | None:
            share = at(moves, step, steps)
            if share is not None and self.stages:  # before the first, it is only asked whether one comes
                self.moves.append((self.stages[-1], step, share))
                self.fresh.append(moves.fresh)
            return share

        monkeypatch.setattr(Task, "train", see_train)
        monkeypatch.setattr(Moves, "at", see_at)


def test_one_run_explores_and_refines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four steps an epoch; an update every second step, and 80 % where the second refinement begins."""
    seen = Seen(monkeypatch)
    tickets = find(FreeTickets(tickets=2, interval=2, exploration=0.5))
    assert seen.stages == ["explore", "refine-1", "refine-2"]
    assert seen.moves == [
        ("explore", 2, 0.5), ("explore", 4, 0.5), ("explore", 6, 0.5), ("refine-1", 2, 0.5),
        ("refine-2", 0, 0.8), ("refine-2", 2, 0.5),
    ]  # fmt: skip
    assert all(seen.fresh), "as published, a weight that returns starts at zero"
    assert seen.rates[0] == pytest.approx([0, 0.025, 0.05, 0.075, 0.1, 0.1, 0.1, 0.1]), "the warm-up, then constant"
    assert seen.rates[1] == seen.rates[2] == pytest.approx([0.01] * 4 + [0.001] * 4)
    assert [ticket.number for ticket in tickets] == [1, 2]
    assert not equal_states(dict(tickets[0].masks), dict(tickets[1].masks))
    assert tickets[0].density == tickets[1].density


def test_a_stage_takes_over_masks_and_momentum(monkeypatch: pytest.MonkeyPatch) -> None:
    network, task = make_network(), make_task(schedule=replace(FOUR, warmup=0))
    masks = random_masks(network, 0.3, "erk", torch.Generator().manual_seed(0))
    stages = Stages(network, masks, task)
    still = Moves(1000, 0.0)
    stages.train("one", 2, GradientGrowth(), still)
    assert stages.optimizer is not None
    buffers = [state["momentum_buffer"].clone() for state in stages.optimizer.state.values()]
    assert all(buffer.any() for buffer in buffers)
    assert (stages.number, stages.first) == (1, 2)

    def see(run: Any, *arguments: Any, **options: Any) -> None:
        found = [state["momentum_buffer"] for state in run.optimizer.state.values()]
        assert all(torch.equal(a, b) for a, b in zip(found, buffers, strict=True))
        assert equal_states(run.hooks[0].masks, masks)

    monkeypatch.setattr("cards_deck.training.task.fit", see)
    stages.train("two", 2, GradientGrowth(), still)


def test_whole_runs_share_neither_weights_nor_masks_nor_order(monkeypatch: pytest.MonkeyPatch) -> None:
    starts: list[dict[str, Tensor]] = []
    make = module.DropAndGrow.__init__

    def see(hook: Any, network: nn.Module, masks: Any, *others: Any) -> None:
        starts.append({name: value.clone() for name, value in network.state_dict().items()})
        make(hook, network, masks, *others)

    monkeypatch.setattr(module.DropAndGrow, "__init__", see)
    seen = Seen(monkeypatch)
    tickets = find(FreeTickets(kind="dst", tickets=2, interval=2), replace(FOUR, epochs=2))
    assert seen.stages == ["run-1", "run-2"]
    assert [step for stage, step, _ in seen.moves if stage == "run-2"] == [2, 4, 6]
    assert seen.rates[0] == seen.rates[1], "each by the whole schedule"
    for name, mask in tickets[0].masks.items():
        assert not torch.equal(starts[0][name], starts[1][name])
        assert mask.all() or not torch.equal(mask, tickets[1].masks[name]), "layers that ERK fills are alike"


def test_weights_drawn_anew_are_those_of_a_fresh_network() -> None:
    network, trained = make_network(), make_task().train(make_network())
    before = torch.random.get_rng_state()
    draw_anew(trained, torch.Generator().manual_seed(0))
    assert torch.equal(torch.random.get_rng_state(), before), "the global stream is left alone"
    for name, value in trained.state_dict().items():
        fresh = network.state_dict()[name]
        if "norm" in name or name.startswith("2."):
            assert torch.equal(value, fresh), "batch-norm as at the start"
        elif value.dim() > 1:
            assert not torch.equal(value, fresh)
            assert float(value.std()) == pytest.approx(float(fresh.std()), rel=0.3)


def test_the_cards_of_one_run_have_ids_of_their_own() -> None:
    method = FreeTickets(tickets=2)
    recipe = Recipe(NETWORK, method, CropFlip(), FOUR, 0)
    cards = [make_card("card", recipe, make_network(), ticket, patterns(16)) for ticket in find(method)]
    assert [card.record.method["ticket"] for card in cards] == [1, 2]
    assert cards[0].id != cards[1].id


@pytest.mark.parametrize(
    "fields", [{"kind": "both"}, {"tickets": 0}, {"exploration": 0.0}, {"exploration": 1.0}, {"escape": 1.0}]
)
def test_impossible_settings_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="free_tickets: `"):
        METHODS.build("free_tickets", **fields)
