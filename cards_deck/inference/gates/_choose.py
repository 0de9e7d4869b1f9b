"""Fitting every kind of gate on validation images, and choosing one: on images and shifts it was not fitted on."""

from __future__ import annotations

import dataclasses
import inspect
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cards_deck.errors import InputError
from cards_deck.gate_config import GateConfig
from cards_deck.inference.gates._base import GATES, BaseGate, Known
from cards_deck.inference.gates._observed import Judged, Observed, Score, Worst, judge
from cards_deck.inference.gates.uniform import UniformGate

BUDGETS = (1.0, 1.25, 1.5, 1.75, 2.0, 3.0, 4.0, 6.0, 8.0)  # mean cards per image that gates are fitted for
WORTH = 0.001  # of the score for a pass: less than a tenth of a point is worth none, however surely it is there
# A threshold that spends the budget on some of the images may spend a little more on the others.
SLACK = 1.005


@dataclass(frozen=True, eq=False)
class Candidate:
    """A kind fitted for one budget.

    `score`: on images and corruptions that it was not fitted on (`Observed.folds`). `worst`: in which of these cells it
    loses most against the plain average of the deck, how much accuracy, in [-1, 1], and the standard error of that.
    `behind`: how far its score lies below the best candidate's, and the standard error of that, over images. `gate`:
    fitted on all rows.
    """

    budget: float
    score: Score
    worst: Worst
    behind: tuple[float, float]
    gate: BaseGate

    def as_dict(self) -> dict[str, Any]:
        """Rounded JSON form, without the gate."""
        behind, error = (round(value, 6) for value in self.behind)
        return {
            **self.score.as_dict(), "budget": self.budget, "behind": behind, "standard_error": error,
            "worst_validation_cell": self.worst.cell, "worst_validation_loss": round(self.worst.loss, 6),
            "worst_validation_error": round(self.worst.error, 6),
        }  # fmt: skip


@dataclass(frozen=True, eq=False)
class Chosen:
    """`candidates` by kind, of rising budgets (without those that changed nothing); `best`, one of them; `skipped`: why
    a kind does not fit the deck."""

    best: Candidate
    candidates: Mapping[str, tuple[Candidate, ...]]
    skipped: Mapping[str, str]

    @property
    def kind(self) -> str:
        """Of the best gate."""
        return self.best.gate.config.kind

    @property
    def gate(self) -> BaseGate:
        """The best gate, fitted on all rows."""
        return self.best.gate

    def of_budgets(self, kind: str) -> tuple[Candidate, ...]:
        """Of rising budgets the gate of this kind that scores best at each, allowed or not."""
        by_budget: dict[float, list[Candidate]] = {}
        for one in self.candidates[kind]:
            by_budget.setdefault(one.budget, []).append(one)
        return tuple(max(found, key=lambda one: one.score.score) for found in by_budget.values())

    def as_dict(self) -> dict[str, Any]:
        """JSON form: the kind, its record, and that of every kind's best gate of the largest budget, allowed or not."""
        scores = {kind: self.of_budgets(kind)[-1].as_dict() for kind in self.candidates}
        return {"kind": self.kind, "chosen": self.best.as_dict(), "scores": scores}


def fit_gates(
    kind: str,
    observed: Observed,
    config: GateConfig,
    known: Known,
    *,
    budgets: Sequence[float],
    costs: Sequence[float] | None = None,
) -> tuple[BaseGate, ...]:
    """For each budget a gate of this kind with the limits of `config`, fitted on all observed rows.

    Args:
        kind: a name in `GATES`.
        observed: what every card says to validation images.
        config: limits and thresholds that are not learned; its kind, parameters and arrays do not matter.
        known: the deck's side of it, `Known.of(deck)`.
        budgets: mean cards per image that a gate may use on these rows, clean and corrupted.
        costs: of each card, in any unit (None: all the same); kinds that do not ask for costs are not told.
    """
    for budget in budgets:
        check_budget(budget)
    if observed.logits.shape[0] != len(known.augmentations):
        raise InputError(f"the rows are of {observed.logits.shape[0]} cards, the deck has {len(known.augmentations)}")
    limits = dataclasses.replace(config.with_kind(kind), parameters={}, arrays={})
    fit = GATES[kind].fit
    extra = {"costs": costs} if "costs" in inspect.signature(fit).parameters else {}
    return fit(observed, limits, known, budgets=budgets, **extra)


def fit_gate(
    kind: str,
    observed: Observed,
    config: GateConfig,
    known: Known,
    *,
    most_cards: float = 2.0,
    costs: Sequence[float] | None = None,
) -> BaseGate:
    """The gate for one budget; see `fit_gates`."""
    return fit_gates(kind, observed, config, known, budgets=(most_cards,), costs=costs)[0]


