"""Soft versions of the gates that weigh cards by rings of the spectrum, by how strange it is, or by how sure the
answers are.

As `smooth.SmoothGate` does for the nearest reference: hard choices of cards are replaced by shares that have a gradient
(Athalye et al., ICML 2018); success is always judged by the hard gate.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cards_deck.inference.gates import GATES, Gate
from cards_deck.inference.gates._asking import AskingGate
from cards_deck.inference.gates._base import BaseGate, Bools, largest
from cards_deck.inference.gates._base import shares as equal_shares
from cards_deck.inference.gates._preference import spent
from cards_deck.inference.gates._profile import ring_means
from cards_deck.inference.gates.cascade import CascadeGate
from cards_deck.inference.gates.guarded_cascade import FOCUS, LEAST, GuardedCascadeGate
from cards_deck.inference.gates.refereed_cascade import RefereedCascadeGate
from cards_deck.inference.gates.softmax import SoftmaxGate
from cards_deck.spectrum import Floats
from eval.attacks.soft_referee import heard

SOFTNESS = 0.05  # of the threshold on how sure an answer is, in probability
SHARPNESS = 10.0  # of the choice of the first card: the power of its preference
_FAR = -1e9  # the score of a card that cannot run
_TINY = 1e-12
_MOST = 1.1  # of what is needed: beyond it no answer is sure enough, and no gradient is left
KINDS = (
    "softmax", "router", "reliability", "cascade", "spectrum_cascade", "hedged_cascade", "guarded_cascade",
    "refereed_cascade",
)  # fmt: skip


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
        self._asks = isinstance(gate, AskingGate | CascadeGate)

    def preference(self, spectra: Tensor) -> Tensor:
        """[n, k] of spectra [n, h, h // 2 + 1]: what the spectrum says of each card; rows sum to 1."""
        flat, rings = spectra.flatten(1), self._rings.to(spectra)
        arrays = {name: array.to(spectra) for name, array in self._arrays.items()}
        if isinstance(self.gate, CascadeGate):
            scores = torch.full((self.gate.cards,), _FAR).to(spectra)
            order = self._arrays["order"].long()[: self.gate.limit]
            scores[order] = -torch.arange(len(order)).to(spectra)
            return torch.softmax(scores, dim=0).expand(len(flat), -1)
        if isinstance(self.gate, GuardedCascadeGate):
            away = (flat @ rings - arrays["ordinary"]) @ arrays["whitening"]
            strange = (away.square().sum(dim=1, keepdim=True) + _TINY).sqrt()
            scores = strange @ arrays["weights"] + arrays["bias"]
            return torch.softmax(scores.masked_fill(torch.from_numpy(self.gate.averages), _FAR), dim=1)
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
        if not self._asks:
            return (self._kept(preference) + preference) / 2  # the cards that run, and those that could
        found, going = torch.zeros_like(preference), torch.ones(len(preference)).to(preference)
        for shares, asks in self._steps(preference, cards):
            found = found + (going * (1 - asks))[:, None] * shares
            going = going * asks
        return found

    def passes(self, spectra: Tensor, cards: Tensor) -> Tensor:
        """[n]: a smooth count of the cards that run."""
        preference = self.preference(spectra)
        if not self._asks:
            return 1 / preference.square().sum(dim=1)
        found, going = torch.zeros(len(preference)).to(preference), torch.ones(len(preference)).to(preference)
        for _, asks in self._steps(preference, cards):
            found = found + going
            going = going * asks
        return found

    def _kept(self, preference: Tensor) -> Tensor:
        """Shares [n, k], by preference, of the cards that run."""
        least = self.gate.config.parameters.get("least", 0.0)
        kept = spent(preference.detach().float().numpy(), self.gate.limit, least) > 0
        return _among(preference, torch.from_numpy(kept))

    def _steps(self, preference: Tensor, cards: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """What a cascade weighs after each card, [n, k], and how far [n], in [0, 1], it is from sure enough to stop
        there.

        The first card is a sharp choice by preference. Shares of several are the gate's own, which change little with
        the spectrum if at all, with the gradient of shares by preference (straight through, Bengio et al., arXiv 2013):
        an attack has to see which cards it could push out, and what they would have to say.
        """
        calibrated = torch.log_softmax(cards / self._arrays["temperatures"].to(cards)[:, None, None], dim=2).exp()
        seen, last = preference.detach().float().numpy(), min(self.gate.limit, self.gate.cards)
        standing = self._standing(preference)
        first = SHARPNESS * (standing + _TINY).log()
        shares = torch.softmax(first.masked_fill(_tied(standing), _FAR), dim=1)
        believed, needed = shares, shares @ self._needed(np.eye(self.gate.cards, dtype=np.bool_)).to(preference)
        asked = largest(self._standing(preference).detach().float().numpy(), 1)
        for step in range(1, last + 1):
            if step > 1:
                asked = asked | self._following(seen, asked)
                shown = _among(self._standing(preference) + _TINY, torch.from_numpy(asked))
                shares, believed = (
                    torch.from_numpy(hard).to(preference) + shown - shown.detach() for hard in self._hard(seen, asked)
                )
                if isinstance(self.gate, RefereedCascadeGate) and self.gate.parameter("trust") > 0:
                    said = heard(self.gate, preference, cards, torch.from_numpy(asked).to(preference))
                    shares = said + shown - shown.detach()
                needed = self._needed(asked).to(preference)
            if step == last:
                yield shares, torch.zeros_like(needed)
                return
            sure = self._sure(torch.einsum("nk,knc->nc", believed, calibrated))
            yield shares, torch.sigmoid((needed - sure) / SOFTNESS)

    def _sure(self, probabilities: Tensor) -> Tensor:
        """[n]: how sure an answer [n, c] is, as the gate takes it."""
        if self.gate.SURE_BY == "probability":
            return probabilities.max(dim=1).values
        two = probabilities.topk(min(2, probabilities.shape[1]), dim=1).values
        return two[:, 0] - two[:, 1] if two.shape[1] > 1 else two[:, 0]

    def _standing(self, preference: Tensor) -> Tensor:
        """[n, k]: how much of the preference each card stands for; who has most is asked first."""
        if not isinstance(self.gate, GuardedCascadeGate):
            return preference
        parts, under = (torch.from_numpy(table).to(preference) for table in (self.gate.parts, self.gate.under))
        each = (preference @ under).clamp(min=float(LEAST))
        focused = each**FOCUS
        focused = focused / focused.sum(dim=1, keepdim=True)
        by_card = preference * ((focused / each) @ under.T)
        by_augmentation = torch.minimum(focused[:, None, :], under).sum(dim=2)
        return (by_augmentation + torch.minimum(by_card[:, None, :], parts).sum(dim=2)) / 2

    def _hard(self, preference: Floats, ran: Bools) -> tuple[Floats, Floats]:
        """Weights [n, k] of the cards that ran in their answer, and where it is asked how sure they are."""
        if isinstance(self.gate, AskingGate):
            return self.gate.sharing(preference, ran), self.gate.believing(ran)
        return (equal_shares(ran.astype(np.float32)),) * 2

    def _needed(self, ran: Bools) -> Tensor:
        """[n]: of these cards [n, k]."""
        return torch.from_numpy(self.gate.needed(ran).clip(max=_MOST))

    def _following(self, preference: Floats, ran: Bools) -> Bools:
        """[n, k]: the card that is asked after those that ran."""
        if isinstance(self.gate, AskingGate):
            return self.gate.following(preference, ran)
        return largest(np.where(ran, np.float32(-1), preference), 1)  # of one order, which is its preference


def _tied(standing: Tensor) -> Tensor:
    """bool [n, k]: cards that stand for as much [n, k] as one before them does, which is asked first."""
    alike = (standing[:, :, None] - standing[:, None, :]).abs() < _TINY
    return alike.tril(diagonal=-1).any(dim=2)


def _among(preference: Tensor, some: Tensor) -> Tensor:
    """Shares [n, k] by preference of some cards, bool [n, k]."""
    shown = preference * some.to(preference)
    return shown / shown.sum(dim=1, keepdim=True)


def soft_gate(gate: Gate) -> SoftGate | None:
    """The soft version of a gate of one of `KINDS`, None for other gates."""
    known = isinstance(gate, tuple(GATES[kind] for kind in KINDS))
    return SoftGate(gate) if known and isinstance(gate, BaseGate) else None
