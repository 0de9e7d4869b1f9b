"""Classify image files of any size with a deck; the gate picks the cards for each image by its spectrum.

cards-deck predict cat.png dog.jpg --deck models/cifar10-starter
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cards_deck.deck import Deck, read_deck
from cards_deck.inference.engines import EngineKind
from cards_deck.inference.predictor import Prediction, Predictor
from cards_deck.preprocess import read_square

DECK = Path("models/cifar10-starter")
BATCH = 32


def configure(parser: argparse.ArgumentParser, argv: Sequence[str]) -> None:
    """Add the flags."""
    parser.add_argument("images", nargs="+", type=Path, metavar="IMAGE", help="image files")
    parser.add_argument("--deck", type=Path, default=DECK, metavar="FOLDER", help=f"the deck's folder ({DECK})")
    parser.add_argument(
        "--engine", choices=[kind.value for kind in EngineKind], default=EngineKind.AUTO.value,
        help="how cards run (auto: ONNX Runtime where it is installed, else torch)",
    )  # fmt: skip
    parser.add_argument("--threads", type=int, default=1, help="of each card's engine (1)")
    parser.add_argument("--json", action="store_true", help="print one JSON object per line, with all probabilities")


def run(arguments: argparse.Namespace) -> int:
    """Print one line per image, in the given order."""
    predictor = Predictor(read_deck(arguments.deck), engine=EngineKind(arguments.engine), threads=arguments.threads)
    for start in range(0, len(arguments.images), BATCH):
        paths = arguments.images[start : start + BATCH]
        images = np.stack([read_square(path, predictor.deck.image_size) for path in paths])
        for path, answer in zip(paths, _answers(predictor.predict(images), predictor.deck), strict=True):
            print(json.dumps({"image": str(path), **answer}) if arguments.json else _line(path, answer))
    return 0


def _answers(prediction: Prediction, deck: Deck) -> Iterator[dict[str, Any]]:
    names = [card.name for card in deck.cards]
    # The plain average measures no distance: none are shown, as in the server's answers.
    references = () if deck.gate.kind == "uniform" else deck.references.augmentations
    for row, label in enumerate(prediction.labels):
        weights = prediction.weights[row]
        yield {
            "label": deck.classes[label],
            "probabilities": _named(deck.classes, prediction.probabilities[row]),
            "cards": {name: round(float(w), 6) for name, w in zip(names, weights, strict=True) if w > 0},
            "distances": _named(references, prediction.distances[row]),
            "unknown_spectrum": bool(prediction.unknown[row]),
        }


def _named(names: Sequence[str], values: np.ndarray[Any, np.dtype[np.float32]]) -> dict[str, float]:
    return {name: round(float(value), 6) for name, value in zip(names, values, strict=False)}


def _line(path: Path, answer: dict[str, Any]) -> str:
    cards = " + ".join(f"{weight:.2f} {name}" for name, weight in answer["cards"].items())
    unknown = "; unlike the spectra that the deck knows" if answer["unknown_spectrum"] else ""
    return f"{path}: {answer['label']} {100 * answer['probabilities'][answer['label']]:.1f} %  [{cards}{unknown}]"