def choose_gate(
    observed: Observed,
    known: Known,
    config: GateConfig | None = None,
    *,
    kinds: Sequence[str] | None = None,
    most_cards: float = 2.0,
    most_loss: float = 1.0,
    costs: Sequence[float] | None = None,
) -> Chosen:
    """Fit the kinds (None: all) for several budgets, score each gate on what it was not fitted on: the other half of
    the images, and corruptions that were left out (`Observed.folds`). What users send is unlike those that a deck can
    be fitted on.

    A gate is eligible within `most_cards` mean cards per image, the deck's `max_cards`, and `most_loss` of accuracy
    below the plain average in its worst cell, or one standard error of that more. A pass that buys nothing is not
    spent: of the eligible the cheapest wins whose score is within one standard error of the best one's, or within what
    the passes that it saves are worth (`WORTH` each); of equally cheap ones the best, then the one that has learned
    fewer numbers. This is the rule of Breiman et al., CART 1984, section 3.4.3, with cards in the place of leaves, and
    the error of the paired difference in that of the best score, which is next to nothing between gates that answer
    nearly alike. Where none loses so little, the one wins that loses least, and where none is so cheap, the cheapest.
    Every gate is then fitted on all rows. Kinds that do not fit the deck (such as one that needs a reference for each
    card) are skipped. InputError where all are, for a budget below one card or a loss outside [0, 1].
    """
    check_budget(most_cards)
    check_loss(most_loss)
    limits = GateConfig() if config is None else config
    allowed = Allowed(limits.max_cards, most_cards, most_loss)
    budgets = [budget for budget in BUDGETS if budget < most_cards] + [most_cards]
    folds = observed.folds()
    fitted_on, judged_on = ([observed.rows(rows) for rows in side] for side in zip(*folds, strict=True))
    average = UniformGate(limits.with_kind("uniform"), known)
    plain = judge(average, observed)
    fitted: list[tuple[BaseGate, float, Judged, Worst]] = []
    skipped: dict[str, str] = {}
    for kind in sorted(GATES.names() if kinds is None else kinds):
        try:
            gates = fit_gates(kind, observed, limits, known, budgets=budgets, costs=costs)
            crossed = [fit_gates(kind, rows, limits, known, budgets=budgets, costs=costs) for rows in fitted_on]
        except InputError as error:
            skipped[kind] = str(error)
            continue
        before: list[Judged] = []
        for one, budget, *others in zip(gates, budgets, *crossed, strict=True):
            seen: list[Judged] = []
            for gate, *parts in zip(one.variants(), *(other.variants() for other in others), strict=True):
                judged = [judge(part, rows) for part, rows in zip(parts, judged_on, strict=True)]
                found = Judged.merged(judged, folds, observed)
                if not any(found.same(other) for other in before + seen):  # what changes nothing is no other gate
                    fitted.append((gate, budget, found, found.worst(plain)))
                seen.append(found)
            before = seen
    if not fitted:
        raise InputError(f"no gate fits this deck: {'; '.join(f'{kind}: {why}' for kind, why in skipped.items())}")
    top = max(fitted, key=lambda one: allowed.order(one[0], one[2].score, one[3]))[2]
    candidates = [
        Candidate(budget, judged.score, worst, top.minus(judged), gate) for gate, budget, judged, worst in fitted
    ]
    by_kind: dict[str, tuple[Candidate, ...]] = {}
    for one in candidates:
        by_kind[one.gate.config.kind] = (*by_kind.get(one.gate.config.kind, ()), one)
    return Chosen(_cheapest(candidates, allowed), by_kind, skipped)


def check_budget(most_cards: float) -> None:
    """InputError for a mean number of cards per image that no gate can have."""
    if not 1 <= most_cards < math.inf:
        raise InputError(f"the mean number of cards per image must be a number of at least 1, not {most_cards:g}")


def check_loss(most_loss: float) -> None:
    """InputError for a loss that is no share of accuracy."""
    if not 0 <= most_loss <= 1:
        raise InputError(f"the most accuracy to lose in a cell must be a number from 0 to 1, not {most_loss:g}")


@dataclass(frozen=True)
class Allowed:
    """What a gate may cost: cards for one image and on average, and accuracy in its worst cell."""

    max_cards: int
    most_cards: float
    most_loss: float

    def cheap(self, gate: BaseGate, found: Score) -> bool:
        """Cards on average and at most; also of a gate whose kind is not bound by `max_cards`."""
        return found.cards <= SLACK * self.most_cards + 1e-9 and gate.limit <= self.max_cards

    def order(self, gate: BaseGate, found: Score, worst: Worst) -> tuple[float, ...]:
        """Sorts gates, the best last: the eligible by the score, then the cheap by the loss, then by the cost."""
        config = gate.config
        learned = len(config.parameters) + sum(array.size for array in config.arrays.values())
        cheap, safe = self.cheap(gate, found), worst.surely <= self.most_loss + 1e-9
        value = (found.score if safe else -worst.loss) if cheap else 0.0  # too dear: by the cost alone
        return cheap, cheap and safe, round(value, 9), -round(found.cards, 9), -learned


def _cheapest(candidates: Sequence[Candidate], allowed: Allowed) -> Candidate:
    def order(one: Candidate) -> tuple[float, ...]:
        return allowed.order(one.gate, one.score, one.worst)

    best = max(candidates, key=order)
    if not order(best)[1]:
        return best

    def near(one: Candidate) -> bool:
        saved = best.score.cards - one.score.cards
        return bool(order(one)[1]) and one.behind[0] <= max(one.behind[1], WORTH * saved) + 1e-9

    return max(filter(near, candidates), key=lambda one: (-round(one.score.cards, 2), order(one)))
