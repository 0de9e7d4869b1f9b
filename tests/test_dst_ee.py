"""DST-EE: its acquisition function by hand, what its counters count, and RigL as its limit."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from tiny_training import equal_states, make_network, make_task, one_thread  # noqa: F401  (the fixture acts by being here)

from cards_deck.errors import InputError
from cards_deck.training.schedule import Schedule
from cards_deck.training.tickets import METHODS
from cards_deck.training.tickets.dst_ee import DSTEE, AcquisitionGrowth
from cards_deck.training.tickets.dynamic import drop_and_grow
from cards_deck.training.tickets.rigl import RigL


def test_the_acquisition_function_by_hand() -> None:
    """Gradients of mean magnitude 2; one weight kept for a period, one for none; c = 0.5, epsilon = 1, t = e^2."""
    growth = AcquisitionGrowth({"a": torch.tensor([True, False])}, 0.5, 1.0)
    step = 7
    found = growth.scores("a", torch.tensor([-3.0, 1.0]), step)
    torch.testing.assert_close(
        found, torch.tensor([3 / 2 + 0.5 * math.log(step) / 2, 1 / 2 + 0.5 * math.log(step) / 1])
    )
    assert growth.scores("a", torch.zeros(2), step).isfinite().all()


def test_counters_count_the_periods_of_each_weight() -> None:
    growth = AcquisitionGrowth({"a": torch.tensor([True, True, False, False])}, 0.1, 1.0)
    assert growth.periods["a"].tolist() == [1, 1, 0, 0]
    growth.moved({"a": torch.tensor([True, False, True, False])})
    growth.moved({"a": torch.tensor([True, False, False, True])})
    assert growth.periods["a"].tolist() == [3, 1, 1, 1]
    other = AcquisitionGrowth({"a": torch.zeros(4, dtype=torch.bool)}, 0.1, 1.0)
    other.load_state_dict(growth.state_dict())
    assert other.periods["a"].tolist() == [3, 1, 1, 1]


def test_a_weight_never_kept_grows_before_one_of_a_larger_gradient() -> None:
    """With c = 1 at step 100: 2 * 4 / 3 + 4.6 / 5 against 4 / 3 + 4.6; without exploration the gradient decides."""
    for exploration, grown in ((1.0, 3), (0.0, 2)):
        growth = AcquisitionGrowth({"a": torch.tensor([True, True, True, False])}, exploration, 1.0)
        growth.periods["a"] += torch.tensor([3, 3, 3, 0], dtype=torch.int32)
        weight = torch.tensor([5.0, 1.0, 0.0, 0.0])
        mask = torch.tensor([True, True, False, False])
        gradient = torch.tensor([0.0, 0.0, 2.0, 1.0])
        drop_and_grow(weight, growth.scores("a", gradient, 100), mask, 0.5)
        assert torch.nonzero(mask).flatten().tolist() == [0, grown]
        assert weight.tolist() == [5.0, 0.0, 0.0, 0.0]


def test_without_exploration_it_is_rigl() -> None:
    tickets = []
    for method in (
        RigL(density=0.2, interval=2),
        DSTEE(density=0.2, interval=2, exploration=0.0),
        DSTEE(density=0.2, interval=2, exploration=5.0),
    ):
        task = make_task(schedule=Schedule(epochs=3, batch_size=16))
        tickets += method.find(make_network(), task, torch.Generator().manual_seed(0))
    assert equal_states(dict(tickets[0].masks), dict(tickets[1].masks))
    assert equal_states(dict(tickets[0].state), dict(tickets[1].state))
    assert not equal_states(dict(tickets[0].masks), dict(tickets[2].masks))
    assert not any("periods" in name for name in tickets[1].state), "no counters in the result"


@pytest.mark.parametrize("fields", [{"exploration": -0.1}, {"epsilon": 0.0}])
def test_impossible_settings_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="dst_ee: `exploration`"):
        METHODS.build("dst_ee", **fields)
