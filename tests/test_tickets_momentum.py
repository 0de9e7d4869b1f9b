"""Momentum in every ticket method: none where a weight grows, none where a training begins anew."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny_methods import tiny_recipe
from tiny_training import one_thread, patterns  # noqa: F401  (the fixture acts by being here)
from torch import Tensor

from cards_deck.training import loop
from cards_deck.training.recipe import Workbench
from cards_deck.training.tickets import METHODS
from cards_deck.training.tickets.masked import KeepMasked

GROWING = ("dst_ee", "free_tickets", "rigl", "set", "sup_tickets")  # methods whose masks move
GOES_ON = ("free_tickets", "sup_tickets")  # momentum goes on from one training to the next, as published


@pytest.mark.parametrize("method", METHODS.names())
def test_momentum_is_none_where_weights_grow_and_where_training_begins(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, begun, grown = loop._step, set[int](), 0
    runs: list[loop.Run] = []  # kept, so that no other one gets its id

    def watched(run: loop.Run, *arguments: Any) -> Tensor:
        nonlocal grown
        if id(run) not in begun:
            begun.add(id(run))
            runs.append(run)
            assert not run.optimizer.state or (method in GOES_ON and len(begun) > 1)
        hooks = [hook for hook in run.hooks if isinstance(hook, KeepMasked)]  # scores choose among fixed weights
        before = [{name: mask.clone() for name, mask in hook.masks.items()} for hook in hooks]
        loss = step(run, *arguments)
        for hook, masks in zip(hooks, before, strict=True):
            for name, mask in hook.masks.items():
                new, weight = mask.bool() & ~masks[name].bool(), hook.weights[name]
                momentum = run.optimizer.state.get(weight, {}).get("momentum_buffer")
                grown += int(new.sum())
                assert not weight[new].any(), "what grows starts at zero"
                assert momentum is None or not momentum[new].any()
        return loss

    monkeypatch.setattr(loop, "_step", watched)
    data = patterns(64), patterns(16, seed=1, split="validation")
    Workbench(*data, torch.device("cpu"), None, quiet=True).find_tickets(tiny_recipe(method))
    assert (grown > 0) == (method in GROWING)
