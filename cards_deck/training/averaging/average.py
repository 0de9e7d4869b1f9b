"""A weighted average of cards as a card (soups: Wortsman et al., ICML 2022; two cards: WiSE-FT, CVPR 2022)."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from cards_deck.averages import averaged_card, rounded_statistics
from cards_deck.card import Card, CardRecord
from cards_deck.checks import NAME_RULE, is_name
from cards_deck.errors import CardError, InputError
from cards_deck.record import AVERAGE
from cards_deck.training.averaging.batch_norm import AugmentedImages, recompute

Statistics = Literal["averaged", "recomputed"]


def average(
    cards: Sequence[Card],
    coefficients: Sequence[float],
    images: AugmentedImages,
    *,
    name: str,
    statistics: Statistics = "recomputed",
    union: bool = False,
) -> Card:
    """Return the card whose weights are `coefficients[i]` times those of `cards[i]`, summed.

    Its batch-norm statistics are either averaged like the weights, or recomputed on `images` under the parents' own
    augmentations, mixed in the shares of the coefficients. Recomputing is what the papers on averages of networks do,
    and what saves one of cards that lie apart; for cards tuned from one in a few epochs averaging was better when
    tried, by half a point, clean and corrupted. WiSE-FT between two cards is `coefficients=(1 - alpha, alpha)`.

    Args:
        cards: two or more of one network, in floats; none an average itself.
        coefficients: in (0, 1), summing to 1.
        images: training images, looked at where statistics are recomputed.
        name: of the card.
        statistics: of its batch norms.
        union: allow cards of different masks; what any of them keeps is then kept, which is denser than each.

    Raises InputError for cards that cannot be averaged.
    """
    if not is_name(name):
        raise InputError(f"a card's name must be {NAME_RULE}, got {name!r}: choose another `name`")
    check_cards(cards, union)
    weights = [float(weight) for weight in coefficients]
    if len(weights) != len(cards):
        raise InputError(f"each card needs one coefficient: got {len(weights)} for {len(cards)} cards")
    try:
        record = _record(cards, weights, _described(images, statistics), union)
        plain = averaged_card(name, record, cards, {})
        if statistics == "averaged":
            return plain
        augmentations = _distinct([card.record.augmentation for card in cards])
        shares = [
            sum(w for w, card in zip(weights, cards, strict=True) if card.record.augmentation == augmentation)
            for augmentation in augmentations
        ]
        found = recompute(plain, images.mixed(augmentations, shares), images.settings.batch)
        return averaged_card(name, record, cards, rounded_statistics(found))
    except CardError as error:
        raise InputError(str(error)) from None


def _described(images: AugmentedImages, statistics: Statistics) -> dict[str, Any]:
    if statistics == "averaged":
        return {"name": "averaged"}
    return {"name": "recomputed", **dataclasses.asdict(images.settings), "data": images.train.sha256}


def recalibrated(card: Card, images: AugmentedImages) -> Card:
    """`card` with its statistics recomputed as an average's are: what averages with it are compared with."""
    augmentations = [card.record.augmentation]
    found = recompute(card, images.mixed(augmentations, [1.0]), images.settings.batch)
    return dataclasses.replace(card, tensors={**card.tensors, **found}, masks=dict(card.masks))


def check_cards(cards: Sequence[Card], union: bool) -> None:
    """InputError unless the cards can be averaged: of one network, in floats, no averages, and of one mask."""
    if len(cards) < 2 or len({card.id for card in cards}) < len(cards):
        raise InputError(f"an average needs two or more different cards, got {', '.join(c.name for c in cards)}")
    first = cards[0]
    for card in cards:
        if card.record.average_of or card.record.bits < 16:
            what = "an average already" if card.record.average_of else f"quantized to {card.record.bits} bits"
            raise InputError(f"card {card.name!r} is {what}: average the cards that it came from")
        if card.graph != first.graph or dict(card.shapes) != dict(first.shapes):
            raise InputError(f"cards {first.name!r} and {card.name!r} are different networks and have no average")
        if not union and not same_masks(first, card):
            raise InputError(
                f"cards {first.name!r} and {card.name!r} have different masks: their average would keep what either "
                "keeps, and cards that were found apart rarely lie in one basin; allow the union of masks by "
                "name (--union)"
            )


def same_masks(one: Card, other: Card) -> bool:
    """Whether both cards keep the same weights."""
    return set(one.masks) == set(other.masks) and all(
        np.array_equal(mask, other.masks[name]) for name, mask in one.masks.items()
    )


def _record(cards: Sequence[Card], weights: list[float], batch_norm: dict[str, Any], union: bool) -> CardRecord:
    records = [card.record for card in cards]
    method: dict[str, Any] = {"name": AVERAGE, "coefficients": weights, "batch_norm": batch_norm}
    if records[0].cut_from is not None:
        method["weights"] = records[0].cut_from
    return CardRecord(
        network=records[0].network,
        method=method,
        quantizer=records[0].quantizer,
        augmentation=_common([record.augmentation for record in records]),
        density=_density(cards, union),
        bits=max(record.bits for record in records),
        data=_common([record.data for record in records]),
        schedule={},
        seed=batch_norm.get("seed", 0),
        parents=tuple(card.id for card in cards),
    )


def _density(cards: Sequence[Card], union: bool) -> float:
    """Fraction of weights that any of the cards keeps."""
    first = cards[0]
    if not union:
        return first.density
    kept = 0
    for name in first.graph.weight_names:
        masks = [card.masks[name] if name in card.masks else np.ones(first.shapes[name], np.bool_) for card in cards]
        kept += int(np.count_nonzero(np.logical_or.reduce(masks)))
    return kept / (first.record.cut_from or first.num_weights)


def _common(described: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What the cards have in common, or all that they have; of augmentations, as `augmentations.mixed` reads it."""
    distinct = _distinct(described)
    return distinct[0] if len(distinct) == 1 else {"name": "mixed", "of": distinct}


def _distinct(described: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each once, in a fixed order."""
    return [json.loads(text) for text in sorted({json.dumps(each, sort_keys=True) for each in described})]
