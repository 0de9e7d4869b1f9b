"""Train every card of a deck recipe and rank them on validation images: a search. Goes on where it stopped.

RECIPE is a file, or the name of one that comes with the package: {bundled}.
Each [[card]] is a trial: what it changes of [recipe] is what is tried. Nothing is measured on test images, nor on the
corruptions that decks are reported on. With `from`, a trial begins with the card of another one.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from cards_deck.commands.build import add_recipe, add_training
from cards_deck.commands.flags import add_data, load_data


def configure(parser: argparse.ArgumentParser, argv: Sequence[str]) -> None:
    """Add the flags."""
    add_recipe(parser)
    add_data(parser)
    group = add_training(parser)
    group.add_argument("--out", type=Path, metavar="FILE", help="the results, as JSON (runs/NAME/search.json)")
    group.add_argument("--work", type=Path, metavar="FOLDER", help="checkpoints, logs and cards (runs/NAME)")


def run(arguments: argparse.Namespace) -> int:
    """Train, measure, write and print the ranking."""
    from cards_deck.training.recipe_file import read_deck_recipe
    from cards_deck.training.searching import ranking, search

    recipe = read_deck_recipe(arguments.recipe)
    work = arguments.work or Path("runs") / (f"{recipe.name}-smoke" if arguments.smoke else recipe.name)
    out = arguments.out or work / "search.json"
    found = search(
        recipe, partial(load_data, arguments), work, out,
        device=arguments.device, processes=arguments.processes, smoke=arguments.smoke, quiet=arguments.quiet,
    )  # fmt: skip
    print(ranking(found))
    print(f"wrote {out}")
    return 0
