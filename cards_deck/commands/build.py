"""Make a whole deck by a recipe, one TOML file: train its cards, pack, average, fit the gate. Goes on where it stopped.

RECIPE is a file, or the name of one that comes with the package: {bundled}.
Copy one of cards_deck/training/recipes/ to begin with.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from cards_deck.commands.flags import add_data, load_data
from cards_deck.commands.pack import require_training

if TYPE_CHECKING:
    from cards_deck.training.building import Site
    from cards_deck.training.deck_recipe import DeckRecipe


def configure(parser: argparse.ArgumentParser, argv: Sequence[str]) -> None:
    """Add the flags."""
    group = add_training(parser)
    group.add_argument("--out", type=Path, metavar="FOLDER", help="the deck's (models/NAME of the recipe)")


def add_training(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Add what trains the cards of a recipe; the description lists those of the package. Returns the last group."""
    require_training()
    from cards_deck.training import recipe_file

    parser.description = str(parser.description).format(bundled=", ".join(recipe_file.bundled()))
    parser.epilog = str(recipe_file.__doc__)
    parser.add_argument("recipe", metavar="RECIPE", help="a TOML file, or the name of a recipe of the package")
    add_data(parser)
    group = parser.add_argument_group("run")
    group.add_argument("--work", type=Path, metavar="FOLDER", help="checkpoints, logs and cards (runs/NAME)")
    group.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, ... (auto)")
    group.add_argument("--processes", type=int, default=1, metavar="N", help="cards trained at a time (1)")
    group.add_argument("--quiet", action="store_true", help="show no progress")
    group.add_argument(
        "--smoke", action="store_true",
        help="try all steps on a few images, with small networks and one epoch each (into runs/NAME-smoke)",
    )  # fmt: skip
    return group


def read_training(arguments: argparse.Namespace) -> tuple[DeckRecipe, Site]:
    """What the flags of `add_training` say."""
    from cards_deck.training.building import Site
    from cards_deck.training.recipe_file import read_deck_recipe

    recipe = read_deck_recipe(arguments.recipe)
    work = arguments.work or Path("runs") / (f"{recipe.name}-smoke" if arguments.smoke else recipe.name)
    site = Site(
        partial(load_data, arguments), work,
        device=arguments.device, processes=arguments.processes, smoke=arguments.smoke, quiet=arguments.quiet,
    )  # fmt: skip
    return recipe, site


def run(arguments: argparse.Namespace) -> int:
    """Build the deck and list its cards."""
    from dataclasses import replace

    from cards_deck.commands.show import table
    from cards_deck.training.building import build_deck

    recipe, site = read_training(arguments)
    out = arguments.out or (site.work / "deck" if site.smoke else Path("models") / recipe.name)
    deck = build_deck(recipe, site, out)
    print(table(replace(deck, folder=out)))
    return 0
