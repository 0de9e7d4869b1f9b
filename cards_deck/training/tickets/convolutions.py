"""For papers that prune convolutions only: linear layers stay whole, and the density counts them all the same."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from cards_deck.errors import InputError
from cards_deck.training.networks import prunable_weights
from cards_deck.training.tickets.ticket import Masks, exact_count


def convolution_weights(network: nn.Module) -> dict[str, Tensor]:
    """Return the convolution weights by name, the stem's included."""
    return {name: weight for name, weight in prunable_weights(network).items() if weight.dim() == 4}


def convolution_count(method: str, network: nn.Module, density: float) -> int:
    """Number of convolution weights to keep, so that with every linear weight `density` of all are kept.

    InputError where the linear layers alone are more than that, or leave fewer weights than there are convolutions.
    """
    weights, convolutions = prunable_weights(network), convolution_weights(network)
    total = sum(weight.numel() for weight in weights.values())
    linear = total - sum(weight.numel() for weight in convolutions.values())
    kept = exact_count(total, density) - linear
    if kept < len(convolutions):
        least = (linear + len(convolutions)) / total
        raise InputError(
            f"{method}: `density` must be at least {least:.6f} for this network, got {density}: only convolutions are "
            f"pruned, and the linear layers have {linear} of its {total} weights; choose a higher density or a method "
            "that prunes the head too"
        )
    return kept


def with_whole_linear(network: nn.Module, masks: Mapping[str, Tensor]) -> Masks:
    """Return masks of all weights of `network`: those of convolutions from `masks`, all-True ones of linear layers."""
    weights = prunable_weights(network)
    return {
        name: masks[name] if weight.dim() == 4 else weight.new_ones(weight.shape).bool()
        for name, weight in weights.items()
    }
