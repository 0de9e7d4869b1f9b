"""What a white-box attack wants: a loss to raise, and whether it is there. Success is seen on the hard gate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cards_deck.inference.gates import Decision, Gate
from cards_deck.spectrum import Floats, Images, log_amplitude
from eval.attacks.chunks import Rows
from eval.attacks.smooth import SmoothDeck, SmoothGate, margin, pooled
from eval.measure import looked_up

Bools = NDArray[np.bool_]


class Aim(Protocol):
    """Anything that can be attacked."""

    def __call__(self, planes: Tensor, pixels: Images, rows: Rows) -> tuple[Tensor, Bools]:
        """(loss [n] to raise, differentiable in `planes`; bool [n]: reached) of the images with these row numbers.

        `planes` float [n, 3, h, h] in [0, 1] and `pixels` uint8 [n, h, h, 3] hold the same values.
        """


@dataclass(frozen=True)
class WrongThroughTheGate:
    """A wrong answer of the gated deck: the loss goes through cards and soft gate together (an adaptive attack)."""

    deck: SmoothDeck
    gate: Gate
    labels: NDArray[np.int64]

    def __call__(self, planes: Tensor, pixels: Images, rows: Rows) -> tuple[Tensor, Bools]:
        """As `Aim`."""
        labels = torch.from_numpy(self.labels[rows])
        cards = self.deck.card_log_probabilities(planes, list(range(len(self.deck.networks))))
        loss = margin(pooled(cards, self.deck.gate_weights(planes, cards)), labels)
        hard = torch.from_numpy(_decided(self.gate, pixels, cards).weights)
        return loss, _positive(margin(pooled(cards.detach(), hard), labels))


@dataclass(frozen=True)
class WrongAtFixedWeights:
    """A wrong answer of cards pooled with weights [k] that no image changes: one card, or all of them equally."""

    deck: SmoothDeck
    weights: Floats
    labels: NDArray[np.int64]

    def __call__(self, planes: Tensor, pixels: Images, rows: Rows) -> tuple[Tensor, Bools]:
        """As `Aim`; cards of weight 0 do not run."""
        running = [int(card) for card in np.flatnonzero(self.weights)]
        weights = torch.from_numpy(self.weights[running]).expand(len(planes), -1)
        answer = pooled(self.deck.card_log_probabilities(planes, running), weights)
        loss = margin(answer, torch.from_numpy(self.labels[rows]))
        return loss, _positive(loss)


@dataclass(frozen=True)
class OtherChoice:
    """Another nearest augmentation than `choice` [n], whatever the cards then answer."""

    smooth: SmoothGate
    gate: Gate
    choice: NDArray[np.int64]

    def __call__(self, planes: Tensor, pixels: Images, rows: Rows) -> tuple[Tensor, Bools]:
        """As `Aim`; no card runs."""
        found = self.smooth.distances(planes)
        chosen = torch.from_numpy(self.choice[rows])
        loss = found.gather(1, chosen[:, None])[:, 0] - found.scatter(1, chosen[:, None], torch.inf).min(dim=1).values
        return loss, np.asarray(self.gate.route(log_amplitude(pixels)).choice != self.choice[rows])


@dataclass(frozen=True)
class OtherCards:
    """Other cards than those that `ran` [n, k] for the clean image, whatever they then answer."""

    deck: SmoothDeck
    gate: Gate
    ran: Bools

    def __call__(self, planes: Tensor, pixels: Images, rows: Rows) -> tuple[Tensor, Bools]:
        """As `Aim`."""
        cards = self.deck.card_log_probabilities(planes, list(range(len(self.deck.networks))))
        before = torch.from_numpy(self.ran[rows]).to(planes)
        loss = -(self.deck.gate_weights(planes, cards) * before).sum(dim=1)
        return loss, np.asarray((_decided(self.gate, pixels, cards).ran != self.ran[rows]).any(axis=1))


@dataclass(frozen=True)
class MoreCards:
    """As many cards as the gate may run at most: what an image can be made to cost."""

    deck: SmoothDeck
    gate: Gate

    def __call__(self, planes: Tensor, pixels: Images, rows: Rows) -> tuple[Tensor, Bools]:
        """As `Aim`."""
        cards = self.deck.card_log_probabilities(planes, list(range(len(self.deck.networks))))
        ran = _decided(self.gate, pixels, cards).ran.sum(axis=1)
        return self.deck.passes(planes, cards), np.asarray(ran >= self.gate.limit)


def _decided(gate: Gate, pixels: Images, cards: Tensor) -> Decision:
    """What the hard gate does with uint8 images whose cards answer these log-probabilities [k, n, c]."""
    return looked_up(gate, log_amplitude(pixels), cards.detach().float().numpy())


def _positive(values: Tensor) -> Bools:
    return np.asarray((values.detach() > 0).numpy())
