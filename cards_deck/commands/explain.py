"""Draw why a deck answers an image as it does: its spectrum, the distances, the weights and each card's opinion.

cards-deck explain photo.jpg --deck models/cifar10-medium --out explain.html
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from cards_deck.commands.predict import DECK, add_engine
from cards_deck.deck import read_deck
from cards_deck.explaining import sentence
from cards_deck.explaining.page import explain, page
from cards_deck.files import write_bytes
from cards_deck.inference.engines import EngineKind
from cards_deck.inference.predictor import Predictor


def configure(parser: argparse.ArgumentParser, argv: Sequence[str]) -> None:
    """Add the flags."""
    parser.add_argument("image", type=Path, metavar="IMAGE", help="an image file of any size")
    parser.add_argument("--deck", type=Path, default=DECK, metavar="FOLDER", help=f"the deck's folder ({DECK})")
    parser.add_argument(
        "--out", type=Path, default=Path("explain.html"), metavar="FILE", help="the page, one file (explain.html)"
    )
    add_engine(parser)


def run(arguments: argparse.Namespace) -> int:
    """Write the page, and print its sentence."""
    predictor = Predictor(read_deck(arguments.deck), engine=EngineKind(arguments.engine), threads=arguments.threads)
    case = explain(predictor, arguments.image)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(arguments.out, page(case).encode())
    print(f"{arguments.image}: {sentence(case.why)}\nThe page: {arguments.out}")
    return 0
