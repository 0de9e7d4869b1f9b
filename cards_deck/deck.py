"""A deck: ordered cards, the reference spectra of their augmentations and the gate's parameters; and its folder.

The folder holds `deck.json`, one safetensors file per card, one for the references and, where cards have masks in
common or the gate has learned arrays, one for those. Files are named by their content, and only the last step, renaming
the new `deck.json` into place, makes a new deck: until then the old one stands untouched, and files that the deck does
not name (a README, logs) are left alone.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cards_deck import files
from cards_deck.card import Card
from cards_deck.checks import NAME_RULE, is_name, is_text, is_whole
from cards_deck.deck_cards import card_files, originals_of, read_cards
from cards_deck.errors import DeckError, InputError
from cards_deck.gate_config import GateConfig
from cards_deck.gate_file import gate_bytes, gate_from_bytes
from cards_deck.inference.gates import gate_for
from cards_deck.manifest import (
    MANIFEST,
    MAX_CARDS,
    PREPROCESSING,
    SCHEMA_VERSION,
    named_files,
    plain_name,
    read_manifest,
    read_verified,
)
from cards_deck.references import References, references_bytes, references_from_bytes
from cards_deck.shapes import output_classes

__all__ = [
    "Deck",
    "GateConfig",
    "References",
    "card_sizes",
    "originals_of",
    "read_deck",
    "size_on_disk",
    "write_deck",
]

MAX_CLASSES = 100_000


@dataclass(frozen=True, eq=False)
class Deck:
    """What is served. The order of `cards` is their quality on validation data, best first; a second look
    may stand right behind the card whose weights it has.

    `image_size` is the side of the square images in pixels; `measured` holds JSON values per card id. Raises DeckError
    unless the cards, classes and references fit together.
    """

    name: str
    version: str
    classes: tuple[str, ...]
    image_size: int
    cards: tuple[Card, ...]
    references: References
    gate: GateConfig = field(default_factory=GateConfig)
    measured: Mapping[str, Any] = field(default_factory=dict)
    folder: Path | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "classes", tuple(self.classes))
        object.__setattr__(self, "cards", tuple(self.cards))
        for what, text in (("name", self.name), ("version", self.version)):
            self._require(is_name(text), f"its {what} must be {NAME_RULE}, not {text!r:.120}")
        self._require(1 <= len(self.cards) <= MAX_CARDS, f"it must hold 1 to {MAX_CARDS} cards, not {len(self.cards)}")
        self._check_classes()
        self._require(is_whole(self.image_size, 4, 1024), "image_size must be 4 to 1024")
        size = self.references.image_size
        self._require(size == self.image_size, f"its references are of {size} pixels, its images of {self.image_size}")
        for what, values in (("name", [c.name for c in self.cards]), ("id", [c.id for c in self.cards])):
            twice = sorted({value for value in values if values.count(value) > 1})
            self._require(not twice, f"two cards have the {what} {', '.join(twice)}")
        for card in self.cards:
            self._check_card(card)
        try:
            gate_for(self)
        except InputError as error:
            raise DeckError(f"deck {self.name!r}: {error}") from None

    def _check_classes(self) -> None:
        texts = all(is_text(name, 200) for name in self.classes)
        distinct = len(set(self.classes)) == len(self.classes)
        fits = texts and distinct and 1 <= len(self.classes) <= MAX_CLASSES
        self._require(fits, f"its classes must be 1 to {MAX_CLASSES} distinct names")

    def _check_card(self, card: Card) -> None:
        try:
            heads = output_classes(card.graph, card.shapes, self.image_size)
        except InputError as error:
            raise DeckError(f"deck {self.name!r}: card {card.name!r} cannot run: {error}") from None
        count = len(self.classes)
        self._require(heads == count, f"card {card.name!r} answers {heads} classes, the deck has {count}")

    @property
    def originals(self) -> tuple[int, ...]:
        """Places of the cards that are neither averages of other cards of this deck nor second looks of them."""
        return originals_of(self.cards)

    def _require(self, holds: bool, text: str) -> None:
        if not holds:
            raise DeckError(f"deck {self.name!r}: {text}")


def write_deck(deck: Deck, folder: str | os.PathLike[str]) -> Path:
    """Write the deck and return its folder. Until it is written whole, a deck already there stays as it is.

    Raises DeckError when it cannot be written. One writer at a time; other files in the folder are left alone.
    """
    root = Path(folder)
    contents, manifest = _packed(deck)
    written: list[Path] = []
    try:
        root.mkdir(parents=True, exist_ok=True)
        old = _named_files(root)
        for name, data in contents.items():
            if not (name in old and _holds(root / name, data)):
                written += [] if name in old else [root / name]
                files.write_bytes(root / name, data)
        files.write_bytes(root / MANIFEST, manifest)
    except BaseException as error:
        if not _commits(root, manifest):
            _remove(written)
        if isinstance(error, OSError):
            raise DeckError(f"{root}: the deck cannot be written: {error}") from error
        raise
    _remove([root / name for name in old if name not in contents])
    _remove([path for path in root.iterdir() if files.is_temporary(path)])  # of a writer that was killed
    return root


def _packed(deck: Deck) -> tuple[dict[str, bytes], bytes]:
    contents: dict[str, bytes] = {}
    masks, written = card_files(deck.cards)
    cards: list[dict[str, Any]] = []
    shared = _add(contents, "masks", masks) if masks is not None else {}
    for card, data in zip(deck.cards, written, strict=True):
        entry = _add(contents, card.name, data)
        cards.append({"name": card.name, "id": card.id, **entry, "record": json.loads(card.record.to_json())})
    references = _add(contents, "references", references_bytes(deck.references))
    gate: dict[str, Any] = deck.gate.scalars()
    try:
        if deck.gate.arrays:
            gate["arrays"] = _add(contents, "gate", gate_bytes(deck.gate.arrays))
    except ValueError as error:
        raise DeckError(f"deck {deck.name!r}: {error}") from None
    manifest = {
        "schema_version": SCHEMA_VERSION,
        "name": deck.name,
        "version": deck.version,
        "classes": deck.classes,
        "image_size": deck.image_size,
        "preprocessing": PREPROCESSING,
        "gate": gate,
        "references": references,
        "masks": shared,
        "cards": cards,
        "measured": deck.measured,
    }
    try:
        return contents, (json.dumps(manifest, indent=2, allow_nan=False) + "\n").encode()
    except (TypeError, ValueError) as error:
        raise DeckError(f"deck {deck.name!r}: 'measured' must hold plain JSON values: {error}") from None


def _add(contents: dict[str, bytes], name: str, data: bytes) -> dict[str, str]:
    """Put a file among the deck's, named by its content; returns what the manifest says of it."""
    digest = files.sha256(data)
    file = f"{name}-{digest[:12]}.safetensors"
    contents[file] = data
    return {"file": file, "sha256": digest}


