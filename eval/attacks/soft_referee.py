"""How a refereed cascade weighs cards by what they say, with its gradient: an attack that could not see it would find
the gate more robust than it is (Athalye et al., ICML 2018)."""

from __future__ import annotations

import torch
from torch import Tensor

from cards_deck.inference.gates._referee import SMALLEST
from cards_deck.inference.gates.guarded_cascade import LEAST
from cards_deck.inference.gates.refereed_cascade import RefereedCascadeGate


def heard(gate: RefereedCascadeGate, preference: Tensor, cards: Tensor, ran: Tensor) -> Tensor:
    """As `RefereedCascadeGate.hearing`: weights [n, k] of the cards in `ran` (0 or 1, [n, k]), by the preference [n, k]
    and the cards' log-probabilities [k, n, c]."""
    arrays = {name: torch.from_numpy(gate.config.arrays[name]).to(preference) for name in ("belief", "belief_bias")}
    under, plain = (torch.from_numpy(table).to(preference) for table in (gate.under, gate.plain))
    share = ran @ under
    means = torch.einsum("nk,ka,knc->anc", ran, under, cards.exp()) / share.clamp(min=float(LEAST)).T[:, :, None]
    seen = _evidence(preference @ under, means, share > 0)
    seen = torch.where(seen.isnan(), torch.from_numpy(gate.config.arrays["typical"]).to(seen), seen)
    believed = torch.softmax(seen @ arrays["belief"] + arrays["belief_bias"], dim=1)
    trust = gate.parameter("trust")
    wanted = ((1 - trust) * plain + trust * believed).clamp(min=float(LEAST))
    each = torch.where(share > 0, wanted / share.clamp(min=float(LEAST)), torch.zeros_like(share))
    weights = ran * (each @ under.T)
    return weights / weights.sum(dim=1, keepdim=True)


def _evidence(preferred: Tensor, means: Tensor, there: Tensor) -> Tensor:
    """As `_referee.evidence`."""
    least, count = float(SMALLEST), there.sum(dim=1)
    seen = preferred.clamp(min=least).log()
    named = means.argmax(dim=2, keepdim=True)
    others = (means.sum(dim=0) - means).gather(2, named).squeeze(2) / (count - 1).clamp(min=1)
    entropies = -(means * means.clamp(min=least).log()).sum(dim=2)
    nothing = torch.full_like(seen, torch.nan)
    judged = torch.where(there & (count > 1)[:, None], others.T.clamp(min=least).log(), nothing)
    undecided = torch.where(there, entropies.T, nothing)
    return torch.cat([seen - seen.mean(dim=1, keepdim=True), judged, undecided], dim=1)
