"""ToST: any mask, trained better: soft at first, and at last the plain network (Jaiswal et al., ICML 2022).

Four aids, all gone when training ends: soft activations (Swish, PSwish) in place of ReLU, ghost skips around the
convolutions, smoothed labels, and an initialisation whose layers are re-scaled by what a first step would gain
(GradInit). The first two are annealed away (`softening.py`): the published scripts leave them in, with ghost layers
that no sparsity counts, so that the paper's way of annealing is uncertain: the straight line is chosen here. Mish, the
paper's third activation, is missing. What comes out is the recipe's network with ReLU and the ticket's weights, nothing
else.

The mask comes from another method, by default a random one: one that scores masks at initialisation is asked for its
masks, any other is followed to its end first and only its masks are used; or from a given card (`--given`). Weights
start from the initial ones, re-scaled while dense, then masked.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar

import torch
from torch import nn

from cards_deck.errors import InputError
from cards_deck.training.checkpoint import MASKS
from cards_deck.training.schedule import Schedule
from cards_deck.training.task import Task
from cards_deck.training.tickets import METHODS, TicketMethod
from cards_deck.training.tickets.masked import KeepMasked
from cards_deck.training.tickets.pruning import check_density, check_masks
from cards_deck.training.tickets.random import Random
from cards_deck.training.tickets.rescaling import rescale
from cards_deck.training.tickets.softening import Softness, soften
from cards_deck.training.tickets.ticket import Masks, Ticket, exact_count


@METHODS.register("tost")
@dataclass(frozen=True)
class ToST:
    """Train any mask with soft activations and ghost skips that are annealed away (Jaiswal et al., ICML 2022).

    Attributes:
        density: fraction of convolution and linear weights kept, exact to one weight; the density of `masks` is
            this one [chosen here].
        masks: the method whose masks are trained [chosen here].
        beta: of the activation x * sigmoid(beta * x) at the start: 1 is Swish, 2 the PSwish of the code [paper].
        end: share of the steps after which the network is plain; what is left settles batch-norm [chosen here].
        label_smoothing: share of the target that goes to the other classes, instead of the schedule's [paper].
        rescale_steps: batches on which the layers' initial scales are learned; 0 leaves them [published code: 180 to
            390].
    """

    density: float = 0.1
    masks: TicketMethod = field(default_factory=Random, metadata={"registry": METHODS})
    beta: float = 1.0
    end: float = 0.75
    label_smoothing: float = 0.1
    rescale_steps: int = 180

    takes_card: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_density("tost", self.density)
        if self.beta <= 0 or not 0 < self.end < 1 or not 0 <= self.label_smoothing < 0.5 or self.rescale_steps < 0:
            raise InputError(
                "tost: `beta` must be positive, `end` in (0, 1), `label_smoothing` in [0, 0.5) and `rescale_steps` 0 "
                f"or more, got {self.beta}, {self.end}, {self.label_smoothing}, {self.rescale_steps}"
            )
        if not hasattr(self.masks, "density") or hasattr(self.masks, "tolerance"):
            raise InputError(
                "tost: `masks` must be a method that masks weights, with a density exact to one weight, got "
                f"{type(self.masks).__name__}: choose another, e.g. random"
            )
        default = next(each.default for each in fields(self.masks) if each.name == "density")  # type: ignore[arg-type]
        if self.masks.density not in (default, self.density):
            raise InputError(
                f"tost: `masks` gets the density {self.density} of `density`, but asks for {self.masks.density}: leave "
                "its own out"
            )
        object.__setattr__(self, "masks", replace(self.masks, density=self.density))  # type: ignore[type-var]

    def find(self, network: nn.Module, task: Task, generator: torch.Generator) -> tuple[Ticket, ...]:
        """Find the masks, re-scale, train once; one ticket."""
        task.steps()
        if hasattr(task.augmentation, "mixup"):
            raise InputError(
                "tost: a softened network is no sequence of stages between which features could be mixed: train under "
                "another augmentation, or by another method"
            )
        masks = self._masks(network, task, generator)
        if self.rescale_steps:
            rescale(network, task, generator, self.rescale_steps)
        soft, softness = soften(network, self.beta)
        hooks: list[KeepMasked] = []

        def make(optimizer: torch.optim.SGD) -> list[Any]:
            hooks[:] = [KeepMasked(network, masks)]
            return [*hooks, Anneal(softness, self.end)]

        trained = task.train(soft, hooks=make, stage="soft", schedule=self._smoothed(task.schedule, task.classes))
        state = trained.state_dict()
        network.load_state_dict({name: state[name] for name in network.state_dict()})
        return (Ticket.of(network, hooks[0].masks),)

    def _masks(self, network: nn.Module, task: Task, generator: torch.Generator) -> Masks:
        if task.given is not None:
            return self._given(network, task.given)
        apart = copy.deepcopy(network)
        if callable(getattr(self.masks, "masks", None)):
            found: Masks = self.masks.masks(apart, task, generator)  # type: ignore[attr-defined]
            return found
        checkpoints = task.checkpoints
        if checkpoints.folder is not None:
            checkpoints = replace(checkpoints, folder=checkpoints.folder / MASKS)
        return dict(self.masks.find(apart, replace(task, checkpoints=checkpoints), generator)[0].masks)

    def _given(self, network: nn.Module, given: Ticket) -> Masks:
        if self.masks != Random(self.density):
            raise InputError("tost: `masks` is not followed where a card is given, whose masks are taken: leave it out")
        check_masks(network, given.masks)
        total = sum(mask.numel() for mask in given.masks.values())
        kept = sum(int(mask.sum()) for mask in given.masks.values())
        if kept != exact_count(total, self.density):
            raise InputError(
                f"tost: `density` must be that of the given card, got {self.density}: give {kept / total:.8f}"
            )
        return dict(given.masks)

    def _smoothed(self, schedule: Schedule, classes: int) -> Schedule:
        """The paper gives the share to the other classes alone, the loss here to all of them."""
        return replace(schedule, label_smoothing=self.label_smoothing * classes / max(classes - 1, 1))


class Anneal:
    """The step hook that takes the softness away over the first `end` of the steps."""

    def __init__(self, softness: Softness, end: float) -> None:
        self.softness, self.end, self.share = softness, end, 0.0
        softness.anneal(0)

    def on_gradients(self, step: int, steps: int) -> bool:
        """Set what the next step sees."""
        self.share = (step + 1) / (self.end * steps)
        return False

    def after_step(self) -> None:
        """Once the step is taken."""
        self.softness.anneal(self.share)

    def state_dict(self) -> dict[str, Any]:
        """How far it is."""
        return {"share": self.share}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self.share = float(state["share"])
        self.softness.anneal(self.share)