def card_sizes(deck: Deck) -> dict[str, int]:
    """Bytes of each card's file by the card's name, without the masks that cards share and the parents of averages.

    Of a deck from a folder, the sizes of its files; of another, what `write_deck` would write. DeckError where the
    folder is gone.
    """
    if deck.folder is not None:
        entries = read_manifest(deck.folder)["cards"]
        return {entry["name"]: (deck.folder / plain_name(deck.folder, entry)).lstat().st_size for entry in entries}
    return {card.name: len(data) for card, data in zip(deck.cards, card_files(deck.cards)[1], strict=True)}


def _named_files(root: Path) -> frozenset[str]:
    """Files that the deck standing in `root` names; none where no deck is readable."""
    try:
        return frozenset(named_files(root, read_manifest(root)))
    except DeckError:
        return frozenset()


def _holds(path: Path, data: bytes) -> bool:
    with contextlib.suppress(OSError, ValueError):
        return files.read_bytes(path, limit=len(data), follow=False) == data
    return False


def _commits(root: Path, manifest: bytes) -> bool:
    return _holds(root / MANIFEST, manifest)


def _remove(paths: list[Path]) -> None:
    for path in paths:
        with contextlib.suppress(OSError):
            path.unlink()


def read_deck(folder: str | os.PathLike[str]) -> Deck:
    """The deck in a folder. DeckError, naming the file at fault, for anything but a whole, valid deck."""
    root = Path(folder)
    manifest = read_manifest(root)
    references = _read_references(root, manifest["references"])
    cards = read_cards(root, manifest["cards"], manifest["masks"])
    arrays = _read_arrays(root, manifest["gate"].pop("arrays", {}))
    try:
        return Deck(
            name=manifest["name"],
            version=manifest["version"],
            classes=tuple(manifest["classes"]),
            image_size=manifest["image_size"],
            cards=cards,
            references=references,
            gate=GateConfig.from_scalars(manifest["gate"], arrays),
            measured=manifest["measured"],
            folder=root,
        )
    except (DeckError, InputError, TypeError) as error:
        raise DeckError(f"{root / MANIFEST}: {error}") from None


def _read_arrays(root: Path, entry: Mapping[str, Any]) -> Mapping[str, Any]:
    if not entry:
        return {}
    data = read_verified(root, entry)
    try:
        return gate_from_bytes(data)
    except ValueError as error:
        raise DeckError(f"{root / entry['file']} is not readable as a gate's arrays: {error}") from None


def _read_references(root: Path, entry: Mapping[str, Any]) -> References:
    data = read_verified(root, entry)
    try:
        return references_from_bytes(data)
    except ValueError as error:
        raise DeckError(f"{root / entry['file']} is not readable as reference spectra: {error}") from None


def size_on_disk(folder: str | os.PathLike[str]) -> int:
    """Bytes of all regular files in a deck's folder, whatever they are. DeckError if it is not a folder."""
    root = Path(folder)
    if not root.is_dir():
        raise DeckError(f"{root} is not a folder")
    return sum(path.lstat().st_size for path in root.rglob("*") if path.is_file() and not path.is_symlink())
