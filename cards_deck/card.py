"""A card: one compressed network, how it computes and how it was made; and its file.

The file is a safetensors file: for a pruned tensor `t` the entries `t.mask` (bits of the mask in row-major order, the
highest bit of a byte first) and `t.values` (the kept values in that order), every other tensor as it is.
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cards_deck import files, tensorfile
from cards_deck.checks import NAME_RULE, is_name, is_number, is_text, is_whole
from cards_deck.errors import CardError
from cards_deck.graph import Graph
from cards_deck.shapes import check_parameters

FORMAT, VERSION = "cards-deck/card", "1"
MAX_FILE = 1 << 30
VALUE_DTYPES: Mapping[int, type[Any]] = {16: np.float16, 32: np.float32}


@dataclass(frozen=True)
class CardRecord:
    """How a card was made. Exactly these fields make its `id`, so two cards made alike share it.

    `density` is the fraction of conv and linear weights kept, in (0, 1]; `bits` the width of a kept value in the file
    (16 or 32); `parents` the ids of the cards that this one was fine-tuned or blended from. The dicts hold plain JSON
    values and a "name" where they describe a registered thing.
    """

    network: dict[str, Any]
    method: dict[str, Any]
    quantizer: dict[str, Any]
    augmentation: dict[str, Any]
    density: float
    bits: int
    data: dict[str, Any]
    schedule: dict[str, Any]
    seed: int
    parents: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("network", "method", "quantizer", "augmentation", "data", "schedule"):
            if not isinstance(getattr(self, name), dict):
                raise CardError(f"a card's {name} must be a dict, not {getattr(self, name)!r:.80}")
        if not is_text(self.augmentation.get("name"), 100):
            raise CardError("a card's augmentation must have a 'name': the gate routes by it")
        if not is_number(self.density, 0, 1) or self.density == 0:
            raise CardError(f"a card's density must be in (0, 1], not {self.density!r}")
        if not is_whole(self.bits) or self.bits not in VALUE_DTYPES:
            raise CardError(f"a card's bits must be one of {', '.join(map(str, VALUE_DTYPES))}, not {self.bits!r}")
        if not is_whole(self.seed):
            raise CardError(f"a card's seed must be an int, not {self.seed!r}")
        if type(self.parents) not in (tuple, list) or not all(is_text(parent, 100) for parent in self.parents):
            raise CardError(f"a card's parents must be card ids, not {self.parents!r:.80}")
        object.__setattr__(self, "density", float(self.density))
        object.__setattr__(self, "parents", tuple(self.parents))
        self.to_json()  # refuses what JSON cannot hold

    def to_json(self) -> str:
        """Canonical JSON text; the `id` is its hash."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        try:
            return files.canonical_json(fields)
        except (TypeError, ValueError) as error:
            raise CardError(f"a card's record must hold plain JSON values: {error}") from None

    @classmethod
    def from_json(cls, text: str) -> CardRecord:
        """The inverse of `to_json`; CardError for a missing, unknown or malformed field."""
        try:
            fields = files.strict_json(text)
        except ValueError as error:
            raise CardError(f"a card's record must be JSON: {error}") from None
        names = {field.name for field in dataclasses.fields(cls)}
        if not isinstance(fields, dict) or set(fields) != names or not isinstance(fields["parents"], list):
            raise CardError(f"a card's record must have exactly the fields {', '.join(sorted(names))}")
        return cls(**fields)

    @property
    def id(self) -> str:
        """First 12 hexadecimal digits of the SHA-256 of the canonical JSON of the fields."""
        return files.sha256(self.to_json().encode())[:12]


@dataclass(frozen=True, eq=False)
class Card:
    """A network ready to be run by an engine.

    `tensors` are dense float32 arrays, zero where masked; `masks` are bool arrays (True = kept) of the pruned conv and
    linear weights only. Raises CardError unless all of it fits together.
    """

    name: str
    record: CardRecord
    graph: Graph
    tensors: Mapping[str, NDArray[np.float32]]
    masks: Mapping[str, NDArray[np.bool_]]

    def __post_init__(self) -> None:
        if not is_name(self.name):
            raise CardError(f"a card's name must be {NAME_RULE}, not {self.name!r:.120}")
        try:
            check_parameters(self.graph, {name: array.shape for name, array in self.tensors.items()})
        except ValueError as error:
            raise CardError(f"card {self.name!r}: {error}") from None
        for name, array in self.tensors.items():
            self._require(array.dtype == np.float32, f"tensor {name!r} must be float32, not {array.dtype}")
            self._require(bool(np.isfinite(array).all()), f"tensor {name!r} holds NaN or infinity")
        for name, mask in self.masks.items():
            self._check_mask(name, mask)
        found, stated = self.density, self.record.density
        self._require(abs(found - stated) <= 1e-6, f"keeps {found:.8f} of its weights, its record says {stated:.8f}")

    def _check_mask(self, name: str, mask: NDArray[np.bool_]) -> None:
        self._require(name in self.graph.weight_names, f"mask {name!r} is not of a conv or linear weight")
        fits = mask.dtype == np.bool_ and mask.shape == self.tensors[name].shape
        self._require(fits, f"mask {name!r} must be bool of shape {self.tensors[name].shape}")
        self._require(not self.tensors[name][~mask].any(), f"tensor {name!r} is not zero where its mask is")

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
    def num_weights(self) -> int:
        """Conv and linear weights, stem and head included, kept or not."""
        return sum(self.tensors[name].size for name in self.graph.weight_names)

    @property
    def num_kept(self) -> int:
        """Conv and linear weights that the masks keep."""
        names = self.graph.weight_names
        return sum(int(self.masks[n].sum()) if n in self.masks else self.tensors[n].size for n in names)

    @property
    def density(self) -> float:
        """Fraction of conv and linear weights kept, from the masks."""
        return self.num_kept / max(self.num_weights, 1)


