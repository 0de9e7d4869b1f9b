"""A deck as differentiable functions of its images: every card in torch, the gate's hard choices softened.

The hard gate has no useful gradient: its weights are constant but where they jump. An attack that stopped there would
be blind, so gradients come from a soft gate (backward pass differentiable approximation, Athalye et al., ICML 2018),
while success is always judged by the hard one.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from cards_deck.deck import Deck
from cards_deck.inference.engines.torch import TorchNetwork
from cards_deck.inference.gates import Gate, SpectralGate
from cards_deck.spectrum import FLOOR, radial_weight
from eval.attacks.soft_gates import soft_gate

TEMPERATURE = 0.1  # of the soft gate, in units of the mean distance of training images to their reference
_FAR = 1e9  # a distance beyond every margin that a gate may have
_TINY = 1e-16  # below any power or weight that matters: keeps the gradients of sqrt and log finite


def log_amplitude(planes: Tensor) -> Tensor:
    """float [n, 3, h, h] in [0, 1] -> [n, h, h//2+1], as `cards_deck.spectrum.log_amplitude` but differentiable."""
    transformed = torch.fft.rfft2(planes, norm="ortho")
    power = (transformed.real.square() + transformed.imag.square()).mean(dim=1)
    amplitude: Tensor = power.clamp(min=_TINY).sqrt() + float(FLOOR)
    return amplitude.log()


class SmoothGate:
    """A spectral gate with soft choices: at `temperature` towards 0 its weights become the hard gate's.

    Which augmentation is nearest, which is second and whether the second joins are each a softmax or a sigmoid of the
    distances, instead of a comparison.
    """

    def __init__(self, gate: SpectralGate, temperature: float = TEMPERATURE) -> None:
        references = gate.known.references
        self.margin = gate.parameter("margin")
        self.temperature = temperature * float(references.scale.mean())
        self._references = torch.from_numpy(references.log_amplitude.copy())
        self._weight = torch.from_numpy(radial_weight(references.image_size).copy())
        self._alone, self._mixed = _tables(gate)

    def distances(self, planes: Tensor) -> Tensor:
        """[n, a] of float [n, 3, h, h] in [0, 1], as `cards_deck.spectrum.distances`."""
        spectra = log_amplitude(planes)
        difference = spectra[:, None] - self._references.to(spectra)
        squares = self._weight.to(spectra) * difference.square()
        return squares.sum(dim=(2, 3)).clamp(min=_TINY).sqrt()

    def weights(self, planes: Tensor) -> Tensor:
        """[n, k] of float [n, 3, h, h] in [0, 1]; rows sum to 1."""
        found = self.distances(planes)
        alone, mixed = self._alone.to(found), self._mixed.to(found)
        first = torch.softmax(-found / self.temperature, dim=1)
        if found.shape[1] == 1:
            return first @ alone
        gap = found[:, None, :] - found[:, :, None]  # [n, first, second]
        joins = torch.sigmoid((self.margin * found[:, :, None] - gap) / self.temperature)
        itself = torch.eye(found.shape[1], dtype=torch.bool, device=found.device)
        second = torch.softmax((-found[:, None, :] / self.temperature).masked_fill(itself, -torch.inf), dim=2)
        pairs = first[:, :, None] * second  # [n, first, second], sums to 1
        together = torch.einsum("nab,abk->nk", pairs * joins, mixed)
        return together + torch.einsum("nab,ak->nk", pairs * (1 - joins), alone)


def _tables(gate: SpectralGate) -> tuple[Tensor, Tensor]:
    """The hard gate's weights [a, k] for each nearest augmentation alone, and [a, a, k] with each second one."""
    count = len(gate.known.references.augmentations)
    alone = gate.route_distances(np.where(np.eye(count, dtype=bool), 1.0, _FAR)).weights
    mixed = np.repeat(alone[:, None], count, axis=1)
    if gate.parameter("margin") > 0:
        for first in range(count):
            found = np.full((count, count), _FAR)
            np.fill_diagonal(found, 1 + gate.parameter("margin") / 2)
            found[:, first] = 1
            rows = np.arange(count) != first
            mixed[first, rows] = gate.route_distances(found[rows]).weights
    return torch.from_numpy(alone), torch.from_numpy(mixed)


class SmoothDeck:
    """Every card of a deck, and its gate, on float images [n, 3, h, h] in [0, 1]."""

    def __init__(self, deck: Deck, gate: Gate, *, temperature: float = TEMPERATURE) -> None:
        self.networks = [TorchNetwork(card) for card in deck.cards]
        self.gate = SmoothGate(gate, temperature) if isinstance(gate, SpectralGate) else None
        self.soft = soft_gate(gate)
        self.originals = list(deck.originals)

    def gate_weights(self, planes: Tensor, cards: Tensor) -> Tensor:
        """[n, k]: of the soft gate, given the cards' log-probabilities [k, n, c]; all cards that are no averages of
        others share equally where the gate reads no image."""
        if self.gate is not None:
            return self.gate.weights(planes)
        if self.soft is not None:
            return self.soft.weights(log_amplitude(planes), cards)
        even = planes.new_zeros((len(planes), len(self.networks)))
        even[:, self.originals] = 1 / len(self.originals)
        return even

    def passes(self, planes: Tensor, cards: Tensor) -> Tensor:
        """[n]: a smooth count of the cards that run; constant where their number does not follow from the image."""
        if self.soft is not None:
            return self.soft.passes(log_amplitude(planes), cards)
        return 1 / self.gate_weights(planes, cards).square().sum(dim=1)

    def card_log_probabilities(self, planes: Tensor, cards: list[int]) -> Tensor:
        """[len(cards), n, c] of those cards."""
        return torch.stack([torch.log_softmax(self.networks[card].logits(planes), dim=1) for card in cards])


def pooled(log_probabilities: Tensor, weights: Tensor) -> Tensor:
    """log of the weighted mean of probabilities -> [n, c], from their logs [k, n, c] and weights [n, k]."""
    return torch.logsumexp(log_probabilities + (weights.T[:, :, None] + _TINY).log(), dim=0)


def margin(log_probabilities: Tensor, labels: Tensor) -> Tensor:
    """[n]: log-probability of the best wrong class minus that of the right one; above 0 the answer is wrong.

    The margin loss of Carlini and Wagner (S&P 2017, section V.A) on pooled probabilities.
    """
    right = log_probabilities.gather(1, labels[:, None])[:, 0]
    others = log_probabilities.scatter(1, labels[:, None], -torch.inf).max(dim=1).values
    return others - right
