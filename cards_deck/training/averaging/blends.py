"""Add an average of a deck's cards to the deck: coefficients, barrier and accuracies measured on validation images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import combinations
from typing import Any

from cards_deck.card import Card
from cards_deck.data import Dataset
from cards_deck.deck import Deck
from cards_deck.errors import DeckError, InputError
from cards_deck.training.averaging.average import Statistics, average, check_cards
from cards_deck.training.averaging.barrier import (
    Barrier,
    barrier,
    centre,
    check_basin,
    even_alphas,
    highest,
    record_of,
)
from cards_deck.training.averaging.batch_norm import AugmentedImages, BatchNorm
from cards_deck.training.averaging.candidates import Candidates
from cards_deck.training.averaging.judge import Judge
from cards_deck.training.averaging.soups import Soup, greedy, learned, uniform
from cards_deck.training.averaging.wise_ft import ALPHAS, sweep
from cards_deck.training.trials import Domains, augmentations_of, measure

KINDS: tuple[Statistics, ...] = ("averaged", "recomputed")
SOUPS = ("uniform", "greedy", "learned")
POINTS = 5  # of a path that only has to show whether there is a barrier


@dataclass(frozen=True, eq=False)
class Bench:
    """What averages are made and measured with; use one for several of them.

    Attributes:
        train: training images, for batch-norm statistics.
        validation: held-out images: alphas, soups and barriers come from them alone.
        batch_norm: how statistics are recomputed.
        corrupted: validation images under each validation corruption.
    """

    train: Dataset
    validation: Dataset
    batch_norm: BatchNorm = field(default_factory=BatchNorm)
    corrupted: int = 2000

    @cached_property
    def images(self) -> AugmentedImages:
        """Training images as the parents were trained on."""
        return AugmentedImages(self.train, self.batch_norm)

    @cached_property
    def judge(self) -> Judge:
        """Validation images, clean and corrupted."""
        return Judge.of(self.validation, corrupted=self.corrupted)


@dataclass(frozen=True)
class Blend:
    """An average that is not yet in a deck.

    Attributes:
        card: the averaged card.
        paths: the barrier between each two of its parents, by their ids.
        chosen: how its coefficients were found, as JSON values.
        middle: how far its own error lies above its parents', where there are more than two.
    """

    card: Card
    paths: dict[tuple[str, str], Barrier]
    chosen: dict[str, Any]
    middle: float | None = None

    @property
    def height(self) -> float:
        """The highest barrier between any two of its parents, or in the middle of them all."""
        return highest(self.paths, self.middle)

    @property
    def record(self) -> dict[str, Any]:
        """What a deck keeps of it."""
        return {**record_of(self.paths, self.middle), **self.chosen}


def wise_ft(
    one: Card,
    other: Card,
    bench: Bench,
    *,
    alpha: float | None = None,
    statistics: Statistics | None = None,
    name: str | None = None,
    union: bool = False,
) -> Blend:
    """The card (1 - alpha) * one + alpha * other.

    An alpha or a kind of batch-norm statistics that is None is chosen by the validation score.
    """
    check_cards((one, other), union)
    if alpha is not None and not 0 < alpha < 1:
        raise InputError(f"alpha must lie between 0 (the first card) and 1 (the second), got {alpha}")
    alphas = ALPHAS if alpha is None else sorted({*even_alphas(POINTS)[1:-1], alpha})
    lines = {
        kind: sweep(one, other, bench.judge, bench.images, alphas=alphas, statistics=kind, union=union)
        for kind in ((statistics,) if statistics else KINDS)
    }
    taken = {kind: line.best if alpha is None else (alpha, line.score_at(alpha)) for kind, line in lines.items()}
    kind = max(taken, key=lambda kind: taken[kind][1])
    share, found = taken[kind]
    name = name or f"{one.name}-{other.name}-{share:g}"
    card = average((one, other), (1 - share, share), bench.images, name=name, statistics=kind, union=union)
    scores = {each: [round(value, 6) for value in line.scores] for each, line in lines.items()}
    return Blend(card, {(one.id, other.id): lines[kind].path}, {"score": round(found, 6), "scores": scores})


def soup(
    cards: Sequence[Card],
    bench: Bench,
    *,
    kind: str = "greedy",
    statistics: Statistics | None = None,
    name: str | None = None,
    union: bool = False,
) -> Blend:
    """A uniform, greedy or learned soup of the cards; the learned one starts from the greedy one.

    The batch-norm statistics are of the kind that gives the better soup, unless `statistics` names one. Raises
    InputError where the best soup is one card alone.
    """
    if kind not in SOUPS:
        raise InputError(f"a soup must be one of {', '.join(SOUPS)}, got {kind!r}")
    made = []
    for each in (statistics,) if statistics else KINDS:
        candidates = Candidates(cards, bench.judge, bench.images, each, union)
        shares = _shares(candidates, kind)
        made.append((candidates.score(shares), candidates, shares))
    found, candidates, shares = max(made, key=lambda entry: entry[0])
    members = candidates.members(shares)
    if len(members) == 1:
        raise InputError(f"the {kind} soup is card {members[0].name!r} alone: no average of these scores higher")
    paths = {
        (one.id, other.id): barrier(
            one, other, bench.judge, bench.images,
            alphas=even_alphas(POINTS), statistics=candidates.statistics, union=union,
        )
        for one, other in combinations(members, 2)
    }  # fmt: skip
    scores = {entry[1].statistics: round(entry[0], 6) for entry in made}
    card = candidates.card(shares, name or f"{kind}-soup")
    how = {"soup": kind, "score": round(found, 6), "scores": scores}
    return Blend(card, paths, how, centre(card, paths, bench.judge))


def _shares(candidates: Candidates, kind: str) -> Soup:
    count = len(candidates.cards)
    if kind == "uniform":
        return uniform(count)
    start = greedy(count, candidates.score)
    return start if kind == "greedy" else learned(start, candidates.score, candidates.gradient)


def add_blend(deck: Deck, blend: Blend, bench: Bench, *, allow_barrier: bool = False) -> Deck:
    """The deck with `blend` among its cards, measured like them and in its place by its score.

    A gate that has learned something for each card does not fit any more: the deck then has the uniform gate. Either
    way the old one asks no new card: `decks.refit_gate` fits another.

    Raises InputError where the barrier between its parents is above 2 % of error, unless `allow_barrier`, and where the
    deck has the same average already.
    """
    if not allow_barrier:
        check_basin(blend.card.name, blend.height)
    if known := next((card for card in deck.cards if card.id == blend.card.id), None):
        raise InputError(f"deck {deck.name!r} has this very average already, as {known.name!r}: average other cards")
    return place_card(deck, blend.card, bench.validation, {"barrier": blend.record})


def place_card(
    deck: Deck, card: Card, validation: Dataset, measured: Mapping[str, Any], place: int | None = None
) -> Deck:
    """The deck with one more card, measured like the others, at this `place` or at that of its score; what was
    `measured` of it before is kept as well. See `add_blend` for its gate."""
    described = augmentations_of(deck.cards[place] for place in deck.originals)
    (trial,), _ = measure([card], Domains(validation, described))
    everything = {**deck.measured, card.id: {"validation": trial.record, **measured}}
    if place is None:
        scores = [float("inf") if other.mirrored else _score(everything, other) for other in deck.cards]
        place = next((place for place, score in enumerate(scores) if score < trial.score), len(scores))
    cards = (*deck.cards[:place], card, *deck.cards[place:])
    try:
        return replace(deck, cards=cards, measured=everything, folder=None)
    except DeckError:
        return replace(deck, cards=cards, measured=everything, folder=None, gate=deck.gate.with_kind("uniform"))


def _score(measured: dict[str, Any], card: Card) -> float:
    """The score that a card has its place by; one without any stays before the new card."""
    found = measured.get(card.id, {}).get("validation", {}).get("score")
    return float("inf") if found is None else float(found)


def blend_cards(
    deck: Deck,
    names: Sequence[str],
    bench: Bench,
    *,
    alpha: float | None = None,
    kind: str | None = None,
    statistics: Statistics | None = None,
    name: str | None = None,
    union: bool = False,
    allow_barrier: bool = False,
) -> Deck:
    """The deck with one more card: an average of those of these names. Its gate wants fitting: see `add_blend`.

    Args:
        deck: holds the cards.
        names: of two cards, or of two or more with a `kind`.
        bench: what it is made and measured with.
        alpha: share of the second of two cards; None is chosen on validation images.
        kind: of soup, "uniform", "greedy" or "learned", instead of WiSE-FT.
        statistics: of its batch norms, "averaged" or "recomputed"; None is chosen on validation images.
        name: of the new card.
        union: allow cards of different masks.
        allow_barrier: allow cards that are not in one basin.
    """
    data = bench.validation
    if data.classes != deck.classes or data.image_size != deck.image_size:
        raise InputError(
            f"deck {deck.name!r} has {len(deck.classes)} classes and images of {deck.image_size} px, data set "
            f"{data.name!r} has {len(data.classes)} and {data.image_size} px: give the data that the cards come from"
        )
    known = {card.name: card for card in deck.cards}
    if unknown := [each for each in names if each not in known]:
        raise InputError(f"deck {deck.name!r} has no card {unknown[0]!r}: its cards are {', '.join(known)}")
    cards = [known[each] for each in names]
    if name is not None and name in known:
        raise InputError(f"deck {deck.name!r} has a card {name!r} already: choose another name")
    if kind is not None:
        if alpha is not None:
            raise InputError("a soup finds its own coefficients: leave alpha out")
        made = soup(cards, bench, kind=kind, statistics=statistics, name=name, union=union)
    else:
        if len(cards) != 2:
            raise InputError(f"WiSE-FT needs two cards, got {len(cards)}: name two, or choose a soup")
        one, other = cards
        made = wise_ft(one, other, bench, alpha=alpha, statistics=statistics, name=name, union=union)
    return add_blend(deck, made, bench, allow_barrier=allow_barrier)
