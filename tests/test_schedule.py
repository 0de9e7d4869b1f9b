"""Learning rates and image sizes, by hand."""

from __future__ import annotations

from typing import Any

import pytest
from tiny_training import one_thread  # noqa: F401  (the fixture acts by being here)

from cards_deck.errors import InputError
from cards_deck.training.schedule import Schedule


@pytest.mark.parametrize(
    ("decay", "rates"),
    [
        # 0.2 of the steps rise to 0.1; then the shares 0, 1/4, 1/2, 3/4, 1 of what is left.
        ("cosine", [0.1, 0.0853553, 0.05, 0.0146447, 0.0]),
        ("linear", [0.1, 0.075, 0.05, 0.025, 0.0]),
        ("step", [0.1, 0.1, 0.01, 0.001, 0.001]),
        ("constant", [0.1, 0.1, 0.1, 0.1, 0.1]),
    ],
)
def test_rates_by_hand(decay: Any, rates: list[float]) -> None:
    schedule = Schedule(learning_rate=0.1, warmup=0.2, decay=decay, milestones=(0.5, 0.75))
    assert [schedule.rate(progress) for progress in (0, 0.05, 0.1, 0.15)] == pytest.approx([0, 0.025, 0.05, 0.075])
    assert [schedule.rate(progress) for progress in (0.2, 0.4, 0.6, 0.8, 1.0)] == pytest.approx(rates, abs=1e-7)


def test_without_warm_up_the_first_step_has_the_whole_rate() -> None:
    assert Schedule(learning_rate=0.3, warmup=0).rate(0) == 0.3


def test_milestones_are_reached_at_their_share() -> None:
    schedule = Schedule(learning_rate=1, warmup=0, decay="step", milestones=(0.5, 0.75))
    assert [schedule.rate(p) for p in (0.499, 0.5, 0.749, 0.75)] == pytest.approx([1, 0.1, 0.1, 0.01])


def test_sizes_change_at_their_share_of_the_epochs() -> None:
    schedule = Schedule(epochs=10, sizes=((0.2, 16), (0.5, 24)))
    assert [schedule.size(epoch, 32) for epoch in range(10)] == [16] * 2 + [24] * 3 + [32] * 5
    assert [Schedule(epochs=3).size(epoch, 48) for epoch in range(3)] == [48] * 3


@pytest.mark.parametrize(
    ("precision", "cpu", "cuda"), [("auto", False, True), ("float32", False, False), ("bf16", True, True)]
)
def test_bf16_is_of_cuda_unless_said_otherwise(precision: Any, cpu: bool, cuda: bool) -> None:
    schedule = Schedule(precision=precision)
    assert (schedule.bf16("cpu"), schedule.bf16("cuda")) == (cpu, cuda)
    assert Schedule(**schedule.describe()) == schedule
    assert ("precision" in schedule.describe()) is (precision != "auto")


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"epochs": 0}, "`epochs` must be at least 1"),
        ({"batch_size": 1}, "`batch_size` at least 2"),
        ({"learning_rate": 0.0}, "`learning_rate` positive"),
        ({"decay": "sudden"}, "cosine, linear or step"),
        ({"precision": "fp8"}, "auto, float32 or bf16"),
        ({"warmup": 1.0}, "must lie in"),
        ({"ema": 1.0}, "must lie in"),
        ({"label_smoothing": -0.1}, "must lie in"),
    ],
)
def test_impossible_schedules_are_refused(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        Schedule(**fields)
