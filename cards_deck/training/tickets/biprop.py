"""Biprop: edge-popup with one bit a weight, giving multi-prize tickets (Diffenderfer and Kailkhura, ICLR 2021).

As `edge_popup`, but the network computes with alpha * sign(w) where w is kept, alpha being the mean magnitude of the
layer's kept weights, sum(|w| * mask) / kept. The gradient of a score is that of the binary weight times |w| and the two
signs, as the published code has it since its correction of April 2021 (before, it was divided by |w|). All layers are
binary, the first and the last included, and so is the card: its quantizer is `binary`, its bits are 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from cards_deck.training.quantizers.binary import Binary
from cards_deck.training.task import Task
from cards_deck.training.tickets import METHODS
from cards_deck.training.tickets.scored import Effective, check_scored, train_scores
from cards_deck.training.tickets.ticket import Ticket


@METHODS.register("biprop")
@dataclass(frozen=True)
class Biprop:
    """Train scores of random weights that count by their signs alone (Diffenderfer and Kailkhura, ICLR 2021).

    Attributes:
        density: fraction of convolution and linear weights kept [chosen here].
        threshold: `layer`: every layer at the same density; `global`: one over all layers [paper: layer].
        ramp: with `global`, share of the steps over which the density falls from a half [code of the CARDs study].
        initial: the weights are `normal`, where magnitudes scale the gradients of scores, or `constant`: a sign times
            one magnitude per layer [published code: normal].
        affine: also train batch-norm's scale and shift and the biases, instead of leaving them at 1 and 0: 94.8 %
            instead of 94.7 % for the paper's ResNet-18 [published code: not].
    """

    density: float = 0.2
    threshold: Literal["layer", "global"] = "layer"
    ramp: float = 0.1
    initial: Literal["constant", "normal"] = "normal"
    affine: bool = False

    def __post_init__(self) -> None:
        check_scored("biprop", self)

    def find(self, network: nn.Module, task: Task, generator: torch.Generator) -> tuple[Ticket, ...]:
        """Train scores once; one binary ticket."""
        return (train_scores("biprop", self, network, task, generator, Signs()),)


class Signs(Effective):
    """What the network computes with: alpha * sign(w) where w is kept."""

    def __init__(self) -> None:
        self.quantizer = Binary(ends=True)

    def of(self, weight: Tensor, mask: Tensor) -> Tensor:
        """-alpha, 0 or alpha."""
        codes, alpha = self.quantizer.grid(weight, mask)
        return codes * alpha

    def finish(self, ticket: Ticket) -> Ticket:
        """The ticket on its grid, all layers."""
        return ticket.on_grid(self.quantizer, tuple(ticket.masks))
