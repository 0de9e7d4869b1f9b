"""The lottery ticket method: rewinding by hand, global pruning, freezing by mask alone, refusals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from tiny_training import (
    SHORT,
    equal_states,
    make_network,
    make_task,
    one_thread,  # noqa: F401  (the fixture acts by being here)
)
from torch import Tensor, nn

from cards_deck.errors import InputError
from cards_deck.training import loop
from cards_deck.training.loop import StepHook
from cards_deck.training.networks import draw_anew, prunable_weights
from cards_deck.training.task import HookFactory, Task
from cards_deck.training.tickets import METHODS, Ticket
from cards_deck.training.tickets.lottery import Lottery

SCHEDULE = replace(SHORT, epochs=3, warmup=0.25)  # 12 steps


class Level(StepHook):
    """What one level saw: the state it started from, its rates, its first step, and the state it ended with."""

    def __init__(self, stage: str, network: nn.Module, optimizer: torch.optim.SGD) -> None:
        self.stage, self.optimizer, self.network = stage, optimizer, network
        self.fresh = not optimizer.state
        self.before = {name: value.clone() for name, value in network.state_dict().items()}
        self.weights: list[dict[str, Tensor]] = []
        self.after: dict[str, Tensor] = {}
        self.rates: list[float] = []
        self.steps: list[int] = []

    def on_gradients(self, step: int, steps: int) -> bool:
        self.rates.append(self.optimizer.param_groups[0]["lr"])
        self.steps.append(step)
        return False

    def after_step(self) -> None:
        self.weights.append({name: value.clone() for name, value in self.network.state_dict().items()})

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class SpyTask(Task):
    """A task that notes every training it is asked for."""

    levels: list[Level]

    def train(self, network: nn.Module, *, hooks: HookFactory = lambda optimizer: (), **options: Any) -> nn.Module:
        def both(optimizer: torch.optim.SGD) -> Sequence[StepHook]:
            made = hooks(optimizer)
            self.levels.append(Level(options["stage"], network, optimizer))
            return [*made, self.levels[-1]]

        trained = super().train(network, hooks=both, **options)
        self.levels[-1].after = {name: value.clone() for name, value in trained.state_dict().items()}
        return trained


def followed(**fields: Any) -> tuple[Ticket, list[Level], nn.Module]:
    """A run of levels 100, 50 and 30 %."""
    spy = SpyTask(**vars(make_task(schedule=SCHEDULE)))
    object.__setattr__(spy, "levels", [])
    network = make_network()
    (ticket,) = Lottery(density=0.3, rate=0.5, **fields).find(network, spy, torch.Generator().manual_seed(0))
    return ticket, spy.levels, network


@pytest.mark.parametrize("rewind", [0, 3, 5])
def test_survivors_go_back_to_step_k_exactly(rewind: int) -> None:
    """Weights and batch-norm, its statistics and counter included, are those after k steps of the dense level."""
    ticket, levels, network = followed(rewind=rewind)
    names = list(prunable_weights(network))
    total = sum(levels[0].before[name].numel() for name in names)
    then = levels[0].weights[rewind - 1] if rewind else dict(make_network().state_dict())
    for level, share in zip(levels[1:], (0.5, 0.3), strict=True):
        assert sum(int((level.before[name] != 0).sum()) for name in names) == round(share * total)
        for name, value in level.before.items():
            wanted = torch.where(value != 0, then[name], 0) if name in names else then[name]
            assert torch.equal(value, wanted), name
        assert level.fresh, "the optimizer starts without momentum"
        assert level.steps == list(range(rewind, 12))
        assert level.rates == [SCHEDULE.rate(step / 12) for step in range(rewind, 12)]
    assert [level.stage for level in levels] == ["level-00", "level-01", "level-02"]
    assert all(torch.equal(ticket.state[name], levels[-1].after[name]) for name in ticket.state)


def test_each_level_prunes_the_smallest_trained_weights_of_all_layers() -> None:
    _, levels, network = followed(rewind=2)
    names = list(prunable_weights(network))
    for last, level in pairwise(levels):
        before = torch.cat([last.after[name].flatten() for name in names]).abs()
        kept = torch.cat([level.before[name].flatten() for name in names]) != 0
        assert before[kept].min() >= before[~kept].max()


def test_negative_weights_are_not_frozen() -> None:
    """The known bug: survivors below a threshold, and so all negative ones, stop training."""
    _, levels, network = followed(rewind=2)
    for name in prunable_weights(network):
        start, end = levels[-1].before[name], levels[-1].after[name]
        for survivors in (start < 0, start > 0):
            if survivors.any():
                assert (start != end)[survivors].float().mean() > 0.95


def test_the_control_draws_other_weights_under_the_same_mask() -> None:
    ticket, levels, network = followed(rewind=3, reinitialise=True)
    winner, rewound, _ = followed(rewind=3)
    assert equal_states(dict(ticket.masks), dict(winner.masks))
    assert levels[-1].steps == list(range(12)), "it has the whole schedule"
    for name in prunable_weights(network):
        alive = ticket.masks[name]
        assert (levels[-1].before[name][alive] != rewound[-1].before[name][alive]).all()
    assert equal_states(levels[1].before, rewound[1].before), "only the last level is a control"


def test_drawing_again_gives_a_fresh_network_and_leaves_the_global_generator_alone() -> None:
    network, fresh = make_network(), make_network().state_dict()
    make_task().train(network)
    torch.manual_seed(3)
    wanted = torch.rand(1)
    torch.manual_seed(3)
    draw_anew(network, torch.Generator().manual_seed(1))
    assert torch.equal(torch.rand(1), wanted)
    for name, value in network.state_dict().items():
        if name in prunable_weights(network):
            assert not torch.equal(value, fresh[name])
            assert 0.5 < float(value.std() / fresh[name].std()) < 2, "the same distribution"
        elif not name.endswith("bias"):
            assert torch.equal(value, fresh[name]), "batch-norm as it begins"


def test_a_rewind_beyond_the_schedule_is_refused_before_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "_step", lambda *arguments: pytest.fail("training has begun"))
    with pytest.raises(InputError, match="`rewind` must be one of the 12 steps of the schedule, got 12"):
        Lottery(rewind=12).find(make_network(), make_task(schedule=SCHEDULE), torch.Generator())


@pytest.mark.parametrize("fields", [{"density": 0.0}, {"rate": 0.0}, {"rate": 1.0}, {"rewind": -1}])
def test_impossible_settings_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"lottery: `(density|rate)`"):
        METHODS.build("lottery", **fields)
