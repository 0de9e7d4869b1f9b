"""Every ticket method by its registration: density, masks, reproducibility, resuming, refusals, a card's file."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_methods import DENSITY, tiny_recipe
from tiny_training import (
    equal_states,
    one_thread,  # noqa: F401  (the fixture acts by being here)
    patterns,
)
from torch import Tensor, nn

from cards_deck.card import read_card, write_card
from cards_deck.data import Dataset
from cards_deck.errors import InputError
from cards_deck.training import loop
from cards_deck.training.augmentations.crop_flip import CropFlip
from cards_deck.training.cards import make_card, ticket_of
from cards_deck.training.networks import prunable_weights
from cards_deck.training.recipe import Recipe, Workbench
from cards_deck.training.tickets import METHODS, Ticket

TRAIN, VALIDATION = patterns(64), patterns(16, seed=1, split="validation")


def bench(folder: Path | None = None, train: Dataset = TRAIN, validation: Dataset = VALIDATION) -> Workbench:
    return Workbench(train, validation, torch.device("cpu"), folder, quiet=True)


def dense_network(method: str) -> nn.Module:
    return bench().build(tiny_recipe(method))


@pytest.fixture(scope="module")
def found() -> Callable[[str], tuple[Ticket, ...]]:
    """Tickets of a method, found once, without stopping and without a folder."""
    known: dict[str, tuple[Ticket, ...]] = {}

    def find(method: str) -> tuple[Ticket, ...]:
        if method not in known:
            known[method] = bench().find_tickets(tiny_recipe(method))
        return known[method]

    return find


def same_tickets(one: tuple[Ticket, ...], other: tuple[Ticket, ...]) -> bool:
    """Equal bit for bit: masks, weights, batch-norm."""
    return len(one) == len(other) and all(
        equal_states(dict(a.masks), dict(b.masks)) and equal_states(dict(a.state), dict(b.state))
        for a, b in zip(one, other, strict=True)
    )


def kept(ticket: Ticket) -> int:
    return sum(int(mask.sum()) for mask in ticket.masks.values())


def allowed(network: nn.Module, method: str) -> float:
    """Weights by which a ticket may miss its density: half a weight, or one channel of the widest where it says so."""
    if getattr(METHODS[method], "tolerance", "weight") == "weight":
        return 0.5
    assert METHODS[method].tolerance == "channel"  # type: ignore[attr-defined]
    sizes = [weight.numel() / weight.shape[0] for weight in prunable_weights(network).values()]
    return 3 * max(sizes)  # a channel of a residual stage is made by two layers and read by a third


Find = Callable[[str], tuple[Ticket, ...]]


@pytest.mark.parametrize("method", METHODS.names())
def test_density_is_exact(method: str, found: Find) -> None:
    """To one weight, or to one channel."""
    network = dense_network(method)
    total = sum(weight.numel() for weight in prunable_weights(network).values())
    assert found(method)
    for ticket in found(method):
        assert abs(kept(ticket) - DENSITY * total) <= allowed(network, method)
        assert ticket.density == kept(ticket) / total


@pytest.mark.parametrize("method", METHODS.names())
def test_masks_are_bool_and_of_convolutions_and_linear_layers(method: str, found: Find) -> None:
    for ticket in found(method):
        weights = prunable_weights(ticket.network or dense_network(method))
        assert set(ticket.masks) == set(weights), "stem and head included, batch-norm and biases not"
        for name, mask in ticket.masks.items():
            assert mask.dtype == torch.bool
            assert mask.shape == weights[name].shape
            assert not ticket.state[name][~mask].any()
            assert ticket.state[name][mask].all(), "training leaves no kept weight at exactly zero"


@pytest.mark.parametrize("method", METHODS.names())
def test_no_helper_is_left_in_the_result(method: str, found: Find) -> None:
    """The state is that of the network that answers, on the CPU: no scores, ghosts, hidden weights or averages."""
    for ticket in found(method):
        network = ticket.network or dense_network(method)
        wanted = network.state_dict()
        assert set(ticket.state) == set(wanted)
        for name, value in ticket.state.items():
            assert (value.shape, value.dtype, value.device.type) == (wanted[name].shape, wanted[name].dtype, "cpu")
            assert not value.requires_grad
            assert bool(torch.isfinite(value).all())


@pytest.mark.parametrize("method", METHODS.names())
def test_batch_norm_is_trained_and_dense(method: str, found: Find) -> None:
    """Statistics move away from 0 and 1; the mean stays at 0 only in a channel that has lost all its weights."""
    fresh = dense_network(method).state_dict()
    for ticket in found(method):
        norms = [name.removesuffix(".running_var") for name in fresh if name.endswith("running_var")]
        assert len(norms) >= 4
        for norm in norms:
            assert not torch.equal(ticket.state[f"{norm}.running_mean"], fresh[f"{norm}.running_mean"])
            assert not torch.equal(ticket.state[f"{norm}.running_var"], fresh[f"{norm}.running_var"])
            assert ticket.state[f"{norm}.running_var"].all()
            assert ticket.state.get(f"{norm}.weight", torch.ones(1)).all()


@pytest.mark.parametrize("method", METHODS.names())
def test_the_same_seed_gives_the_same_ticket_and_another_another(method: str, found: Find) -> None:
    """Bit for bit on the CPU, whatever the global generator was doing."""
    torch.manual_seed(1234)
    assert same_tickets(found(method), bench().find_tickets(tiny_recipe(method)))
    assert not same_tickets(found(method), bench().find_tickets(tiny_recipe(method, seed=2)))


def five_classes(data: Dataset) -> Dataset:
    """Half of the images of the first class as a class of their own."""
    first = np.flatnonzero(data.labels == 0)
    labels = data.labels.copy()
    labels[first[::2]] = 4
    return Dataset(data.images, labels, (*data.classes, "more"), data.name, "train")


@pytest.mark.parametrize("method", METHODS.names())
def test_other_classes_and_another_image_size(method: str) -> None:
    """Five classes at 40 px."""
    train, validation = (five_classes(patterns(n, size=40, seed=n)) for n in (96, 32))
    recipe = tiny_recipe(method)
    workbench = bench(None, train, validation)
    for ticket in workbench.find_tickets(recipe):
        network = ticket.network or workbench.build(recipe)
        network.load_state_dict(dict(ticket.state))
        assert network.eval()(torch.rand(2, 3, 40, 40)).shape == (2, 5)
        assert abs(ticket.density - DENSITY) < 0.1


class Killed(BaseException):
    """What a test throws into the middle of an epoch."""


def dies_after(steps: int) -> Callable[..., Tensor]:
    """A step of the loop that works `steps` times."""
    left, step = [steps], loop._step

    def dying(*arguments: Any, **options: Any) -> Tensor:
        if not left[0]:
            raise Killed
        left[0] -= 1
        return step(*arguments, **options)

    return dying


@pytest.mark.parametrize("method", METHODS.names())
def test_a_run_killed_again_and_again_gives_the_same_ticket(
    method: str, found: Find, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed in the middle of an epoch, of four steps, each time 5 or 10 steps further, until it is done."""
    kills, tickets, every = 0, None, cycle((5, 10))
    while tickets is None:
        with monkeypatch.context() as patched:
            patched.setattr(loop, "_step", dies_after(next(every)))
            try:
                tickets = bench(tmp_path).find_tickets(tiny_recipe(method))
            except Killed:
                kills += 1
                assert kills < 50, "it makes no headway"
    assert kills >= 1
    assert same_tickets(tickets, found(method))
    lines = map(json.loads, (tmp_path / "log.jsonl").read_text().splitlines())
    epochs = [(line["stage"], line["epoch"]) for line in lines]
    assert len(set(epochs)) == len(epochs), "no epoch was trained twice"
    monkeypatch.setattr(loop, "_step", dies_after(0))
    assert same_tickets(bench(tmp_path).find_tickets(tiny_recipe(method)), tickets), "and once more from the end"


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which one method's run was killed in its second epoch."""
    folder = tmp_path_factory.mktemp("begun")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(loop, "_step", dies_after(6))
        with pytest.raises(Killed):
            bench(folder).find_tickets(tiny_recipe("random"))
    return folder


def refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on training is a failure: what is to be refused must be refused before it begins."""
    monkeypatch.setattr(loop, "_step", lambda *arguments: pytest.fail("training has begun"))


@pytest.mark.parametrize("method", METHODS.names())
def test_a_checkpoint_of_another_run_is_refused(method: str, begun: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of another method, whatever its stages are called; of another seed, augmentation or data."""
    refused_at_once(monkeypatch)
    recipe = tiny_recipe(method)
    others: list[tuple[Recipe, Dataset]] = [(recipe, TRAIN)]
    if method == "random":
        others = [(tiny_recipe(method, seed=2), TRAIN), (recipe, patterns(64, seed=7))]
        others.append((replace(recipe, augmentation=CropFlip()), TRAIN))
    for other, data in others:
        with pytest.raises(InputError, match="checkpoint of another run"):
            bench(begun, data).find_tickets(other)


@pytest.mark.parametrize("method", METHODS.names())
@pytest.mark.parametrize("density", [0.0, -0.1, 1.01, float("nan")])
def test_a_density_outside_0_to_1_is_refused(method: str, density: float) -> None:
    with pytest.raises(InputError, match="`density`"):
        METHODS.build(method, density=density)


@pytest.mark.parametrize("method", METHODS.names())
def test_too_few_images_are_refused_before_training(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    refused_at_once(monkeypatch)
    with pytest.raises(InputError, match="at least one full batch"):
        bench(None, patterns(12)).find_tickets(tiny_recipe(method))


def rounded(state: Mapping[str, Tensor], masks: Mapping[str, Tensor], bits: int) -> dict[str, Tensor]:
    """What a file of `bits` bits keeps of a state: pruned tensors in half precision where it says 16."""
    half = {name for name, mask in masks.items() if bits == 16 and not bool(mask.all())}
    return {name: value.half().float() if name in half else value for name, value in state.items()}


@pytest.mark.parametrize("method", METHODS.names())
@pytest.mark.parametrize("bits", [16, 32])
def test_a_ticket_survives_its_cards_file(method: str, bits: int, found: Find, tmp_path: Path) -> None:
    network = dense_network(method)
    for ticket in found(method):
        card = make_card("card", tiny_recipe(method), network, ticket, TRAIN, bits=bits)
        write_card(card, tmp_path / "card")
        again = read_card(tmp_path / "card")
        assert again.record == card.record
        assert again.record.method["name"] == method
        assert again.record.bits == (bits if ticket.quantizer is None else ticket.quantizer.bits)
        assert again.num_kept == kept(ticket)
        assert again.density == pytest.approx(ticket.density)
        back = ticket_of(again, network)
        assert equal_states(dict(back.masks), dict(ticket.masks))
        wanted = rounded(ticket.state, ticket.masks, bits) if ticket.quantizer is None else ticket.state
        counters = {name for name in wanted if name.endswith("num_batches_tracked")}  # no card needs them
        assert all(torch.equal(back.state[name], wanted[name]) for name in set(wanted) - counters)
        dense = sum(weight.numel() for weight in prunable_weights(network).values())
        stored = sum(np.count_nonzero(again.tensors[name]) for name in again.graph.weight_names)
        assert stored <= again.num_kept < dense
