"""Fitting every kind of gate on validation images, and choosing one: on images that it was not fitted on."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cards_deck.errors import InputError
from cards_deck.gate_config import GateConfig
from cards_deck.inference.gates._base import GATES, BaseGate, Known
from cards_deck.inference.gates._fit import rank
from cards_deck.inference.gates._observed import Observed, Score, score


@dataclass(frozen=True, eq=False)
class Candidate:
    """One kind: its mean `score` on the two halves, each of a gate fitted on the other; the `gate` fitted on all."""

    score: Score
    gate: BaseGate


@dataclass(frozen=True, eq=False)
class Chosen:
    """`candidates` by kind, `kind` the best; `skipped`: why a kind does not fit the deck."""

    kind: str
    candidates: Mapping[str, Candidate]
    skipped: Mapping[str, str]

    @property
    def gate(self) -> BaseGate:
        """The best gate, fitted on all rows."""
        return self.candidates[self.kind].gate

    def as_dict(self) -> dict[str, Any]:
        """JSON form: the kind and every kind's score."""
        return {"kind": self.kind, "scores": {kind: dict(one.score.as_dict()) for kind, one in self.candidates.items()}}


def fit_gate(
    kind: str,
    observed: Observed,
    config: GateConfig,
    known: Known,
    *,
    most_cards: float = 2.0,
    costs: Sequence[float] | None = None,
) -> BaseGate:
    """A gate of this kind with the limits of `config`, fitted on all observed rows.

    Args:
        kind: a name in `GATES`.
        observed: what every card says to validation images.
        config: limits and thresholds that are not learned; its kind, parameters and arrays do not matter.
        known: the deck's side of it, `Known.of(deck)`.
        most_cards: mean cards per image that the gate may use on these rows, clean and corrupted.
        costs: of each card, in any unit (None: all the same); kinds that do not ask for costs are not told.
    """
    if observed.logits.shape[0] != len(known.augmentations):
        raise InputError(f"the rows are of {observed.logits.shape[0]} cards, the deck has {len(known.augmentations)}")
    limits = dataclasses.replace(config.with_kind(kind), parameters={}, arrays={})
    fit = GATES[kind].fit
    extra = {"costs": costs} if "costs" in inspect.signature(fit).parameters else {}
    return fit(observed, limits, known, most_cards=most_cards, **extra)


def choose_gate(
    observed: Observed,
    known: Known,
    config: GateConfig | None = None,
    *,
    kinds: Sequence[str] | None = None,
    most_cards: float = 2.0,
    costs: Sequence[float] | None = None,
) -> Chosen:
    """Fit the kinds (None: all), score each on the half of the images that it was not fitted on, both ways round.

    The best score at no more than `most_cards` mean cards per image wins; of equals the one that runs fewer cards, then
    the one that has learned fewer numbers. Every gate is then fitted on all rows. Kinds that do not fit the deck (such
    as one that needs a reference for each card) are skipped. InputError where all are.
    """
    limits = GateConfig() if config is None else config
    candidates: dict[str, Candidate] = {}
    skipped: dict[str, str] = {}
    halves = observed.halves()
    for kind in sorted(GATES.names() if kinds is None else kinds):
        try:
            scores = [
                score(fit_gate(kind, one, limits, known, most_cards=most_cards, costs=costs), other)
                for one, other in (halves, halves[::-1])
            ]
            gate = fit_gate(kind, observed, limits, known, most_cards=most_cards, costs=costs)
        except InputError as error:
            skipped[kind] = str(error)
            continue
        candidates[kind] = Candidate(_mean(scores), gate)
    if not candidates:
        raise InputError(f"no gate fits this deck: {'; '.join(f'{kind}: {why}' for kind, why in skipped.items())}")
    # Half a per cent of slack: a threshold that spends the budget on one half may spend a little more on the other.
    best = min(candidates, key=lambda kind: (*_order(candidates[kind], 1.005 * most_cards), kind))
    return Chosen(best, candidates, skipped)


def _order(one: Candidate, most_cards: float) -> tuple[bool, float, float, int]:
    """Sorts candidates, the best first."""
    within, found, cards = rank(one.score, most_cards)
    config = one.gate.config
    learned = len(config.parameters) + sum(array.size for array in config.arrays.values())
    return not within, -found, -cards, learned


def _mean(scores: Sequence[Score]) -> Score:
    fields = [field.name for field in dataclasses.fields(Score)]
    return Score(*(float(np.mean([getattr(one, name) for one in scores])) for name in fields))
