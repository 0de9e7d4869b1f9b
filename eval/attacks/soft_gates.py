"""Soft versions of the gates that weigh cards by rings of the spectrum or by how sure the answers are.

As `smooth.SmoothGate` does for the nearest reference: hard choices of cards are replaced by shares that have a gradient
(Athalye et al., ICML 2018); success is always judged by the hard gate.
"""

from __future__ import annotations

import functools

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cards_deck.inference.gates import GATES, Gate
from cards_deck.inference.gates._asking import AskingGate
from cards_deck.inference.gates._base import BaseGate
from cards_deck.inference.gates._preference import spent
from cards_deck.inference.gates._profile import ring_means
from cards_deck.inference.gates.cascade import CascadeGate
from cards_deck.inference.gates.softmax import SoftmaxGate

SOFTNESS = 0.05  # of the threshold on confidence, in probability
SHARPNESS = 10.0  # of the choice of the first card: the power of its preference
_FAR = -1e9  # the score of a card that cannot run
_TINY = 1e-12
_MOST = 1.1  # of what is needed: beyond it no answer is sure enough, and no gradient is left
KINDS = ("softmax", "router", "reliability", "cascade", "spectrum_cascade", "hedged_cascade", "guarded_cascade")


@functools.lru_cache(maxsize=4)
def ring_matrix(size: int) -> NDArray[np.float32]:
    """[size * (size // 2 + 1), r]: flat half planes @ this are their ring means, which are linear."""
    flat = size * (size // 2 + 1)
    return ring_means(np.eye(flat, dtype=np.float32).reshape(flat, size, size // 2 + 1))


class SoftGate:
    """The weights of a gate of one of `KINDS` as a smooth function of log-amplitude spectra and the cards' answers."""

    def __init__(self, gate: BaseGate) -> None:
        self.gate = gate
        self._arrays = {name: torch.from_numpy(array.copy()) for name, array in gate.config.arrays.items()}
        references = gate.known.references
        self._references = torch.from_numpy(references.log_amplitude.copy()).flatten(1)
        self._rings = torch.from_numpy(ring_matrix(references.image_size))
        self._widens = isinstance(gate, AskingGate | CascadeGate)
        alone = np.eye(gate.cards, dtype=np.bool_)
        self._needed = torch.from_numpy(gate.needed(alone).clip(max=_MOST).astype(np.float32))  # of each card's answer

    def preference(self, spectra: Tensor) -> Tensor:
        """[n, k] of spectra [n, h, h // 2 + 1]: what the spectrum says of each card; rows sum to 1."""
        flat, rings = spectra.flatten(1), self._rings.to(spectra)
        arrays = {name: array.to(spectra) for name, array in self._arrays.items()}
        if isinstance(self.gate, CascadeGate):
            scores = torch.full((self.gate.cards,), _FAR).to(spectra)
            order = self._arrays["order"].long()[: self.gate.limit]
            scores[order] = -torch.arange(len(order)).to(spectra)
            return torch.softmax(scores, dim=0).expand(len(flat), -1)
        if not isinstance(self.gate, SoftmaxGate):
            return torch.softmax(flat @ rings @ arrays["weights"] + arrays["bias"], dim=1)
        squares = (flat[:, None] - self._references.to(spectra)).square() @ rings
        nearness = -(squares * arrays["radial"]).sum(dim=2) / arrays["temperatures"]
        known = self.gate.known
        originals = list(known.originals)
        of = [known.references.augmentations.index(known.augmentations[card]) for card in originals]
        scores = torch.full((len(flat), self.gate.cards), _FAR).to(spectra)
        scores[:, originals] = nearness[:, of] + arrays["offsets"][originals]
        return torch.softmax(scores, dim=1)

    def weights(self, spectra: Tensor, cards: Tensor) -> Tensor:
        """[n, k], rows sum to 1, from spectra and the cards' log-probabilities [k, n, c]."""
        preference = self.preference(spectra)
        some = self._some(preference)
        if not self._widens:
            return (some + preference) / 2  # the cards that run, and those that could
        first, wide = self._first(preference), some
        joins = self._joins(first, cards)[:, None]
        return (1 - joins) * first + joins * wide

    def passes(self, spectra: Tensor, cards: Tensor) -> Tensor:
        """[n]: a smooth count of the cards that run."""
        preference = self.preference(spectra)
        if self._widens:
            return 1 + (self.gate.limit - 1) * self._joins(self._first(preference), cards)
        return 1 / preference.square().sum(dim=1)

    def _some(self, preference: Tensor) -> Tensor:
        """Shares [n, k] of the cards that could run.

        Equal shares do not change with the spectrum, so they are given the gradient of those by preference (straight
        through, Bengio et al., arXiv 2013): an attack has to see which cards it could push out.
        """
        if isinstance(self.gate, AskingGate):
            equal = torch.from_numpy(self.gate.widest(preference.detach().float().numpy())).to(preference)
            shown = preference * (equal > 0)
            shown = shown / shown.sum(dim=1, keepdim=True)
            return equal + shown - shown.detach()
        least = self.gate.config.parameters.get("least", 0.0)
        kept = spent(preference.detach().float().numpy(), self.gate.limit, least) > 0
        shown = preference * torch.from_numpy(kept).to(preference)
        return shown / shown.sum(dim=1, keepdim=True)

    def _first(self, preference: Tensor) -> Tensor:
        sharp: Tensor = torch.softmax(SHARPNESS * (preference + _TINY).log(), dim=1)
        return sharp

    def _joins(self, first: Tensor, cards: Tensor) -> Tensor:
        """[n] in [0, 1]: how far the answer of the first card is from sure enough."""
        calibrated = torch.log_softmax(cards / self._arrays["temperatures"].to(cards)[:, None, None], dim=2).exp()
        sure = torch.einsum("nk,knc->nc", first, calibrated).max(dim=1).values
        return torch.sigmoid((first @ self._needed.to(first) - sure) / SOFTNESS)


def soft_gate(gate: Gate) -> SoftGate | None:
    """The soft version of a gate of one of `KINDS`, None for other gates."""
    known = isinstance(gate, tuple(GATES[kind] for kind in KINDS))
    return SoftGate(gate) if known and isinstance(gate, BaseGate) else None
