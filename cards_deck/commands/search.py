"""Train every card of a deck recipe and rank them on validation images: a search. Goes on where it stopped.

RECIPE is a file, or the name of one that comes with the package: {bundled}.
Each [[card]] is a trial: what it changes of [recipe] is what is tried. Nothing is measured on test images, nor on the
corruptions that decks are reported on. With `from`, a trial begins with the card of another one.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from cards_deck.commands.build import add_training, read_training


def configure(parser: argparse.ArgumentParser, argv: Sequence[str]) -> None:
    """Add the flags."""
    group = add_training(parser)
    group.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="the results, as JSON, and as a table beside it (runs/NAME/search.json)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Train, measure, write and print the ranking."""
    from cards_deck.training.ranking import ranking
    from cards_deck.training.searching import search

    recipe, site = read_training(arguments)
    out = arguments.out or site.work / "search.json"
    print(ranking(search(recipe, site, out)))
    print(f"wrote {out} and {out.with_suffix('.md').name}")
    return 0
