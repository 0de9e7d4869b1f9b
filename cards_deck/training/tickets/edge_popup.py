"""Edge-popup: the weights stay as drawn, scores are trained, and the mask keeps the largest (Ramanujan et al. 2020).

Each weight w has a score s; the network computes with w where |s| is among the largest, zero elsewhere. The gradient of
the masked weight passes straight through the choice: ds = d(masked weight) * w * sign(s). Scores start as U(-b, b) with
b = 1 / sqrt(fan in), and are what the optimizer moves, weight decay and momentum included.

The threshold is one per layer, so that every layer has the same density (the paper), or one over all layers, as in the
published code of the CARDs study (Diffenderfer et al., NeurIPS 2021): then the density falls over the first `ramp` of
the steps as d + (max(1/2, d) - d) (1 - progress / ramp)^3, lest whole layers lose their weights before scores mean
anything. What differs from the published code:

- Exactly the wanted number is kept, at least one weight in each layer; the code's layers may end empty.
- The weights' scale counts the inputs that are kept, fan in * density, as the paper says; the code multiplies by the
  wrong share. Batch-norm makes up for that in convolutions, but not in the head.
- Without `affine` the head's bias is zero: the paper's layers have none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from cards_deck.training.task import Task
from cards_deck.training.tickets import METHODS
from cards_deck.training.tickets.scored import Effective, check_scored, train_scores
from cards_deck.training.tickets.ticket import Ticket


@METHODS.register("edge_popup")
@dataclass(frozen=True)
class EdgePopup:
    """Never train the weights: train scores, and keep the weights of the largest (Ramanujan et al., CVPR 2020).

    Attributes:
        density: fraction of convolution and linear weights kept [chosen here].
        threshold: `layer`: every layer at the same density; `global`: one over all layers [paper: layer].
        ramp: with `global`, share of the steps over which the density falls from a half [code of the CARDs study].
        initial: the weights are `constant`, a sign times one magnitude per layer, or `normal` [paper: constant is
            best].
        affine: also train batch-norm's scale and shift and the biases, instead of leaving them at 1 and 0 [paper].
    """

    density: float = 0.3
    threshold: Literal["layer", "global"] = "layer"
    ramp: float = 0.1
    initial: Literal["constant", "normal"] = "constant"
    affine: bool = False

    def __post_init__(self) -> None:
        check_scored("edge_popup", self)

    def find(self, network: nn.Module, task: Task, generator: torch.Generator) -> tuple[Ticket, ...]:
        """Train scores once; one ticket."""
        return (train_scores("edge_popup", self, network, task, generator, Effective()),)
