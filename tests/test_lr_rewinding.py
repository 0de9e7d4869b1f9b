"""Learning-rate rewinding: its levels by hand, and what one level hands to the next."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, ClassVar

import pytest
import torch
from tiny_training import make_network, make_task, one_thread  # noqa: F401  (the fixture acts by being here)
from torch import Tensor, nn

from cards_deck.errors import InputError
from cards_deck.training.loop import StepHook
from cards_deck.training.networks import prunable_weights
from cards_deck.training.schedule import Schedule
from cards_deck.training.task import HookFactory, Task
from cards_deck.training.tickets import METHODS, Ticket
from cards_deck.training.tickets.lr_rewinding import LearningRateRewinding, level_counts, prune_smallest


def test_levels_by_hand() -> None:
    """A fifth of the survivors goes each time; the last level stops at the target instead of 86."""
    by_hand = [1000, 800, 640, 512, 410, 328, 262, 210, 168, 134, 107, 100]
    assert level_counts(1000, 0.1, 0.2) == by_hand


def test_ninety_five_per_cent_takes_fourteen_rounds() -> None:
    """0.8^13 = 0.055 and 0.8^14 = 0.044 (methods of the CARDs study)."""
    counts = level_counts(11_164_352, 0.05, 0.2)
    assert len(counts) - 1 == 14
    assert counts[-1] == round(0.05 * 11_164_352)
    for level, count in enumerate(counts[:-1]):
        assert count / 11_164_352 == pytest.approx(0.8**level, rel=1e-5)


@pytest.mark.parametrize(
    ("total", "density", "rate", "counts"),
    [
        (1000, 1.0, 0.2, [1000]),
        (1000, 0.8, 0.2, [1000, 800]),
        (1000, 0.81, 0.2, [1000, 810]),
        (3, 0.34, 0.2, [3, 2, 1]),
    ],
)
def test_short_and_partial_levels(total: int, density: float, rate: float, counts: list[int]) -> None:
    assert level_counts(total, density, rate) == counts


def test_pruning_is_global_by_hand() -> None:
    """Of six survivors keep three: 9, -8 and 5, whichever layer they are in; what was pruned does not come back."""
    weights = {"a": torch.tensor([[9.0, -1.0], [2.0, 100.0]]), "b": torch.tensor([-8.0, 5.0, -0.5])}
    masks = {"a": torch.tensor([[True, True], [True, False]]), "b": torch.tensor([True, True, True])}
    after = prune_smallest(weights, masks, 3)
    assert after["a"].tolist() == [[True, False], [False, False]]
    assert after["b"].tolist() == [True, True, False]
    assert masks["a"].sum() == 3, "the masks given stay as they are"


def test_pruning_keeps_zeros_before_it_brings_pruned_weights_back() -> None:
    """A kept weight may be exactly zero; it still comes before one that is not kept."""
    weights = {"a": torch.tensor([0.0, 0.0, 7.0])}
    after = prune_smallest(weights, {"a": torch.tensor([True, True, False])}, 2)
    assert after["a"].tolist() == [True, True, False]


def test_ties_keep_the_lower_index() -> None:
    weights = {"a": torch.tensor([1.0, -1.0]), "b": torch.tensor([1.0])}
    after = prune_smallest(weights, {name: torch.ones_like(w, dtype=torch.bool) for name, w in weights.items()}, 2)
    assert after["a"].all()
    assert not after["b"].any()


class Level(StepHook):
    """What one level's training saw."""

    def __init__(self, stage: str, network: nn.Module, optimizer: torch.optim.SGD) -> None:
        self.stage, self.optimizer = stage, optimizer
        self.fresh = not optimizer.state
        self.before = {name: value.clone() for name, value in network.state_dict().items()}
        self.after: dict[str, Tensor] = {}
        self.rates: list[float] = []

    def on_gradients(self, step: int, steps: int) -> bool:
        self.rates.append(self.optimizer.param_groups[0]["lr"])
        return False

    def after_step(self) -> None: ...

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class SpyTask(Task):
    """A task that notes every training it is asked for."""

    levels: ClassVar[list[Level]] = []
    seeds: ClassVar[list[int]] = []

    def train(
        self,
        network: nn.Module,
        *,
        hooks: HookFactory = lambda optimizer: (),
        stage: str = "train",
        schedule: Schedule | None = None,
    ) -> nn.Module:
        def both(optimizer: torch.optim.SGD) -> Sequence[StepHook]:
            made = hooks(optimizer)
            self.levels.append(Level(stage, network, optimizer))
            return [*made, self.levels[-1]]

        self.seeds.append(self.seed)
        trained = super().train(network, hooks=both, stage=stage, schedule=schedule)
        self.levels[-1].after = {name: value.clone() for name, value in trained.state_dict().items()}
        return trained


def followed(ema: float) -> tuple[Ticket, list[Level], nn.Module, Schedule]:
    """A run of levels 100, 50 and 30 %."""
    schedule = Schedule(epochs=2, batch_size=16, warmup=0.25, ema=ema)
    task = make_task(schedule=schedule)
    spy = SpyTask(**vars(task))
    SpyTask.levels, SpyTask.seeds = [], []
    network = make_network()
    (ticket,) = LearningRateRewinding(density=0.3, rate=0.5).find(network, spy, torch.Generator())
    return ticket, spy.levels, network, schedule


@pytest.mark.parametrize("ema", [0.0, 0.8])
def test_each_level_goes_on_from_the_weights_and_the_batch_norm_of_the_last(ema: float) -> None:
    ticket, levels, network, schedule = followed(ema)
    names = list(prunable_weights(network))
    total = sum(levels[0].before[name].numel() for name in names)
    assert [level.stage for level in levels] == ["level-00", "level-01", "level-02"]
    for level, share in zip(levels, (1, 0.5, 0.3), strict=True):
        kept = sum(int((level.before[name] != 0).sum()) for name in names)
        assert kept == round(share * total)
        assert level.fresh, "the optimizer starts without momentum"
        assert level.rates == [schedule.rate(step / 8) for step in range(8)], "the whole schedule, each time"
    for last, level in pairwise(levels):
        for name, value in level.before.items():
            wanted = torch.where(value != 0, last.after[name], 0) if name in names else last.after[name]
            assert torch.equal(value, wanted), name
    assert any(not torch.equal(levels[0].after[n], levels[1].after[n]) for n in levels[0].after if "running" in n)
    assert all(torch.equal(ticket.state[name], levels[-1].after[name]) for name in ticket.state)


def test_each_level_sees_the_data_in_an_order_of_its_own() -> None:
    followed(0.0)
    assert SpyTask.seeds[0] == make_task().seed, "the first has the task's"
    assert len(set(SpyTask.seeds)) == 3


def test_each_level_prunes_the_smallest_of_the_trained_weights() -> None:
    _, levels, network, _ = followed(0.0)
    names = list(prunable_weights(network))
    for last, level in pairwise(levels):
        before = torch.cat([last.after[name].flatten() for name in names]).abs()
        kept = torch.cat([level.before[name].flatten() for name in names]) != 0
        assert before[kept].min() >= before[~kept].max()


@pytest.mark.parametrize("fields", [{"density": 0.0}, {"density": 1.2}, {"rate": 0.0}, {"rate": 1.0}])
def test_impossible_settings_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"lr_rewinding: `(density|rate)`"):
        METHODS.build("lr_rewinding", **fields)
