"""How often one card is right under PGD: the adversarial accuracy of a ticket, which no gate stands before."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cards_deck.card import Card
from cards_deck.inference.engines.torch import TorchNetwork
from cards_deck.spectrum import Images
from eval.attacks.chunks import Rows
from eval.attacks.pgd import pgd
from eval.attacks.smooth import margin


@dataclass(frozen=True, eq=False)
class WrongCard:
    """An `Aim`: a wrong answer of one card."""

    network: TorchNetwork
    labels: NDArray[np.int64]

    def __call__(self, planes: Tensor, pixels: Images, rows: Rows) -> tuple[Tensor, NDArray[np.bool_]]:
        """As `Aim`."""
        loss = margin(torch.log_softmax(self.network.logits(planes), 1), torch.from_numpy(self.labels[rows]))
        return loss, np.asarray((loss.detach() > 0).numpy())


def accuracy_under_pgd(
    card: Card, images: Images, labels: NDArray[np.int64], *, levels: int = 8, steps: int = 20, seed: int = 0
) -> float:
    """Share of uint8 [n, h, h, 3] that the card still answers right when attacked within `levels` grey levels."""
    network = TorchNetwork(card)
    attacked = pgd(WrongCard(network, labels), images, levels, steps=steps, seed=seed)
    with torch.inference_mode():
        planes = torch.from_numpy(np.ascontiguousarray(attacked.transpose(0, 3, 1, 2))).float().div(255)
        answers = torch.cat([network.logits(part) for part in planes.split(250)]).argmax(1).numpy()
    return float((answers == labels).mean())
