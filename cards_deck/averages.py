"""Averages of cards: one network's weights as a weighted mean of others', rebuilt from those bit for bit.

A card made by averaging is a card like any other. In a deck that also holds its parents its file is small: the record
(parents, coefficients, how its batch-norm statistics came about) and, where they were recomputed, those. The sums are
done here in float64, one multiplication and one addition at a time in the parents' order, so that every machine rounds
them alike; the file holds a digest of what must come out. A card that sees images mirrored is one of these too, of the
same weights as another average, or as one card.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from cards_deck import tensorfile
from cards_deck.card import AVERAGE_FORMAT, Card
from cards_deck.errors import CardError
from cards_deck.graph import Graph
from cards_deck.packing import held
from cards_deck.record import CardRecord
from cards_deck.tensorfile import Array

FORMAT, VERSIONS = AVERAGE_FORMAT, {False: "1", True: "2"}  # by whether it sees images mirrored
STATISTICS = ("running_mean", "running_var")
Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]
MAX_WORK = 1 << 31  # multiplications of all averages of a deck, a second for each 200 million
_FIELDS = {"format", "version", "name", "record", "content"}


def averaged_card(name: str, record: CardRecord, parents: Sequence[Card], statistics: Mapping[str, Floats]) -> Card:
    """The card of `record`: the parents' tensors averaged by its coefficients, but for the batch-norm `statistics`.

    Args:
        name: of the card.
        record: that of an average.
        parents: the cards whose ids it names, in its order.
        statistics: float32 [channels] by the name of the tensor: the running means and variances to use instead of the
            averaged ones; all of the graph's or none.

    Raises CardError where the parents do not fit together or are not those of the record.
    """
    _check_parents(name, record, parents)
    coefficients = record.method["coefficients"]
    graph, names = parents[0].graph, statistics_names(parents[0].graph)
    if statistics and set(statistics) != {tensor for kind in names for tensor in kind}:
        raise CardError(f"card {name!r}: its batch-norm statistics are not those of its graph")
    views = [(card.tensors, card.masks) for card in parents]
    tensors: dict[str, Floats] = {}
    masks: dict[str, Mask] = {}
    for tensor in parents[0].shapes:
        given = [view[0][tensor] for view in views]
        pruned = [view[1].get(tensor) for view in views]
        tensors[tensor] = statistics[tensor] if tensor in statistics else _mean(given, coefficients)
        if (union := _union(pruned)) is not None:
            masks[tensor] = union
    found = held(tensors, masks, record.bits)
    return Card(name, record, graph, found.tensors, found.masks)


def _mean(arrays: Sequence[Floats], coefficients: Sequence[float]) -> Floats:
    total = np.zeros(arrays[0].shape, np.float64)
    for array, coefficient in zip(arrays, coefficients, strict=True):
        total += coefficient * array.astype(np.float64)
    return total.astype(np.float32)


def _union(masks: Sequence[Mask | None]) -> Mask | None:
    """What any of the masks keeps; None (everything) where one card has none or nothing is left to prune."""
    union: Mask | None = None
    for mask in masks:
        if mask is None:
            return None
        union = mask if union is None else union | mask
    return None if union is None or bool(union.all()) else union


def _check_parents(name: str, record: CardRecord, parents: Sequence[Card]) -> None:
    if not record.averaged or tuple(card.id for card in parents) != record.parents:
        raise CardError(f"card {name!r}: its parents must be the cards {', '.join(record.parents)}")
    first = parents[0]
    for card in parents:
        if card.averaged:
            raise CardError(f"card {name!r}: its parent {card.name!r} is an average: average the cards it came from")
        if card.record.bits < 16:
            raise CardError(f"card {name!r}: its parent {card.name!r} is quantized: average the cards it came from")
        if card.graph != first.graph or dict(card.shapes) != dict(first.shapes):
            raise CardError(f"card {name!r}: its parents {first.name!r} and {card.name!r} are different networks")


def statistics_names(graph: Graph) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of the (running means, running variances) of the graph's batch norms, in its order."""
    norms = [node for node in graph.nodes if node.op == "batch_norm"]
    first, second = (tuple(dict.fromkeys(node.params[kind] for node in norms)) for kind in STATISTICS)
    return first, second


def rounded_statistics(statistics: Mapping[str, Floats]) -> dict[str, Floats]:
    """The statistics in half precision where every value has its full 11 bits there: their file is half as long.

    One part in 2048 of a mean or a variance, as of the weights.
    """
    return {name: _halved(array) if _fits_half(array) else array for name, array in statistics.items()}


def _fits_half(array: Floats) -> bool:
    size = np.abs(array)
    return bool((((size >= 2.0**-14) | (size == 0)) & (size <= 65504)).all())


