"""A cascade for a spectrum that may be wrong: cards answer for all others only where that is known to lose little."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from cards_deck.errors import InputError
from cards_deck.gate_config import GateConfig
from cards_deck.inference.gates._base import GATES, Bools, Known, largest, shares
from cards_deck.inference.gates._fit import spending, tried
from cards_deck.inference.gates._likelihood import worst_temperatures
from cards_deck.inference.gates._observed import Doubles, Observed, read
from cards_deck.inference.gates._profile import normalised, product, ring_count, ring_means
from cards_deck.inference.gates._risk import NEVER, RISKS, sure_enough
from cards_deck.inference.gates._strange import fit_ordinary, fit_shares, strangeness, strangeness_of
from cards_deck.inference.gates.hedged_cascade import HedgedCascadeGate
from cards_deck.spectrum import Floats

LEAST = np.float32(1e-6)  # share of an augmentation: a card without weight would not count as having run
# Power of the augmentations' shares by which the first card is asked: a mixture is less decided than its best part is.
# From 2 to 6 it made hardly a difference on validation images.
FOCUS = 3
TRUSTS = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0)
MOST_SETS = 500  # of cards that are judged whether a spectrum names them or not

_LAST: WeakKeyDictionary[Observed, tuple[Any, tuple[Any, ...]]] = WeakKeyDictionary()


@GATES.register("guarded_cascade")
@dataclass(frozen=True, eq=False)
class GuardedCascadeGate(HedgedCascadeGate):
    """The card that stands best for those that the spectrum prefers answers alone; others join one by one until those
    that ran are sure enough, up to `max_cards`.

    All that is seen of the spectrum, but for whether it is unknown, is how strange it is (`_strange`), and preferred
    are augmentations, each through its cards that are no averages of others. An average stands for its parts: one of
    all an augmentation's cards is asked before any of these, and one of two augmentations' cards where neither is much
    preferred.

    How sure they are is how far the likeliest class is ahead of the next one: where several cards have answered, that
    says better than its probability whether more of them would change the answer. Sure enough: were all images of any
    one validation cell asked of just these cards, answers so sure would lose there no more than `risk` against the
    plain average of all. What the spectra of the cell say plays no part in it, so that a card that a spectrum names by
    mistake, under a shift that the card does not know, is seldom believed alone. The gate as a whole may lose more than
    the risk: what its sets of cards lose adds up, and a spectrum picks the images.

    Who joins is first the second look of a card that ran, if the deck has one: the same weights on the mirrored image.
    Then it is no average of others while there are others, and comes from an augmentation that has not answered yet
    while there is one: cards of one augmentation err together.

    Augmentations share their answer: in part, `trust`, as their cards are preferred, else as in the plain average of
    all; where the spectrum is unknown, and where it is asked whether they are sure enough, wholly as there. Within
    each, cards that ran weigh by how much of it they are: of an average that is its parts under it. Augmentations of
    which no card ran are left out.

    `sets` [s, k]: 0 or 1, cards that may have run together; `enough` [r, s]: from how sure on they are, for each of
    `risks` [r], rising, of which the largest counts that is no more than `risk`. Cards that are none of the sets are
    never sure enough, such as more of them than the gate was fitted for.
    """

    PARAMETERS: ClassVar[Mapping[str, float]] = {"risk": 0.005, "trust": 0.0}
    FROM_LABELS: ClassVar[frozenset[str]] = frozenset({"trust"})
    SURE_BY: ClassVar[str] = "lead"
    ARRAYS: ClassVar[tuple[str, ...]] = (
        "ordinary", "whitening", "weights", "bias", "temperatures", "sets", "risks", "enough",
    )  # fmt: skip

    averages: Bools = field(init=False, repr=False)  # [k]
    parts: Floats = field(init=False, repr=False)  # [k, k] share of each original in each card
    alike: Floats = field(init=False, repr=False)  # [k, k] 1 where one is a second look of the other
    under: Floats = field(init=False, repr=False)  # [k, a] share of each augmentation in each card
    plain: Floats = field(init=False, repr=False)  # [a] share of each augmentation in the plain average
    _codes: NDArray[Any] = field(init=False, repr=False)  # [s] of the sets, sorted
    _enough: Doubles = field(init=False, repr=False)  # [s] in this order, at this risk

    def prepare(self) -> None:
        """Check the arrays, and make tables."""
        super().prepare()
        rings = ring_count(self.known.references.image_size)
        self.array("ordinary", rings)
        self.array("whitening", rings, rings)
        sets, risks = self.array("sets", -1, self.cards), self.array("risks", -1)
        enough = self.array("enough", len(risks), len(sets))
        codes = _codes(sets > 0)
        if not np.isin(sets, (0, 1)).all() or not sets.any(axis=1).all() or len(np.unique(codes)) < len(codes):
            raise InputError("the gate's sets of cards must be 0 or 1, each with a card, and no two alike")
        if not len(risks) or risks[0] != 0 or (np.diff(risks) <= 0).any():
            raise InputError("the gate's risks must rise from 0")
        if ((enough < 0) | (enough > NEVER)).any() or (np.diff(enough, axis=0) > 0).any():
            raise InputError(f"what is enough for the gate must be from 0 to {NEVER:g}, and less at a higher risk")
        order = np.argsort(codes)
        averages = np.ones(self.cards, np.bool_)
        averages[list(self.known.originals)] = False
        allowed = int(np.searchsorted(risks, np.float32(self.parameter("risk")), side="right")) - 1
        names = np.array(self.known.augmentations)
        originals = list(self.known.originals)
        parts = np.array(self.known.parts, np.float32)
        is_of = (names[:, None] == np.unique(names[originals])).astype(np.float32)
        object.__setattr__(self, "averages", averages)
        object.__setattr__(self, "parts", parts)
        mirrored = np.isin(np.arange(self.cards), self.known.mirrored)
        alike = (parts[:, None] == parts).all(axis=2) & (mirrored[:, None] != mirrored)
        object.__setattr__(self, "alike", alike.astype(np.float32))
        object.__setattr__(self, "under", parts @ is_of)
        object.__setattr__(self, "plain", is_of[originals].mean(axis=0))
        object.__setattr__(self, "_codes", codes[order])
        object.__setattr__(self, "_enough", enough[allowed, order].astype(np.float64))

    def feature_count(self) -> int:
        """See `PreferenceGate`."""
        return 1

    def features(self, spectra: Floats) -> Floats:
        """See `PreferenceGate`: how strange they are."""
        arrays = self.config.arrays
        return strangeness(ring_means(spectra), arrays["ordinary"], arrays["whitening"])[:, None]

    def preference(self, spectra: Floats) -> Floats:
        """See `PreferenceGate`: of the cards that are no averages of others, 0 of those that are."""
        return normalised(np.where(self.averages, np.float32(-np.inf), self.scores(spectra)))

    def first(self, preference: Floats) -> Floats:
        """See `PreferenceGate`: the card that stands for most of what is preferred."""
        return largest(self.standing(preference), 1).astype(np.float32)

    def strange(self, preference: Floats) -> tuple[float, float] | None:
        """See `BaseGate`: from two augmentations' scores, of which the preference is the softmax; of clean images the
        root mean square, which is that of the number of rings. None where it moves no score, or one share is 0."""
        slopes, bias = self.config.arrays["weights"][0], self.config.arrays["bias"]
        originals = list(self.known.originals)
        low, high = (originals[int(find(slopes[originals]))] for find in (np.argmin, np.argmax))
        if slopes[low] == slopes[high] or not (preference[low] > 0 and preference[high] > 0):
            return None
        ratio = float(np.log(preference[high])) - float(np.log(preference[low]))
        strange = (ratio - float(bias[high] - bias[low])) / float(slopes[high] - slopes[low])
        return strange, math.sqrt(len(self.config.arrays["ordinary"]))

    def speaking(self, preference: Floats) -> Floats:
        """See `BaseGate`: of the augmentations that a card is of, as far as it is of them."""
        return _overlap(product(preference, self.under), self.under)

    def standing(self, preference: Floats) -> Floats:
        """See `BaseGate`: how far the parts of a card are preferred, with the augmentations' shares raised to `FOCUS`;
        half by augmentation, and half by card, so that of the preferred augmentation's cards the one comes first that
        is most of them."""
        each = np.maximum(product(preference, self.under), LEAST)
        focused = shares(each**FOCUS)
        by_card: Floats = preference * product(np.asarray(focused / each, np.float32), self.under.T)
        both = _overlap(focused, self.under) + _overlap(by_card, self.parts)
        return np.asarray(both / 2, np.float32)

    def believing(self, ran: Bools) -> Floats:
        """See `AskingGate`: each augmentation as in the plain average."""
        return self._shared(self.plain[None], ran)

    def sharing(self, preference: Floats, ran: Bools) -> Floats:
        """See `AskingGate`: each augmentation in part as it is preferred."""
        return self.trusting(product(preference, self.under), ran)

    def trusting(self, preferred: Floats, ran: Bools) -> Floats:
        """Weights [n, k] of the cards in `ran` [n, k], with augmentations in part as they are `preferred` [n, a]."""
        trust = self.parameter("trust")
        return self._shared(((1 - trust) * self.plain + trust * preferred).astype(np.float32), ran)

    def _shared(self, wanted: Floats, ran: Bools) -> Floats:
        """Weights [n, k] of the cards in `ran` [n, k], of which each has some: what is wanted [n, a] of each
        augmentation, as far as there are cards of it."""
        there = product(ran.astype(np.float32), self.under)
        each = np.maximum(wanted, LEAST) / np.where(there > 0, there, np.float32(np.inf))
        return shares(np.where(ran, product(each.astype(np.float32), self.under.T), np.float32(0)))

    def following(self, preference: Floats, ran: Bools) -> Bools:
        """See `AskingGate`: a second look of a card that ran while there is one; then, of those that are no averages
        while there are any, who joins a `hedged_cascade`."""
        left, looks = ~ran & ~self.averages, ~ran & (product(ran.astype(np.float32), self.alike) > 0)
        found = self.joining(preference, ran, np.where(left.any(axis=1, keepdims=True), left, ~ran))
        return np.where(looks.any(axis=1, keepdims=True), largest(looks.astype(np.float32), 1), found)

    def needed(self, ran: Bools) -> Doubles:
        """See `Gate`: of just these cards."""
        if not len(self._codes):
            return np.full(len(ran), NEVER)
        codes = _codes(ran)
        place = np.minimum(np.searchsorted(self._codes, codes), len(self._codes) - 1)
        return np.where(self._codes[place] == codes, self._enough[place], NEVER)

    @classmethod
    def fit(
        cls, observed: Observed, config: GateConfig, known: Known, *, budgets: Sequence[float] = (2.0,)
    ) -> tuple[Self, ...]:
        """Shares by their likelihood, each card's temperature from the cell where it is too sure the most, then what
        is sure enough of every set of cards, or of those that the rows' spectra name where that are too many; then the
        risk that spends each budget. `trust` is the default, see `variants`. What was fitted last is kept with the
        rows, for a kind that goes on from there and is told of the same `known`.
        """
        asked = (cls, config, known, tuple(budgets))
        if observed not in _LAST or _LAST[observed][0] != asked:
            _LAST[observed] = asked, cls._fitted(observed, config, known, budgets)
        return _LAST[observed][1]

    @classmethod
    def _fitted(
        cls, observed: Observed, config: GateConfig, known: Known, budgets: Sequence[float]
    ) -> tuple[Self, ...]:
        ordinary, whitening = fit_ordinary(observed)
        weights, bias = fit_shares(observed, known, strangeness_of(observed, ordinary, whitening))
        arrays = {
            "ordinary": ordinary, "whitening": whitening, "weights": weights, "bias": bias,
            "temperatures": worst_temperatures(observed),
            "sets": np.zeros((0, len(bias)), np.float32), "risks": np.array(RISKS, np.float32),
            "enough": np.zeros((len(RISKS), 0), np.float32),
        }  # fmt: skip
        bare = cls(dataclasses.replace(config, parameters={}, arrays=arrays), known)
        sets = bare.possible_sets()
        if sets is None:
            sets = bare.named_sets(read(bare, observed).preference)
        enough = sure_enough(observed, known, bare.believing(sets), arrays["temperatures"])
        arrays |= {"sets": sets.astype(np.float32), "enough": enough}
        fitted = dataclasses.replace(config, parameters={"trust": cls.PARAMETERS["trust"]}, arrays=arrays)
        found = tried(lambda config: cls(config, known), fitted, "risk", RISKS, observed)
        return tuple(spending(found, most_cards) for most_cards in budgets)

    def variants(self) -> tuple[Self, ...]:
        """See `BaseGate`: of each of `TRUSTS`, which ask the same cards. On the rows of a fit more would look better;
        on others it is more accurate where the spectrum is understood, and loses more where it is not."""
        parameters = [{**self.config.parameters, "trust": trust} for trust in TRUSTS]
        return tuple(type(self)(dataclasses.replace(self.config, parameters=one), self.known) for one in parameters)

    @property
    def _last(self) -> int:
        """The most cards after which another one can be asked, at least one: limits may rise after the fit."""
        return max(min(self.limit, self.cards) - 1, 1)

    def possible_sets(self) -> Bools | None:
        """bool [s, k]: the sets of cards after which another can be asked: any card, then its second look or, where
        there is none left, any that is no average while there is one. None where these are more than `MOST_SETS`."""
        latest = [frozenset({card}) for card in range(self.cards)]
        found = dict.fromkeys(latest)  # in a fixed order
        originals = frozenset(np.flatnonzero(~self.averages).tolist())
        for _ in range(self._last - 1):
            if len(found) > MOST_SETS:  # before the next ones are made, which may be very many
                return None
            latest = list(dict.fromkeys(cards | {one} for cards in latest for one in self._after(cards, originals)))
            found |= dict.fromkeys(latest)
        if len(found) > MOST_SETS:
            return None
        chosen = np.zeros((len(found), self.cards), np.bool_)
        for row, cards in enumerate(found):
            chosen[row, list(cards)] = True
        return chosen

    def _after(self, cards: frozenset[int], originals: frozenset[int]) -> list[int]:
        """Who may join these cards, whatever the spectrum says."""
        looks = set(np.flatnonzero(self.alike[list(cards)].any(axis=0)).tolist()) - cards
        return [min(looks)] if looks else sorted(originals - cards or set(range(self.cards)) - cards)

    def named_sets(self, preference: Floats) -> Bools:
        """bool [s, k]: the sets of cards that run before another one is asked, for some row of preferences [n, k]."""
        asked, found = self.first(preference) > 0, []
        for _ in range(self._last):
            found.append(np.unique(asked, axis=0))
            asked = asked | self.following(preference, asked)
        return np.concatenate(found)


def _overlap(wanted: Floats, shares: Floats) -> Floats:
    """[n, k]: how much of what is wanted [n, i] each of the shares [k, i] has."""
    return np.asarray(np.minimum(wanted[:, None, :], shares).sum(axis=2), np.float32)


def _codes(sets: Bools) -> NDArray[Any]:
    """[s]: one value for each set of cards [s, k], the same for the same cards."""
    packed = np.ascontiguousarray(np.packbits(sets, axis=1))
    return packed.view(f"S{packed.shape[1]}")[:, 0]
