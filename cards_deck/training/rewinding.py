"""A point of training to come back to: what a network was after k steps, and where its data stood."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from cards_deck.errors import InputError

if TYPE_CHECKING:
    from cards_deck.training.loop import Run


class RewindPoint:
    """The state after `step` steps: the k of "rewinding to iteration k" (Frankle et al., ICML 2020); 0 is the start.

    Handed to `Task.train` as `keep`, it is filled on the way and travels with the stage's checkpoint; handed as
    `start`, training begins there: weights, batch-norm, learning rate, order of the data and stream of the augmentation
    are those of step k, the optimizer is fresh, and so is the moving average where the schedule has one.
    """

    def __init__(self, step: int) -> None:
        if step < 0:
            raise InputError(f"a rewind point needs a step of 0 or more, got {step}")
        self.step = step
        self.state: dict[str, Tensor] = {}  # of the network, not of its moving average; empty until reached
        self.stream = torch.empty(0, dtype=torch.uint8)  # state of the epoch's generator

    def take(self, network: nn.Module, stream: Tensor | None = None) -> None:
        """Fill the point with a copy of `network`'s state."""
        self.state = {name: value.detach().clone() for name, value in network.state_dict().items()}
        if stream is not None:
            self.stream = stream

    def restore(self, network: nn.Module) -> None:
        """Load the state into `network`; InputError where training has not come to the point yet."""
        if not self.state:
            raise InputError(f"nothing to rewind to: step {self.step} was never reached")
        network.load_state_dict(self.state)


class KeepPoint:
    """The step hook that fills a `RewindPoint`; comes after all others, so that it sees what they left."""

    def __init__(self, run: Run, point: RewindPoint) -> None:
        self.run, self.point, self.taken = run, point, 0
        if point.step == 0:
            point.take(run.network)

    def on_gradients(self, step: int, steps: int) -> bool:
        """Note the step."""
        self.taken = step + 1
        return False

    def after_step(self) -> None:
        """Copy the state when it is time."""
        if self.taken == self.point.step and self.run.generator is not None:
            self.point.take(self.run.network, self.run.generator.get_state())

    def state_dict(self) -> dict[str, Any]:
        """The point."""
        return {"step": self.point.step, "state": self.point.state, "stream": self.point.stream}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the point."""
        self.point.state, self.point.stream = dict(state["state"]), state["stream"].cpu()