def card_bytes(card: Card) -> bytes:
    """The card's file: equal cards give equal bytes. CardError where a value does not fit the card's bits."""
    entries: dict[str, tensorfile.Array] = {}
    for name, array in card.tensors.items():
        if name not in card.masks:
            entries[name] = array
            continue
        with np.errstate(over="ignore"):
            values = array[card.masks[name]].astype(VALUE_DTYPES[card.record.bits])
        if not np.isfinite(values).all():
            raise CardError(f"card {card.name!r}: tensor {name!r} does not fit in {card.record.bits} bits")
        entries[f"{name}.mask"] = np.packbits(card.masks[name].ravel(), bitorder="big")
        entries[f"{name}.values"] = values
    shapes = {name: list(mask.shape) for name, mask in card.masks.items()}
    if len(entries) != len(card.tensors) + len(card.masks) or set(entries) & set(card.masks):
        raise CardError(f"card {card.name!r}: a tensor's name ends in .mask or .values and clashes: rename it")
    metadata = {
        "format": FORMAT,
        "version": VERSION,
        "name": card.name,
        "record": card.record.to_json(),
        "graph": card.graph.to_json(),
        "shapes": files.canonical_json(shapes),
    }
    try:
        return tensorfile.encode(entries, metadata)
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
        record = CardRecord.from_json(metadata["record"])
        tensors, masks = _unpacked(entries, metadata["shapes"], VALUE_DTYPES[record.bits])
        return Card(metadata["name"], record, Graph.from_json(metadata["graph"]), tensors, masks)
    except (CardError, ValueError) as error:
        raise CardError(f"{source} is not a readable card: {error}") from None


def _unpacked(
    entries: dict[str, tensorfile.Array], shapes_text: str, value_dtype: type[Any]
) -> tuple[dict[str, NDArray[np.float32]], dict[str, NDArray[np.bool_]]]:
    shapes = files.strict_json(shapes_text)
    if not isinstance(shapes, dict):
        raise ValueError("its shapes must be an object")
    tensors: dict[str, NDArray[np.float32]] = {}
    masks: dict[str, NDArray[np.bool_]] = {}
    for name, declared in shapes.items():
        shape = tensorfile.checked_shape(declared, name)
        bits, values = entries.pop(f"{name}.mask", None), entries.pop(f"{name}.values", None)
        if bits is None or values is None or name in entries:
            raise ValueError(f"pruned tensor {name!r} must be stored as {name}.mask and {name}.values alone")
        masks[name] = _mask(name, bits, shape)
        if values.dtype != value_dtype or values.shape != (np.count_nonzero(masks[name]),):
            raise ValueError(f"{name}.values must be {np.dtype(value_dtype)}, one for each kept weight")
        tensors[name] = np.zeros(shape, np.float32)
        tensors[name][masks[name]] = values
    for name, array in entries.items():
        if array.dtype != np.float32:
            raise ValueError(f"tensor {name!r} must be float32, not {array.dtype}")
        tensors[name] = array.astype(np.float32)  # own, writable memory: views of the file's bytes are read-only
    return tensors, masks


def _mask(name: str, bits: tensorfile.Array, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    size = math.prod(shape)
    if bits.dtype != np.uint8 or bits.shape != (-(-size // 8),):
        raise ValueError(f"{name}.mask must hold {-(-size // 8)} bytes for shape {list(shape)}")
    unpacked = np.unpackbits(bits, bitorder="big")
    if unpacked[size:].any():
        raise ValueError(f"{name}.mask has bits set after its end")
    return unpacked[:size].astype(np.bool_).reshape(shape)


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
