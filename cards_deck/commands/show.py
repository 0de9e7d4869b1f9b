"""List what a deck holds: its classes and gate, and its cards in the order of their quality on validation images."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from cards_deck.card import Card
from cards_deck.costs import card_costs
from cards_deck.deck import Deck, card_sizes, read_deck, size_on_disk
from cards_deck.deck_cards import averages_of, coefficients_of
from cards_deck.inference.gates import Promise

HEADINGS = ("card", "id", "augmentation", "density", "MACs left", "MMACs", "bits", "bytes", "validation")


def configure(parser: argparse.ArgumentParser, argv: Sequence[str]) -> None:
    """Add the flags."""
    parser.add_argument("deck", type=Path, metavar="DECK", help="the deck's folder")


def run(arguments: argparse.Namespace) -> int:
    """Read, verify and list the deck."""
    print(table(read_deck(arguments.deck)))
    return 0


def table(deck: Deck) -> str:
    """The deck as text: what it is, one line per card, and what averages are made of.

    Density is the share of weights kept, MACs left the share of multiply-adds that those take, MMACs their number for
    one image in millions, bytes the card's file, without the masks that cards share.
    """
    sizes = card_sizes(deck)
    rows = [HEADINGS, *(_row(card, deck, sizes[card.name]) for card in deck.cards)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([*_summary(deck), "", *lines, *_averages(deck)])


def _averages(deck: Deck) -> list[str]:
    """What each average of other cards is made of, or whose second look it is, and the barrier between those."""
    lines = []
    for place, parents in averages_of(deck.cards).items():
        card = deck.cards[place]
        shares = zip(coefficients_of(card, parents), (deck.cards[parent].name for parent in parents), strict=True)
        height = deck.measured.get(card.id, {}).get("barrier", {}).get("height")
        barrier = "" if height is None else f"; barrier {100 * height:.2f} points"
        mirrored = ", on mirrored images" if card.mirrored else ""
        lines.append(f"{card.name} = {' + '.join(f'{share:.3g} {name}' for share, name in shares)}{mirrored}{barrier}")
    return ["", *lines] if lines else []


def _summary(deck: Deck) -> list[str]:
    size = f", {size_on_disk(deck.folder):,} bytes on disk" if deck.folder else ""
    gate = f"gate {deck.gate.kind}"
    if deck.gate.kind == "spectral":
        margin = deck.gate.parameters.get("margin", 0.1)
        gate += f", at most {deck.gate.max_cards} cards per image, margin {margin:g}"
    classes = ", ".join(deck.classes[:12]) + (", ..." if len(deck.classes) > 12 else "")
    return [
        f"deck {deck.name} {deck.version}: {len(deck.cards)} cards, images of {deck.image_size} px{size}",
        f"{len(deck.classes)} classes: {classes}",
        gate + _promise(deck),
    ]


def _promise(deck: Deck) -> str:
    """What the gate was found to cost on validation images that it was not fitted on."""
    made = deck.measured.get("gate", {})
    found = Promise.of(made)
    if found is None:
        return ""
    worst = "nowhere below the average of all"
    if found.loss > 0:
        worst = f"at worst {100 * found.loss:.1f} points below the average of all ({found.cell})"
    more = "" if found.kept else f", more than the {100 * found.most_loss:g} allowed: no other gate loses less"
    return f"; on validation images {made['chosen']['cards']:.2f} cards per image, {worst}{more}"


def _row(card: Card, deck: Deck, size: int) -> tuple[str, ...]:
    cost = card_costs(card, deck.image_size)
    accuracy = deck.measured.get(card.id, {}).get("validation", {}).get("accuracy")
    return (
        card.name,
        card.id,
        card.augmentation,
        f"{100 * cost.parameter_density:.2f} %",
        f"{100 * cost.flop_density:.2f} %",
        f"{cost.macs_executed / 1e6:.1f}",
        str(card.record.bits),
        f"{size:,}",
        "-" if accuracy is None else f"{100 * accuracy:.2f} %",
    )
