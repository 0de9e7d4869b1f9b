"""Classify image files of any size with a deck; the gate picks the cards for each image by its spectrum.

cards-deck predict cat.png dog.jpg --deck models/cifar10-medium
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cards_deck.deck import Deck, read_deck
from cards_deck.explaining import reasons, running_order, sentence
from cards_deck.inference.engines import EngineKind
from cards_deck.inference.predictor import Prediction, Predictor
from cards_deck.preprocess import read_square

DECK = Path("models/cifar10-medium")
BATCH = 32


def configure(parser: argparse.ArgumentParser, argv: Sequence[str]) -> None:
    """Add the flags."""
    parser.add_argument("images", nargs="+", type=Path, metavar="IMAGE", help="image files")
    parser.add_argument("--deck", type=Path, default=DECK, metavar="FOLDER", help=f"the deck's folder ({DECK})")
    add_engine(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object per line, with all probabilities")
    parser.add_argument("--why", action="store_true", help="also say in one sentence why, with the numbers behind it")
    parser.add_argument("--window", action="store_true", help="the images share one shift: route them by their mean")


def add_engine(parser: argparse.ArgumentParser) -> None:
    """Add the flags that say how cards run."""
    parser.add_argument(
        "--engine", choices=[kind.value for kind in EngineKind], default=EngineKind.AUTO.value,
        help="how cards run (auto: whichever installed engine answers fastest)",
    )  # fmt: skip
    parser.add_argument("--threads", type=int, default=1, help="of each card's engine (1)")


def run(arguments: argparse.Namespace) -> int:
    """Print one line per image, in the given order."""
    predictor = Predictor(read_deck(arguments.deck), engine=EngineKind(arguments.engine), threads=arguments.threads)
    paths: list[Path] = arguments.images
    step = len(paths) if arguments.window else BATCH  # in parts, a window would be several
    for start in range(0, len(paths), step):
        part = paths[start : start + step]
        images = np.stack([read_square(path, predictor.deck.image_size) for path in part])
        prediction = predictor.predict(images, window=arguments.window)
        for row, path in enumerate(part):
            why = reasons(predictor.deck, prediction, row, window=len(part) * arguments.window)
            answer = _answer(prediction, row, predictor.deck) | ({"why": sentence(why)} if arguments.why else {})
            print(json.dumps({"image": str(path), **answer}) if arguments.json else _line(path, answer))
    return 0


def _answer(prediction: Prediction, row: int, deck: Deck) -> dict[str, Any]:
    weights = prediction.weights[row]
    return {
        "label": None if prediction.abstained[row] else deck.classes[prediction.labels[row]],
        "probabilities": _named(deck.classes, prediction.probabilities[row]),
        "cards": {deck.cards[k].name: round(float(weights[k]), 6) for k in running_order(prediction, row)},
        "distances": _named(deck.references.augmentations, prediction.distances[row]),
        "unknown_spectrum": bool(prediction.unknown[row]),
    }


def _named(names: Sequence[str], values: np.ndarray[Any, np.dtype[np.float32]]) -> dict[str, float]:
    return {name: round(float(value), 6) for name, value in zip(names, values, strict=False)}


def _line(path: Path, answer: dict[str, Any]) -> str:
    cards = " + ".join(f"{weight:.2f} {name}" for name, weight in answer["cards"].items())
    unknown = "; unlike the spectra that the deck knows" if answer["unknown_spectrum"] else ""
    named = answer["label"] or "no class is named,"
    text = f"{path}: {named} {100 * max(answer['probabilities'].values()):.1f} %  [{cards}{unknown}]"
    return f"{text}\n  {answer['why']}" if "why" in answer else text
