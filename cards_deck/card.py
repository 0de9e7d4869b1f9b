"""A card: one compressed network, how it computes and how it was made; and its file, a safetensors file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cards_deck import files, tensorfile
from cards_deck.checks import NAME_RULE, is_name
from cards_deck.errors import CardError
from cards_deck.graph import Graph
from cards_deck.packing import pack, unpack
from cards_deck.record import CardRecord
from cards_deck.shapes import Shape, check_parameters

__all__ = ["Card", "CardRecord", "as_stored", "card_bytes", "card_from_bytes", "read_card", "write_card"]

FORMAT, VERSION = "cards-deck/card", "1"
MAX_FILE = 1 << 30


@dataclass(frozen=True, eq=False)
class Card:
    """A network ready to be run by an engine.

    `tensors` are dense float32 arrays, zero where masked; `masks` are bool arrays (True = kept) of the pruned conv and
    linear weights only. A card from a file unpacks them at each look-up: take one into a variable to use it twice.
    Raises CardError unless all of it fits together.
    """

    name: str
    record: CardRecord
    graph: Graph
    tensors: Mapping[str, NDArray[np.float32]]
    masks: Mapping[str, NDArray[np.bool_]]
    shapes: Mapping[str, Shape] = field(init=False, repr=False)  # of each tensor
    num_weights: int = field(init=False)  # conv and linear weights, stem and head included, kept or not
    num_kept: int = field(init=False)  # those that the masks keep

    def __post_init__(self) -> None:
        if not is_name(self.name):
            raise CardError(f"a card's name must be {NAME_RULE}, not {self.name!r:.120}")
        kept = {name: self._checked_tensor(name, array) for name, array in self.tensors.items()}
        object.__setattr__(self, "shapes", {name: shape for name, (shape, _) in kept.items()})
        try:
            check_parameters(self.graph, self.shapes)
        except ValueError as error:
            raise CardError(f"card {self.name!r}: {error}") from None
        names = self.graph.weight_names
        for name in self.masks:
            self._require(name in names, f"mask {name!r} is not of a conv or linear weight")
        object.__setattr__(self, "num_weights", sum(int(np.prod(self.shapes[name])) for name in names))
        object.__setattr__(self, "num_kept", sum(kept[name][1] for name in names))
        found, stated = self.density, self.record.density
        self._require(abs(found - stated) <= 1e-6, f"keeps {found:.8f} of its weights, its record says {stated:.8f}")

    def _checked_tensor(self, name: str, array: NDArray[np.float32]) -> tuple[Shape, int]:
        """(shape, number of weights kept)."""
        self._require(array.dtype == np.float32, f"tensor {name!r} must be float32, not {array.dtype}")
        self._require(bool(np.isfinite(array).all()), f"tensor {name!r} holds NaN or infinity")
        if name not in self.masks:
            return array.shape, array.size
        mask = self.masks[name]
        fits = mask.dtype == np.bool_ and mask.shape == array.shape
        self._require(fits, f"mask {name!r} must be bool of shape {list(array.shape)}")
        self._require(not array[~mask].any(), f"tensor {name!r} is not zero where its mask is")
        return array.shape, int(np.count_nonzero(mask))

    def _require(self, holds: bool, text: str) -> None:
        if not holds:
            raise CardError(f"card {self.name!r}: {text}")

    @property
    def id(self) -> str:
        """The record's id."""
        return self.record.id

    @property
    def augmentation(self) -> str:
        """Name of the augmentation that the card was trained under: the gate's reference for it."""
        return str(self.record.augmentation["name"])

    @property
    def density(self) -> float:
        """Fraction of conv and linear weights kept, from the masks."""
        return self.num_kept / max(self.num_weights, 1)


def card_bytes(card: Card) -> bytes:
    """The card's file: equal cards give equal bytes. CardError where a value does not fit the card's bits."""
    metadata = {
        "format": FORMAT,
        "version": VERSION,
        "name": card.name,
        "record": card.record.to_json(),
        "graph": card.graph.to_json(),
        "shapes": files.canonical_json({name: card.shapes[name] for name in card.masks}),
    }
    try:
        return tensorfile.encode(pack(card.tensors, card.masks, card.record.bits), metadata)
    except ValueError as error:
        raise CardError(f"card {card.name!r} cannot be written: {error}") from None


def card_from_bytes(data: bytes, source: str = "card bytes") -> Card:
    """The card in a file's bytes; CardError, naming `source`, for anything that is not a whole, valid card."""
    try:
        entries, metadata = tensorfile.decode(data)
        if metadata.get("format") != FORMAT:
            raise ValueError(f"its format is {metadata.get('format')!r}, not {FORMAT!r}")
        if metadata.get("version") != VERSION:
            raise ValueError(f"its version is {metadata.get('version')!r}: this release reads version {VERSION}")
        if set(metadata) != {"format", "version", "name", "record", "graph", "shapes"}:
            raise ValueError("its metadata has missing or unknown fields")
        record, shapes = CardRecord.from_json(metadata["record"]), files.strict_json(metadata["shapes"])
        if not isinstance(shapes, dict):
            raise ValueError("its shapes must be an object")
        tensors, masks = unpack(entries, shapes, record.bits)
        return Card(metadata["name"], record, Graph.from_json(metadata["graph"]), tensors, masks)
    except (CardError, ValueError) as error:
        raise CardError(f"{source} is not a readable card: {error}") from None


def as_stored(card: Card) -> Card:
    """The card as its file will give it back (values rounded to the card's bits): measure this one."""
    return card_from_bytes(card_bytes(card), f"card {card.name!r}")


def write_card(card: Card, path: str | os.PathLike[str]) -> str:
    """Write the card's file whole or not at all; returns the file's SHA-256. CardError if it cannot be written."""
    data = card_bytes(card)
    try:
        files.write_bytes(Path(path), data)
    except OSError as error:
        raise CardError(f"{path}: the card cannot be written: {error}") from error
    return files.sha256(data)


def read_card(path: str | os.PathLike[str], *, sha256: str | None = None) -> Card:
    """The card in a file. CardError, naming the file, if it is missing, broken or has another hash than `sha256`."""
    try:
        data = files.read_bytes(Path(path), limit=MAX_FILE)
    except (OSError, ValueError) as error:
        raise CardError(f"{path}: the card cannot be read: {error}") from error
    if sha256 is not None and files.sha256(data) != sha256:
        raise CardError(f"{path}: its SHA-256 is {files.sha256(data)}, not {sha256}: the file was changed or is broken")
    return card_from_bytes(data, str(path))
