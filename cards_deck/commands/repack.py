"""Write a deck again in this release's storage format: the same cards bit for bit, in fewer bytes.

cards-deck repack models/photos
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

from cards_deck.deck import Deck, read_deck, size_on_disk, write_deck
from cards_deck.errors import DeckError


def configure(parser: argparse.ArgumentParser, argv: Sequence[str]) -> None:
    """Add the flags."""
    parser.add_argument("deck", type=Path, metavar="DECK", help="the deck's folder")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="write there and leave DECK as it is")


def run(arguments: argparse.Namespace) -> int:
    """Repack, and say how many bytes the folder took and takes."""
    target = arguments.out or arguments.deck
    before, after = repack(arguments.deck, target)
    print(f"{target}: {after:,} bytes, {before:,} before ({100 * after / before:.1f} %); every weight is the same")
    return 0


def repack(folder: Path, target: Path) -> tuple[int, int]:
    """Write the deck in `folder` to `target`, which may be the same; returns the folders' sizes in bytes.

    The new files are written and read once elsewhere before `target` is touched; then they replace the old ones as
    `write_deck` does, whole or not at all. DeckError where a weight or a mask would change.
    """
    deck, before = read_deck(folder), size_on_disk(folder)
    with tempfile.TemporaryDirectory(prefix="cards-deck-repack-") as trial:
        check_same(deck, read_deck(write_deck(deck, trial)))
    write_deck(deck, target)
    return before, size_on_disk(target)


def check_same(one: Deck, other: Deck) -> None:
    """DeckError unless both decks hold the same cards: names, records, graphs, masks, and every value bit for bit."""
    for card, again in zip(one.cards, other.cards, strict=True):
        same = (card.name, card.record, card.graph) == (again.name, again.record, again.graph)
        same &= dict(card.ranges) == dict(again.ranges)
        for left, right in ((card.tensors, again.tensors), (card.masks, again.masks), (card.scales, again.scales)):
            same &= set(left) == set(right)
            same = same and all(left[name].tobytes() == right[name].tobytes() for name in left)
        if not same:
            raise DeckError(f"deck {one.name!r}: card {card.name!r} would change; nothing was written")
