"""Every ticket method by its registration: density, masks, reproducibility, resuming, a card's file."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_training import (
    NETWORK,
    equal_states,
    one_thread,  # noqa: F401  (the fixture acts by being here)
    patterns,
)
from torch import Tensor

from cards_deck.card import read_card, write_card
from cards_deck.errors import InputError
from cards_deck.training import loop
from cards_deck.training.augmentations.gaussian import Gaussian
from cards_deck.training.cards import make_card, ticket_of
from cards_deck.training.losses import training_loss
from cards_deck.training.networks import prunable_weights
from cards_deck.training.recipe import Recipe, Workbench
from cards_deck.training.schedule import Schedule
from cards_deck.training.tickets import METHODS, Ticket

DENSITY = 0.3
SETTINGS: dict[str, dict[str, Any]] = {"rigl": {"interval": 3}, "lr_rewinding": {"rate": 0.5}}
TRAIN, VALIDATION = patterns(64), patterns(16, seed=1, split="validation")
# Everything that a checkpoint has to carry: an average, momentum, sizes that change.
SCHEDULE = Schedule(epochs=3, batch_size=16, label_smoothing=0.1, ema=0.5, sizes=((0.34, 24),))


def recipe(method: str, seed: int = 1) -> Recipe:
    found_by = METHODS.build(method, density=DENSITY, **SETTINGS.get(method, {}))
    return Recipe(NETWORK, found_by, Gaussian(vary=True), SCHEDULE, seed)


def bench(folder: Path | None = None) -> Workbench:
    return Workbench(TRAIN, VALIDATION, torch.device("cpu"), folder, quiet=True)


@pytest.fixture(scope="module")
def found() -> Callable[[str], tuple[Ticket, ...]]:
    """Tickets of a method, found once, without stopping and without a folder."""
    known: dict[str, tuple[Ticket, ...]] = {}

    def find(method: str) -> tuple[Ticket, ...]:
        if method not in known:
            known[method] = bench().find_tickets(recipe(method))
        return known[method]

    return find


def same_tickets(one: tuple[Ticket, ...], other: tuple[Ticket, ...]) -> bool:
    """Equal bit for bit: masks, weights, batch-norm."""
    return len(one) == len(other) and all(
        equal_states(dict(a.masks), dict(b.masks)) and equal_states(dict(a.state), dict(b.state))
        for a, b in zip(one, other, strict=True)
    )


Find = Callable[[str], tuple[Ticket, ...]]


@pytest.mark.parametrize("method", METHODS.names())
def test_density_is_exact_to_one_weight(method: str, found: Find) -> None:
    total = sum(weight.numel() for weight in prunable_weights(bench().build(recipe(method))).values())
    for ticket in found(method):
        assert sum(int(mask.sum()) for mask in ticket.masks.values()) == round(DENSITY * total)
        assert ticket.density == pytest.approx(DENSITY, abs=0.5 / total)


@pytest.mark.parametrize("method", METHODS.names())
def test_masks_are_bool_and_of_convolutions_and_linear_layers(method: str, found: Find) -> None:
    weights = prunable_weights(bench().build(recipe(method)))
    for ticket in found(method):
        assert set(ticket.masks) == set(weights), "stem and head included, batch-norm and biases not"
        for name, mask in ticket.masks.items():
            assert mask.dtype == torch.bool
            assert mask.shape == weights[name].shape
            assert not ticket.state[name][~mask].any()
            assert ticket.state[name][mask].all(), "training leaves no kept weight at exactly zero"


@pytest.mark.parametrize("method", METHODS.names())
def test_batch_norm_is_trained_and_dense(method: str, found: Find) -> None:
    fresh = bench().build(recipe(method)).state_dict()
    for ticket in found(method):
        norms = [name for name in fresh if "running_mean" in name or "running_var" in name]
        assert len(norms) >= 4
        assert all(not torch.equal(ticket.state[name], fresh[name]) for name in norms)
        assert all(bool((ticket.state[name] != 0).all()) for name in norms)


@pytest.mark.parametrize("method", METHODS.names())
def test_the_same_seed_gives_the_same_ticket(method: str, found: Find) -> None:
    """Bit for bit on the CPU, whatever the global generator was doing."""
    torch.manual_seed(1234)
    assert same_tickets(found(method), bench().find_tickets(recipe(method)))


@pytest.mark.parametrize("method", METHODS.names())
def test_another_seed_gives_another_ticket(method: str, found: Find) -> None:
    assert not same_tickets(found(method), bench().find_tickets(recipe(method, seed=2)))


class Killed(BaseException):
    """What a test throws into the middle of a step."""


def dies_after(steps: int) -> Callable[..., Tensor]:
    """A loss that works `steps` times."""
    left = [steps]

    def loss(*arguments: Any, **options: Any) -> Tensor:
        if not left[0]:
            raise Killed
        left[0] -= 1
        return training_loss(*arguments, **options)

    return loss


@pytest.mark.parametrize("method", METHODS.names())
@pytest.mark.parametrize("every", [5, 10])
def test_a_run_killed_again_and_again_gives_the_same_ticket(
    method: str, every: int, found: Find, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed in the middle of an epoch, each time `every` steps further (an epoch has four), until it is done."""
    kills, tickets = 0, None
    while tickets is None:
        with monkeypatch.context() as patched:
            patched.setattr(loop, "training_loss", dies_after(every))
            try:
                tickets = bench(tmp_path).find_tickets(recipe(method))
            except Killed:
                kills += 1
                assert kills < 50, "it makes no headway"
    assert kills >= 1
    assert same_tickets(tickets, found(method))
    lines = map(json.loads, (tmp_path / "log.jsonl").read_text().splitlines())
    epochs = [(line["stage"], line["epoch"]) for line in lines]
    assert len(set(epochs)) == len(epochs), "no epoch was trained twice"
    assert same_tickets(bench(tmp_path).find_tickets(recipe(method)), tickets), "and once more from the end"


