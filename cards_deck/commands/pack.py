"""Pack cards into a deck: order and gate are chosen on validation images, reference spectra made from training images.

cards-deck pack runs/*/*.card.safetensors --data photos --image-size 64 --out models/photos
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Sequence
from pathlib import Path

from cards_deck.commands.flags import add_data, load_data
from cards_deck.commands.gate_flags import add_kind, add_limits, limits
from cards_deck.errors import MissingExtraError
from cards_deck.gate_config import MOST_CARDS, MOST_LOSS


def require_training() -> None:
    """Import what training needs; MissingExtraError, with the command that installs it, where it is missing."""
    try:
        importlib.import_module("cards_deck.training.run")
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("cards_deck"):
            raise
        raise MissingExtraError(f"training needs {error.name}: pip install 'cards-deck[train]'") from error


def configure(parser: argparse.ArgumentParser, argv: Sequence[str]) -> None:
    """Add the flags."""
    parser.add_argument("cards", nargs="+", type=Path, metavar="CARD", help="card files, trained on the same classes")
    add_data(parser)
    group = parser.add_argument_group("deck")
    group.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="the deck's folder")
    group.add_argument("--deck-name", metavar="NAME", help="of the deck (the name of FOLDER)")
    group.add_argument("--deck-version", default="1", metavar="VERSION", help="of the deck (1)")
    add_kind(group, most_cards=MOST_CARDS, most_loss=MOST_LOSS)
    group.add_argument("--max-cards", type=int, default=2, help="most cards that may answer one image (2)")
    group.add_argument(
        "--allow-barrier", action="store_true",
        help="allow averages of cards that do not lie in one basin, or whose parents are not among the cards",
    )  # fmt: skip
    add_limits(parser, kept="none")


def run(arguments: argparse.Namespace) -> int:
    """Pack the deck and list its cards."""
    require_training()
    from cards_deck.commands.show import table
    from cards_deck.training.run import pack_deck

    deck = pack_deck(
        arguments.cards, *load_data(arguments), arguments.out,
        name=arguments.deck_name, version=arguments.deck_version,
        gate=arguments.gate, max_cards=arguments.max_cards, most_cards=arguments.most_cards,
        most_loss=arguments.most_loss,
        allow_barrier=arguments.allow_barrier, **limits(arguments),
    )  # fmt: skip
    print(table(deck))
    return 0
