"""Make a whole deck by a recipe, one TOML file: train its cards, pack, average, fit the gate. Goes on where it stopped.

RECIPE is a file, or the name of one that comes with the package: {bundled}.
Copy one of cards_deck/training/recipes/ to begin with.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from cards_deck.commands.flags import add_data, load_data
from cards_deck.commands.pack import require_training


def configure(parser: argparse.ArgumentParser, argv: Sequence[str]) -> None:
    """Add the flags."""
    add_recipe(parser)
    add_data(parser)
    group = add_training(parser)
    group.add_argument("--out", type=Path, metavar="FOLDER", help="the deck's (models/NAME of the recipe)")
    group.add_argument("--work", type=Path, metavar="FOLDER", help="checkpoints, logs and cards (runs/NAME)")


def add_recipe(parser: argparse.ArgumentParser) -> None:
    """Add the argument that names a recipe; the description lists those of the package."""
    require_training()
    from cards_deck.training import recipe_file

    parser.description = str(parser.description).format(bundled=", ".join(recipe_file.bundled()))
    parser.epilog = str(recipe_file.__doc__)
    parser.add_argument("recipe", metavar="RECIPE", help="a TOML file, or the name of a recipe of the package")


def add_training(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Add the flags of training the cards of a recipe; returns their group."""
    group = parser.add_argument_group("run")
    group.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, ... (auto)")
    group.add_argument("--processes", type=int, default=1, metavar="N", help="cards trained at a time (1)")
    group.add_argument("--quiet", action="store_true", help="show no progress")
    group.add_argument(
        "--smoke", action="store_true",
        help="try all steps on a few images, with small networks and one epoch each (into runs/NAME-smoke)",
    )  # fmt: skip
    return group


def run(arguments: argparse.Namespace) -> int:
    """Build the deck and list its cards."""
    from dataclasses import replace

    from cards_deck.commands.show import table
    from cards_deck.training.building import build_deck
    from cards_deck.training.recipe_file import read_deck_recipe

    recipe = read_deck_recipe(arguments.recipe)
    trial = Path(f"runs/{recipe.name}-smoke")
    work = arguments.work or (trial / "work" if arguments.smoke else Path("runs") / recipe.name)
    out = arguments.out or (trial / "deck" if arguments.smoke else Path("models") / recipe.name)
    deck = build_deck(
        recipe, partial(load_data, arguments), work, out,
        device=arguments.device, processes=arguments.processes, smoke=arguments.smoke, quiet=arguments.quiet,
    )  # fmt: skip
    print(table(replace(deck, folder=out)))
    return 0
