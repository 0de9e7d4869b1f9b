"""The last linear layer, which a task with other classes needs anew."""

from __future__ import annotations

import copy
import math

import torch
from torch import nn

from cards_deck.errors import InputError


def head_name(network: nn.Module) -> str:
    """Name of the last linear layer; InputError for a network without one."""
    names: list[str] = [name for name, module in network.named_modules() if isinstance(module, nn.Linear)]
    if not names:
        raise InputError("the network must end in a linear layer, which another number of classes can replace")
    return names[-1]


def new_head(network: nn.Module, classes: int, generator: torch.Generator) -> nn.Module:
    """Return a copy of `network` whose last linear layer is fresh and has `classes` outputs.

    Its weights and biases are uniform in +-1/sqrt(inputs), torch's own initialisation, drawn from `generator` (CPU).
    """
    if classes < 1:
        raise InputError(f"a head needs at least one class, got {classes}")
    name = head_name(network)
    old = network.get_submodule(name)
    assert isinstance(old, nn.Linear)
    head = nn.Linear(old.in_features, classes, bias=old.bias is not None)
    bound = 1 / math.sqrt(old.in_features)
    with torch.no_grad():
        for values in head.parameters():
            values.uniform_(-bound, bound, generator=generator)
    changed = copy.deepcopy(network)
    parent, _, last = name.rpartition(".")
    setattr(changed.get_submodule(parent), last, head.to(old.weight.device))
    return changed
