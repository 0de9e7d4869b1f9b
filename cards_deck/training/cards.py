"""Tickets to cards and back: what leaves torch when training is done."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from cards_deck.card import Card, CardRecord, as_stored
from cards_deck.data import Dataset
from cards_deck.errors import InputError
from cards_deck.registry import describe
from cards_deck.training.export import export_graph
from cards_deck.training.networks import resized
from cards_deck.training.recipe import Recipe
from cards_deck.training.tickets import Ticket
from cards_deck.training.tickets.heads import head_name, new_head

FULL_PRECISION = {"name": "none"}


def make_card(
    name: str,
    recipe: Recipe,
    network: nn.Module,
    ticket: Ticket,
    data: Dataset,
    *,
    bits: int = 16,
    method: dict[str, Any] | None = None,
    parents: Sequence[str] = (),
) -> Card:
    """Return the card of a trained ticket, its values rounded as its file will hold them.

    Args:
        name: of the card in its deck.
        recipe: what it was trained by.
        network: the recipe's module; only its structure is read, and only where the ticket has no network of its own.
        ticket: masks and weights; its quantizer is the card's.
        data: the training images, recorded by name, size and checksum.
        bits: width of a stored value, 16 or 32; a quantized ticket's weights have those of its quantizer.
        method: recorded instead of the recipe's, for cards that another step than `find` made.
        parents: ids of the cards it came from.
    """
    graph = export_graph(network if ticket.network is None else ticket.network)
    described = recipe.describe()
    record = CardRecord(
        network=described["network"],
        method=(method or described["method"]) | _details(ticket),
        quantizer=FULL_PRECISION if ticket.quantizer is None else describe(ticket.quantizer),
        augmentation=described["augmentation"],
        density=_density(graph.weight_names, ticket),
        bits=ticket.quantizer.bits if ticket.quantizer is not None and ticket.scales else bits,
        data={"name": data.name, "split": data.split, "n": len(data), "sha256": data.sha256},
        schedule=described["schedule"],
        seed=recipe.seed,
        parents=tuple(parents),
    )
    tensors = {tensor: _array(ticket.state[tensor]) for tensor in graph.parameter_names}
    masks = {tensor: mask.numpy().astype(np.bool_) for tensor, mask in ticket.masks.items() if not bool(mask.all())}
    scales = {tensor: _array(scale) for tensor, scale in ticket.scales.items()}
    return as_stored(Card(name, record, graph, tensors, masks, scales))


def _details(ticket: Ticket) -> dict[str, int]:
    """What a record says of a ticket beside its method's fields: its number in its run, the weights it was cut from."""
    details = {"ticket": ticket.number, "weights": ticket.weights}
    return {name: value for name, value in details.items() if value is not None}


def _density(weights: Sequence[str], ticket: Ticket) -> float:
    kept = sum(int(ticket.masks[w].sum()) if w in ticket.masks else ticket.state[w].numel() for w in weights)
    return kept / (ticket.weights or sum(ticket.state[w].numel() for w in weights))


def _array(tensor: torch.Tensor) -> NDArray[np.float32]:
    return np.ascontiguousarray(tensor.detach().cpu().float().numpy())


def with_classes_of(card: Card, network: nn.Module) -> nn.Module:
    """Return `network` with as many classes as `card` has: itself, or a copy with another head."""
    head = head_name(network)
    shape, own = card.shapes.get(f"{head}.weight"), network.state_dict()[f"{head}.weight"]
    if shape is None or shape[0] == own.shape[0]:
        return network
    return new_head(network, shape[0], torch.Generator())


def ticket_of(card: Card, network: nn.Module) -> Ticket:
    """Return `card` as a ticket of `network`; InputError unless it has the card's architecture and classes.

    A card whose channels were cut out of that architecture gives a ticket with its own, smaller network.
    """
    own = None
    if card.record.cut_from is not None:
        own = network = resized(network, card.shapes).cpu()
    state = {name: value.detach().cpu().clone() for name, value in network.state_dict().items()}
    shapes = {name: tuple(v.shape) for name, v in state.items() if not name.endswith("num_batches_tracked")}
    if differing := sorted(set(shapes.items()) ^ set(card.shapes.items())):
        raise InputError(
            f"card {card.name!r} is of another architecture or has other classes than the network: they differ in "
            f"{differing[0][0]!r}, which must be of shape {list(card.shapes.get(differing[0][0], ()))} as in the card"
        )
    for name, array in card.tensors.items():
        state[name].copy_(torch.from_numpy(np.array(array)))
    masks = {name: torch.from_numpy(np.array(mask)) for name, mask in card.masks.items()}
    for name in card.graph.weight_names:
        masks.setdefault(name, torch.ones_like(state[name], dtype=torch.bool))
    return Ticket(masks, state, network=own, weights=card.record.cut_from)
