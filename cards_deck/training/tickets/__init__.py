"""Finding sparse subnetworks, one paper's method per file.

A method is a frozen dataclass of hyperparameters registered in `METHODS`; `find` trains through the task it is handed
and returns one or more tickets. It knows no data set, no optimizer and no file. See `CONTRIBUTING.md` for the recipe.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import nn

from cards_deck.registry import Registry, discover
from cards_deck.training.tickets.ticket import Ticket

__all__ = ["METHODS", "Task", "Ticket", "TicketMethod"]

from cards_deck.training.task import Task


class TicketMethod(Protocol):
    """Hyperparameters of a method, with a rule that finds tickets."""

    def find(self, network: nn.Module, task: Task, generator: torch.Generator) -> tuple[Ticket, ...]:
        """Train and sparsify `network` in place; every random choice of masks comes from `generator` (on the CPU)."""
        ...


METHODS: Registry[TicketMethod] = Registry("ticket method")
discover(__name__, __path__)
