"""Fit a deck's gate to your own images, which need no labels, and measure it before and after on images not fitted on.

Give ordinary images: what they look like is what the gate will take for known. Spectra and thresholds are made under
the deck's augmentations, which takes torch; without it only the unknown threshold and the gate's scalars are fitted.
What is raised is agreement with the plain average of all cards, which is not accuracy: a gate that was better than that
average may lose a little.

cards-deck tune-gate models/cifar10-medium --images photos/inbox --out models/inbox
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from cards_deck.commands.gate_flags import add_limits, budget, limits
from cards_deck.commands.pack import require_training
from cards_deck.commands.predict import add_engine
from cards_deck.data.folder import SUFFIXES
from cards_deck.deck import Deck, read_deck, write_deck
from cards_deck.errors import InputError, MissingExtraError
from cards_deck.files import write_bytes
from cards_deck.inference.engines import EngineKind
from cards_deck.preprocess import read_square
from cards_deck.spectrum import Images
from cards_deck.tuning import Augment, Measured, Tuned, needed, tune

RECORD = "tune-gate.json"


def configure(parser: argparse.ArgumentParser, argv: Sequence[str]) -> None:
    """Add the flags."""
    parser.add_argument("deck", type=Path, metavar="DECK", help="the deck's folder")
    parser.add_argument(
        "--images", type=Path, required=True, metavar="FOLDER", help="image files of any size, also in folders in it"
    )
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="the new deck's folder (DECK-tuned)")
    parser.add_argument("--in-place", action="store_true", help="replace DECK itself")
    parser.add_argument("--deck-version", metavar="VERSION", help="of the new deck (the old one's with -tuned)")
    parser.add_argument("--most", type=int, default=2000, help="images used of a larger folder, evenly chosen (2000)")
    parser.add_argument(
        "--most-cards", type=budget, metavar="N", help="mean cards per image that the gate may use (as many as before)"
    )
    add_limits(parser, kept="as DECK's")
    add_engine(parser)


def run(arguments: argparse.Namespace) -> int:
    """Tune, write the deck and its record, print both measurements."""
    target = _target(arguments.deck, arguments.out, arguments.in_place)
    deck = read_deck(arguments.deck)
    augment = _augment()
    images, broken = _read(arguments.images, deck, arguments.most)
    found = tune(
        deck, images, augment=augment, most_cards=arguments.most_cards, limits=limits(arguments),
        engine=EngineKind(arguments.engine), threads=arguments.threads,
    )  # fmt: skip
    record = found.record() | {"unreadable": len(broken)}
    new = dataclasses.replace(
        found.deck,
        version=arguments.deck_version or f"{deck.version}-tuned",
        measured={**deck.measured, "gate": {**deck.measured.get("gate", {}), "tuned": _lasting(record)}},
    )
    write_deck(new, target)
    write_bytes(target / RECORD, (json.dumps(record, indent=2) + "\n").encode())
    if broken:
        print(f"{len(broken)} files cannot be read and were left out; the first: {broken[0]}")
    print(f"{_table(found)}\n{target}: deck {new.name} {new.version}; the numbers are in {RECORD}")
    return 0


def _target(deck: Path, out: Path | None, in_place: bool) -> Path:
    if in_place and out is not None:
        raise InputError("--in-place replaces DECK: leave out --out, or leave out --in-place")
    target = deck if in_place else out or deck.with_name(f"{deck.resolve().name}-tuned")
    if not in_place and target.resolve() == deck.resolve():
        raise InputError(f"{target} is the deck itself: name another --out, or say --in-place")
    return target


def _augment() -> Augment | None:
    """What makes the deck's augmentations; None where torch is not installed."""
    try:
        require_training()
    except MissingExtraError:
        return None
    from cards_deck.training.decks import augmented

    return augmented


def image_files(folder: Path) -> list[Path]:
    """Image files in a folder and in the folders in it, by name; what begins with a dot is left out.

    InputError where there is no such folder.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: it must be a folder with images; name another with --images")
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def _read(folder: Path, deck: Deck, most: int) -> tuple[Images, list[str]]:
    """Pixels as the server would hand them to the deck, and what is wrong with files that cannot be read."""
    paths, need = image_files(folder), needed(deck.gate)
    if most < need:
        raise InputError(f"--most must be at least {need}, the images that this deck's gate needs, not {most}")
    if len(paths) < need:
        raise InputError(
            f"{folder}: {need} images are needed, half to fit the gate and half to measure it, but there are "
            f"{len(paths)}: add some"
        )
    images, broken = [], []
    for place in np.unique(np.linspace(0, len(paths) - 1, most).astype(np.int64)).tolist():
        try:
            images.append(read_square(paths[place], deck.image_size))
        except InputError as error:
            broken.append(str(error))
    if len(images) < need:
        raise InputError(f"{need} images are needed, but only {len(images)} could be read; the first not: {broken[0]}")
    return np.stack(images), broken


def _lasting(record: dict[str, object]) -> dict[str, object]:
    """The record without times: the same images give the same deck."""
    return {
        name: {key: item for key, item in value.items() if not key.endswith("_ms")}
        if isinstance(value, dict)
        else value
        for name, value in record.items()
    }


def _table(found: Tuned) -> str:
    rows = [("on images not fitted on", "before", "after")]
    rows += [
        (title, text(found.before), text(found.after))
        for title, text in (
            ("unknown spectrum", lambda m: f"{m.unknown:.1%}"),
            ("no class named", lambda m: f"{m.abstained:.1%}"),
            ("nearest to", _nearest),
            ("cards that ran", _ran),
            ("cards per image", lambda m: f"{m.cards_per_image:.2f}"),
            ("agrees with the average of all cards", lambda m: f"{m.agreement:.1%}"),
            ("  and under the deck's augmentations", lambda m: _optional(m.agreement_augmented)),
            ("gate, ms per image", lambda m: f"{m.gate_ms:.2f}"),
            ("answer, ms per image", lambda m: f"{m.answer_ms:.2f}"),
        )
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    what = {"images": "spectra and thresholds of these images", "thresholds": "thresholds of these images"}
    notes = [f"fitted on {found.fitted} images, measured on {found.before.images} others: {what[found.references]}"]
    notes += [f"left as it was: {text}" for text in found.left_out]
    return "\n".join([*lines, *notes])


def _nearest(measured: Measured) -> str:
    return _shares(measured.choices)


def _ran(measured: Measured) -> str:
    return _shares(measured.ran)


def _shares(found: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {share:.0%}" for name, share in found.items())


def _optional(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"
