"""Rewind points: training from one goes on exactly as the first run did; kept in the checkpoint; refusals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
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
from cards_deck.training.augmentations.gaussian import Gaussian
from cards_deck.training.losses import training_loss
from cards_deck.training.rewinding import RewindPoint
from cards_deck.training.task import Task

# Without momentum a fresh optimizer is no other optimizer. Three epochs of four steps, each drawing noise.
PLAIN = replace(SHORT, epochs=3, momentum=0.0, nesterov=False, sizes=((0.34, 16),))


def task(folder: Path | None = None, **changes: Any) -> Task:
    return make_task(schedule=replace(PLAIN, **changes), augmentation=Gaussian(vary=True), folder=folder)


@pytest.mark.parametrize("step", [0, 1, 4, 6, 11])
def test_training_from_a_point_ends_where_the_first_run_did(step: int) -> None:
    """Weights, batch-norm, rate, data order and augmentation of steps k to the end are the first run's, bit for bit."""
    point, straight = RewindPoint(step), make_network()
    task().train(straight, keep=point)
    again = make_network(seed=5)
    task().train(again, stage="again", start=point)
    assert equal_states(straight, again)


def test_the_point_is_the_state_after_that_many_steps() -> None:
    seen: list[dict[str, Tensor]] = []

    class Watch:
        def __init__(self, network: nn.Module) -> None:
            self.network = network

        def on_gradients(self, step: int, steps: int) -> bool:
            seen.append({name: value.clone() for name, value in self.network.state_dict().items()})
            return False

        def after_step(self) -> None: ...

        def state_dict(self) -> dict[str, Any]:
            return {}

        def load_state_dict(self, state: dict[str, Any]) -> None: ...

    point, network = RewindPoint(6), make_network()
    task(sizes=()).train(network, keep=point, hooks=lambda optimizer: [Watch(network)])
    weights = {name for name, _ in network.named_parameters()}
    # Before step 6 the weights are those after six steps; its forward pass has moved batch-norm's statistics already.
    assert all(torch.equal(point.state[name], seen[6][name]) for name in weights)
    assert not torch.equal(point.state["1.weight"], seen[5]["1.weight"])
    assert not torch.equal(point.state["1.weight"], network.state_dict()["1.weight"])
    counted = next(value for name, value in point.state.items() if name.endswith("num_batches_tracked"))
    assert int(counted) == 6


def test_the_average_starts_afresh_from_the_point() -> None:
    point = RewindPoint(11)
    task(ema=0.9).train(make_network(), keep=point)
    network = make_network(seed=5)
    averaged = task(ema=0.9).train(network, stage="again", start=point)
    moved = {name: averaged.state_dict()[name] - value for name, value in point.state.items() if "weight" in name}
    whole = {name: network.state_dict()[name] - point.state[name] for name in moved}
    decay = min(0.9, 12 / 21)  # of step 11
    for name, value in moved.items():
        assert torch.allclose(value, (1 - decay) * whole[name], atol=1e-6), name


def dies_after(steps: int) -> Callable[..., Tensor]:
    left = [steps]

    def loss(*arguments: Any) -> Tensor:
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        return training_loss(*arguments)

    return loss


@pytest.mark.parametrize("killed_at", [5, 10])
def test_a_killed_run_has_its_point_again(killed_at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed before and after the epoch that holds step 6."""
    wanted = RewindPoint(6)
    task().train(make_network(), keep=wanted)
    with monkeypatch.context() as patched:
        patched.setattr(loop, "training_loss", dies_after(killed_at))
        with pytest.raises(KeyboardInterrupt):
            task(tmp_path).train(make_network(), keep=RewindPoint(6))
    for _ in range(2):  # the second time everything is read from the checkpoint
        found = RewindPoint(6)
        task(tmp_path).train(make_network(), keep=found)
        assert equal_states(found.state, wanted.state)
        assert torch.equal(found.stream, wanted.stream)


def test_a_run_killed_after_a_rewind_goes_on_from_its_last_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    point, straight, again = RewindPoint(2), make_network(), make_network()
    task().train(straight, keep=point)
    with monkeypatch.context() as patched:
        patched.setattr(loop, "training_loss", dies_after(4))
        with pytest.raises(KeyboardInterrupt):
            task(tmp_path).train(make_network(), stage="rewound", start=point)
    steps: list[float] = []

    def rate(progress: float) -> float:
        steps.append(round(progress * 12))
        return PLAIN.rate(progress)

    task(tmp_path).train(again, stage="rewound", start=point, rate=rate)
    assert steps == list(range(4, 12)), "the first epoch, of steps 2 and 3, is done"
    assert equal_states(straight, again)


def test_a_point_that_was_never_reached_is_refused() -> None:
    with pytest.raises(InputError, match="step 3 was never reached"):
        task().train(make_network(), start=RewindPoint(3))
    with pytest.raises(InputError, match="0 or more"):
        RewindPoint(-1)


def test_another_rate_and_another_loss() -> None:
    """Twice the objective at half the rate is the same step (without decay, up to rounding)."""
    one, other = make_network(), make_network()
    plain = task(weight_decay=0.0, epochs=1, sizes=())
    plain.train(one, rate=lambda progress: 0.02)
    plain.train(other, stage="other", rate=lambda progress: 0.01, loss=lambda *given: 2 * training_loss(*given))
    for name, value in one.state_dict().items():
        assert torch.allclose(value, other.state_dict()[name], atol=1e-5), name
