"""Which averages a deck may be packed with: those whose parents lie in one basin."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import combinations
from typing import Any

from cards_deck.card import Card
from cards_deck.data import Dataset
from cards_deck.errors import InputError
from cards_deck.record import AVERAGE
from cards_deck.training.averaging.average import Statistics
from cards_deck.training.averaging.barrier import (
    Barrier,
    barrier,
    centre,
    check_basin,
    even_alphas,
    highest,
    record_of,
)
from cards_deck.training.averaging.batch_norm import BatchNorm
from cards_deck.training.averaging.blends import POINTS, Bench


def admitted(
    cards: Sequence[Card], train: Dataset, validation: Dataset, *, allow_barrier: bool = False
) -> dict[str, dict[str, Any]]:
    """What a deck keeps of the barriers between the parents of each average among `cards`, by the average's id.

    The file of an average does not tell them, so they are measured where its parents are among the cards, in floats.

    Args:
        cards: to be packed into one deck.
        train: training images, for batch-norm statistics.
        validation: held-out images that the paths are measured on.
        allow_barrier: admit every average; those whose barrier cannot be measured are then not in the answer.

    Raises InputError for an average with a barrier above 2 % of error, or whose parents are not all there.
    """
    known = {card.id: card for card in cards if card.record.bits >= 16}
    usual = BatchNorm()
    few = min(usual.images, len(train))
    bench = Bench(train, validation, BatchNorm(few, min(usual.batch, few)), corrupted=0)

    @cache  # several averages may have two parents in common
    def path(one: str, other: str, statistics: Statistics) -> Barrier:
        # Masks that differ did so when the average was made, and somebody allowed their union then.
        return barrier(
            known[one], known[other], bench.judge, bench.images,
            alphas=even_alphas(POINTS), statistics=statistics, union=True,
        )  # fmt: skip

    found, ids = {}, {card.id for card in cards}
    for card in cards:
        if card.record.method.get("name") != AVERAGE or card.record.weights_of in ids - {card.id}:
            continue  # a second look is admitted as the card whose weights it has is
        parents = card.record.average_of
        if parents and set(parents) <= set(known):
            statistics: Statistics = "averaged" if card.record.averages_statistics else "recomputed"
            paths = {(one, other): path(one, other, statistics) for one, other in combinations(parents, 2)}
            middle = centre(card, paths, bench.judge)
            if not allow_barrier:
                check_basin(card.name, highest(paths, middle))
            found[card.id] = record_of(paths, middle)
        elif not allow_barrier:
            missing = ", ".join(parent for parent in parents if parent not in known) or "those of its record"
            raise InputError(
                f"card {card.name!r} is an average, and the barrier between its parents is not known: all of them must "
                f"be among the cards, in floats, but {missing} are not; pack them too, or allow the barrier by name "
                "(--allow-barrier)"
            )
    looks = {card.id: card.record.weights_of for card in cards if card.mirrored}
    return found | {look: found[card] for look, card in looks.items() if card in found}
