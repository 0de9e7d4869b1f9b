"""Tickets, and the hook that keeps a network inside its masks."""

from __future__ import annotations

import pytest
import torch
from tiny_training import make_network, make_task, one_thread  # noqa: F401  (the fixture acts by being here)

from cards_deck.errors import InputError
from cards_deck.training.networks import prunable_weights
from cards_deck.training.quantizers import QUANTIZERS
from cards_deck.training.tickets.allocation import random_masks
from cards_deck.training.tickets.masked import KeepMasked
from cards_deck.training.tickets.ticket import Masks, Ticket, apply_masks, density, exact_count, full_masks


def masks_of(share: float = 0.4) -> Masks:
    return random_masks(make_network(), share, "uniform", torch.Generator().manual_seed(0))


def test_density_counts_what_is_kept() -> None:
    masks = {"a": torch.tensor([True, False, False, False]), "b": torch.tensor([[True, True, False, False]])}
    assert density(masks) == 3 / 8
    assert density(full_masks(make_network())) == 1.0


def test_a_ticket_copies_the_network_with_its_masks() -> None:
    network, masks = make_network(), masks_of()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    ticket = Ticket.of(network, masks)
    for name, value in before.items():
        assert torch.equal(network.state_dict()[name], value), "the network itself stays"
        assert torch.equal(ticket.state[name], value * masks[name] if name in masks else value)
    next(iter(masks.values())).fill_(True)
    assert ticket.density != density(masks), "the masks are copies too"


def test_a_ticket_refuses_what_contradicts_its_masks() -> None:
    network, masks = make_network(), masks_of()
    state = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(InputError, match="weights outside its mask"):
        Ticket(masks, state)
    apply_masks(network, masks)
    whole = {name: value.clone() for name, value in network.state_dict().items()}
    assert Ticket(masks, whole).density == density(masks)
    name = next(iter(masks))
    with pytest.raises(InputError, match="must be bool of the weight's shape"):
        Ticket({**masks, name: masks[name].float()}, whole)
    with pytest.raises(InputError, match="must be bool of the weight's shape"):
        Ticket({**masks, name: masks[name].flatten()}, whole)


def test_a_quantized_ticket_holds_codes_times_scales() -> None:
    """Kept magnitudes 1, 3, 0 and 4: alpha 2. A kept -0 is positive; outside the mask is zero without a sign."""
    state = {"a": torch.tensor([1.0, -3.0, -0.0, 0.0, 4.0]), "b": torch.tensor([0.5])}
    masks = {"a": torch.tensor([True, True, True, False, True]), "b": torch.tensor([True])}
    ticket = Ticket(masks, state).on_grid(QUANTIZERS.build("binary"), ("a",))
    assert ticket.state["a"].tolist() == [2.0, -2.0, 2.0, 0.0, 2.0]
    assert ticket.state["b"].tolist() == [0.5]
    assert ticket.scales["a"].tolist() == [2.0]
    assert set(ticket.scales) == {"a"}
    assert state["a"][0] == 1, "the float ticket stays"
    assert not torch.signbit(ticket.state["a"][3])


def test_a_ticket_refuses_scales_without_a_quantizer_and_impossible_origins() -> None:
    state, masks = {"a": torch.tensor([1.0, 0.0])}, {"a": torch.tensor([True, False])}
    with pytest.raises(InputError, match="has scales if its quantizer"):
        Ticket(masks, state, scales={"a": torch.ones(1)})
    with pytest.raises(InputError, match="has scales if its quantizer"):
        Ticket(masks, state, QUANTIZERS.build("binary"))
    with pytest.raises(InputError, match="`weights` counts the network it was cut from, at least 2, got 1"):
        Ticket(masks, state, weights=1)
    assert Ticket(masks, state, weights=10).density == 0.1


def test_kept_is_what_the_mask_says_and_not_what_is_zero() -> None:
    """A kept weight that passes through zero goes on training; a pruned one never starts."""
    network, masks = make_network(), masks_of()
    hook = KeepMasked(network, masks)
    for name, weight in prunable_weights(network).items():
        assert not weight.detach()[~masks[name]].any()
        with torch.no_grad():
            weight.zero_()
        weight.grad = torch.ones_like(weight)
    assert not hook.on_gradients(0, 10)
    for name, weight in prunable_weights(network).items():
        assert weight.grad is not None
        assert torch.equal(weight.grad, masks[name].float())
        with torch.no_grad():
            weight.fill_(1)
    hook.after_step()
    for name, weight in prunable_weights(network).items():
        assert torch.equal(weight.detach(), masks[name].float())
    assert all(bool((p == 1).all()) for n, p in network.named_parameters() if p.dim() == 1 and "bias" not in n)


def test_training_inside_masks_moves_kept_weights_of_both_signs() -> None:
    network, masks = make_network(), masks_of()
    hook = KeepMasked(network, masks)
    before = {name: weight.detach().clone() for name, weight in prunable_weights(network).items()}
    make_task().train(network, hooks=lambda optimizer: [hook])
    for name, weight in prunable_weights(network).items():
        after = weight.detach()
        assert torch.equal(hook.masks[name], masks[name]), "the masks stay"
        assert not after[~masks[name]].any()
        for sign in (-1, 1):
            started = sign * before[name] > 0
            if int(started.sum()) > 10:
                assert (after != before[name])[started].float().mean() > 0.5


@pytest.mark.parametrize(
    ("total", "share", "count"), [(1000, 0.1, 100), (7, 0.5, 4), (15, 0.1, 2), (3, 0.01, 1), (10, 1.0, 10)]
)
def test_counts_are_rounded_and_at_least_one(total: int, share: float, count: int) -> None:
    assert exact_count(total, share) == count
