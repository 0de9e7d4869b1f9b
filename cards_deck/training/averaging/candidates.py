"""Cards that may be averaged, and what measures any average of them: the real `score` and `gradient` of soups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from cards_deck.averages import statistics_names
from cards_deck.card import Card
from cards_deck.inference.engines.torch import TorchNetwork
from cards_deck.inference.gates import CLEAN
from cards_deck.training.averaging.average import Statistics, average, check_cards
from cards_deck.training.averaging.batch_norm import AugmentedImages
from cards_deck.training.averaging.judge import BATCH, Judge, score
from cards_deck.training.averaging.soups import Soup

GRADIENT_IMAGES = 500  # of each domain


@dataclass(frozen=True, eq=False)
class Candidates:
    """Cards of one network and, unless `union`, one mask.

    Attributes:
        cards: two or more.
        judge: held-out images.
        images: training images, for batch-norm statistics.
        statistics: of the batch norms, see `average`.
        union: allow cards of different masks.
    """

    cards: Sequence[Card]
    judge: Judge
    images: AugmentedImages
    statistics: Statistics = "recomputed"
    union: bool = False
    _scores: dict[Soup, float] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        check_cards(self.cards, self.union)

    def members(self, soup: Soup) -> list[Card]:
        """The cards that the soup does not leave out."""
        return [card for card, share in zip(self.cards, soup, strict=True) if share > 0]

    def card(self, soup: Soup, name: str) -> Card:
        """The soup as a card; the card itself, under its own name, where it is the only one."""
        members = self.members(soup)
        if len(members) == 1:
            return members[0]
        shares = [share for share in soup if share > 0]
        return average(members, shares, self.images, name=name, statistics=self.statistics, union=self.union)

    def score(self, soup: Soup) -> float:
        """The judge's score of the soup; measured once."""
        if soup not in self._scores:
            self._scores[soup] = score(self.judge.accuracies(self.card(soup, "soup")))
        return self._scores[soup]

    def gradient(self, soup: Soup) -> NDArray[np.float64]:
        """Derivative of the held-out cross-entropy by each card's coefficient.

        Over the first images of each of the judge's domains, weighted as in `score`; the batch-norm statistics are
        those of the soup and count as constants.
        """
        network = TorchNetwork(self.card(soup, "soup"))
        constants = {name for kind in statistics_names(network.graph) for name in kind}
        parents = [TorchNetwork(card).tensors for card in self.cards]
        leaves = [name for name in network.tensors if name not in constants]
        for name in leaves:
            network.tensors[name].requires_grad_(True)
        share = 0.5 / (len(self.judge.domains) - 1) if len(self.judge.domains) > 1 else 0.0
        for domain, (images, labels) in self.judge.domains.items():
            few = images[:GRADIENT_IMAGES]
            weight = (1 - share * (len(self.judge.domains) - 1) if domain == CLEAN else share) / len(few)
            for start in range(0, len(few), BATCH):
                planes = torch.from_numpy(np.array(few[start : start + BATCH])).permute(0, 3, 1, 2)
                logits = network.logits(planes.contiguous().float().div(255))
                wanted = torch.from_numpy(np.array(labels[start : start + len(planes)]))
                (weight * functional.cross_entropy(logits, wanted, reduction="sum")).backward()
        return np.array([_product(network, own, leaves) for own in parents])


def _product(network: TorchNetwork, tensors: Mapping[str, torch.Tensor], names: Sequence[str]) -> float:
    """Inner product of the gradients of `network`'s tensors with other tensors."""
    total = 0.0
    for name in names:
        gradient = network.tensors[name].grad
        total += 0.0 if gradient is None else float((gradient * tensors[name]).sum())
    return total