@pytest.mark.parametrize("method", METHODS.names())
def test_another_recipe_does_not_resume_it(method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "training_loss", dies_after(6))
    with pytest.raises(Killed):
        bench(tmp_path).find_tickets(recipe(method))
    for other in (recipe(method, seed=2), Recipe(NETWORK, recipe(method).method, Gaussian(), SCHEDULE, 1)):
        with pytest.raises(InputError, match="checkpoint of another run"):
            bench(tmp_path).find_tickets(other)
    others = Workbench(patterns(64, seed=7), VALIDATION, torch.device("cpu"), tmp_path, quiet=True)
    with pytest.raises(InputError, match="checkpoint of another run"):
        others.find_tickets(recipe(method))


def rounded(state: Mapping[str, Tensor], masks: Mapping[str, Tensor], bits: int) -> dict[str, Tensor]:
    """What a file of `bits` bits keeps of a state: pruned tensors in half precision where it says 16."""
    half = {name for name, mask in masks.items() if bits == 16 and not bool(mask.all())}
    return {name: value.half().float() if name in half else value for name, value in state.items()}


@pytest.mark.parametrize("method", METHODS.names())
@pytest.mark.parametrize("bits", [16, 32])
def test_a_ticket_survives_its_cards_file(method: str, bits: int, found: Find, tmp_path: Path) -> None:
    network = bench().build(recipe(method))
    for ticket in found(method):
        card = make_card("card", recipe(method), network, ticket, TRAIN, bits=bits)
        write_card(card, tmp_path / "card")
        again = read_card(tmp_path / "card")
        assert again.record == card.record
        assert again.record.method["name"] == method
        assert again.num_kept == sum(int(mask.sum()) for mask in ticket.masks.values())
        assert again.density == pytest.approx(ticket.density)
        back = ticket_of(again, network)
        assert equal_states(dict(back.masks), dict(ticket.masks))
        wanted = rounded(ticket.state, ticket.masks, bits)
        counters = {name for name in wanted if name.endswith("num_batches_tracked")}  # no card needs them
        assert all(torch.equal(back.state[name], wanted[name]) for name in set(wanted) - counters)
        dense = sum(weight.numel() for weight in prunable_weights(network).values())
        stored = sum(np.count_nonzero(again.tensors[name]) for name in again.graph.weight_names)
        assert stored <= again.num_kept < dense