def _halved(array: Floats) -> Floats:
    return array.astype(np.float16).astype(np.float32)


def content_digest(tensors: Mapping[str, Floats]) -> str:
    """SHA-256 of every tensor's name and values."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(f"{name}\0".encode())
        digest.update(np.ascontiguousarray(tensors[name], "<f4").tobytes())
    return digest.hexdigest()


def average_bytes(card: Card) -> bytes:
    """The file of an averaged card in a deck that holds its parents; equal cards give equal bytes."""
    tensors = card.tensors
    entries: dict[str, Array] = {}
    if not card.record.averages_statistics:
        for kind, names in zip(STATISTICS, statistics_names(card.graph), strict=True):
            entries[kind] = _joined([tensors[name] for name in names])
    metadata = {
        "format": FORMAT,
        "version": VERSIONS[card.mirrored],
        "name": card.name,
        "record": card.record.to_json(),
        "content": content_digest(tensors),
    }
    return tensorfile.encode(entries, metadata)


def _joined(arrays: Sequence[Floats]) -> Array:
    """One row, in half precision where that loses nothing."""
    row = np.concatenate([array.ravel() for array in arrays]) if arrays else np.zeros(0, np.float32)
    with np.errstate(over="ignore"):
        short = row.astype(np.float16)
    return short if np.array_equal(short.astype(np.float32), row) else row


def is_average(data: bytes) -> bool:
    """Whether these are the bytes of `average_bytes`, by what they say of themselves."""
    try:
        return tensorfile.decode(data)[1].get("format") == FORMAT
    except ValueError:
        return False


def work(card: Card) -> int:
    """Multiplications that rebuild an averaged card."""
    return len(card.record.parents) * card.num_weights


def average_from_bytes(data: bytes, source: str, cards: Mapping[str, Card], *, limit: int = MAX_WORK) -> Card:
    """The averaged card in a file's bytes, rebuilt from its parents among `cards` (by id).

    A small file asks for as much memory as a parent's weights and for the time of averaging all its parents': no more
    than `limit` multiplications are done. CardError, naming `source`, for anything that is not whole and valid, has a
    parent that is missing or an average itself, or comes out differently than when it was written.
    """
    try:
        entries, metadata = tensorfile.decode(data)
        if metadata.get("format") != FORMAT or metadata.get("version") not in VERSIONS.values():
            raise ValueError(f"it must be {FORMAT!r} of version {' or '.join(VERSIONS.values())}")
        if set(metadata) != _FIELDS:
            raise ValueError("its metadata has missing or unknown fields")
        record = CardRecord.from_json(metadata["record"])
        if not record.averaged:
            raise ValueError("its record is not that of an average")
        if metadata["version"] != VERSIONS[record.mirrored]:
            raise ValueError(f"it must be {FORMAT!r} of version {VERSIONS[record.mirrored]}, as its record is")
        if missing := [parent for parent in record.parents if parent not in cards]:
            raise ValueError(f"its parent {missing[0]} is not among the deck's cards that are no averages themselves")
        parents = [cards[parent] for parent in record.parents]
        if (asked := len(parents) * parents[0].num_weights) > limit:
            raise ValueError(f"it asks for {asked} multiplications, more than the {limit} that its deck has left")
        statistics = _statistics(entries, parents[0], wanted=not record.averages_statistics)
        card = averaged_card(metadata["name"], record, parents, statistics)
        if content_digest(card.tensors) != metadata["content"]:
            raise ValueError("its parents do not give the weights that it had when it was written")
        return card
    except (CardError, ValueError) as error:
        raise CardError(f"{source} is not a readable average of cards: {error}") from None


def _statistics(entries: Mapping[str, Array], parent: Card, *, wanted: bool) -> dict[str, Floats]:
    if set(entries) != (set(STATISTICS) if wanted else set()):
        raise ValueError(f"it must hold {' and '.join(STATISTICS) if wanted else 'no statistics'}")
    found: dict[str, Floats] = {}
    if not wanted:
        return found
    for kind, names in zip(STATISTICS, statistics_names(parent.graph), strict=True):
        lengths = [math.prod(parent.shapes[name]) for name in names]
        row = entries[kind]
        if row.dtype not in (np.dtype("<f4"), np.dtype("<f2")) or row.shape != (sum(lengths),):
            raise ValueError(f"its {kind} must be {sum(lengths)} floats, not {row.dtype} {list(row.shape)}")
        parts = np.split(row.astype(np.float32), np.cumsum(lengths)[:-1]) if names else []
        found |= {name: part.reshape(parent.shapes[name]) for name, part in zip(names, parts, strict=True)}
    return found
