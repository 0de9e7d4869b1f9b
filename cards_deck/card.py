"""A card: one compressed network, how it computes and how it was made; and its file, a safetensors file."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cards_deck import files, tensorfile
from cards_deck.checks import NAME_RULE, is_name, is_number
from cards_deck.errors import CardError
from cards_deck.graph import Graph
from cards_deck.masks import MAX_PER_BYTE, SharedMasks, masks_from_bytes
from cards_deck.packing import Unpacked, pack, unpack
from cards_deck.record import CardRecord
from cards_deck.shapes import Shape, check_parameters
from cards_deck.values import FLOAT_KINDS

__all__ = ["Card", "CardRecord", "as_stored", "card_bytes", "card_from_bytes", "read_card", "write_card"]

FORMAT, VERSIONS = "cards-deck/card", {False: "2", True: "3"}  # written, by whether it sees images mirrored
AVERAGE_FORMAT = "cards-deck/average"  # what `averages` writes into the folder of a deck
MAX_FILE = 1 << 30
_FIELDS = {"format", "version", "name", "record", "graph"}  # of all versions; each has its own more


@dataclass(frozen=True, eq=False)
class Card:
    """A network ready to be run by an engine.

    `tensors` are dense float32 arrays, zero where masked; `masks` are bool arrays (True = kept) of the pruned conv and
    linear weights only. A card from a file unpacks them at each look-up: take one into a variable to use it twice.
    A card of fewer than 16 bits is quantized: `scales` holds, for each quantized weight, the float32 [1] or [outputs]
    of which its values are whole multiples (the other weights keep 16 bits), and `ranges` the (lowest, highest) value
    seen at calibration for the values of the graph that are to be quantized too (none: only weights are).
    Raises CardError unless all of it fits together.
    """

    name: str
    record: CardRecord
    graph: Graph
    tensors: Mapping[str, NDArray[np.float32]]
    masks: Mapping[str, NDArray[np.bool_]]
    scales: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
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
        self._check_quantized()
        object.__setattr__(self, "num_weights", sum(int(np.prod(self.shapes[name])) for name in names))
        object.__setattr__(self, "num_kept", sum(kept[name][1] for name in names))
        fits = self.record.cut_from is None or self.record.cut_from >= self.num_weights
        self._require(fits, f"has {self.num_weights} weights, more than the {self.record.cut_from} it was cut from")
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

    def _check_quantized(self) -> None:
        quantized = self.record.bits < 16
        self._require(quantized == bool(self.scales), "must have scales if its bits are under 16, and only then")
        for name, scale in self.scales.items():
            self._require(name in self.graph.weight_names, f"scale {name!r} is not of a conv or linear weight")
            fits = scale.dtype == np.float32 and scale.shape in ((1,), self.shapes[name][:1])
            self._require(fits, f"scale {name!r} must be float32 [1] or [outputs]")
            self._require(bool((np.isfinite(scale) & (scale > 0)).all()), f"scale {name!r} must be positive")
        known = {self.graph.input, *(node.output for node in self.graph.nodes)}
        for name, pair in self.ranges.items():
            fits = name in known and len(pair) == 2 and all(is_number(end, -1e30, 1e30) for end in pair)
            self._require(fits and pair[0] <= pair[1], f"range {name!r} must be two ordered numbers of a graph's value")
        self._require(quantized or not self.ranges, "has ranges of values, which belong to bits under 16")

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
    def averaged(self) -> bool:
        """Whether its weights are a weighted average of other cards', as its record says: see `averages`."""
        return self.record.averaged

    @property
    def mirrored(self) -> bool:
        """Whether it sees every image mirrored, left for right, as its record says."""
        return self.record.mirrored

    @property
    def density(self) -> float:
        """Fraction of conv and linear weights kept, from the masks; where channels were cut, of all there were."""
        return self.num_kept / max(self.record.cut_from or self.num_weights, 1)


def card_bytes(card: Card, shared: SharedMasks | None = None) -> bytes:
    """The card's file: equal cards give equal bytes. CardError where a value does not fit the card's bits.

    Masks that are among `shared` are left to its file, which `card_from_bytes` then needs; else the file is whole.
    """
    try:
        entries, specs = pack(card.tensors, card.masks, card.scales, card.record.bits, shared)
        uses_shared = any("shared" in spec["mask"] for spec in specs.values())
        metadata = {
            "format": FORMAT,
            "version": VERSIONS[card.mirrored],
            "name": card.name,
            "record": card.record.to_json(),
            "graph": card.graph.to_json(),
            "packed": files.canonical_json(specs),
            "ranges": files.canonical_json(dict(card.ranges)),
            "masks": shared.sha256 if shared is not None and uses_shared else "",
        }
        data = tensorfile.encode(entries, metadata)
        limit = _limit(data, shared)
        if card.num_weights > limit:
            raise ValueError(
                f"it has {card.num_weights} weights, more than the {limit} that a file of its size may hold"
            )
        return data
    except ValueError as error:
        raise CardError(f"card {card.name!r} cannot be written: {error}") from None


def card_from_bytes(data: bytes, source: str = "card bytes", shared: SharedMasks | None = None) -> Card:
    """The card in a file's bytes; CardError, naming `source`, for anything that is not a whole, valid card."""
    try:
        entries, metadata = tensorfile.decode(data)
        if metadata.get("format") == AVERAGE_FORMAT:
            raise ValueError(
                "it is an average of other cards of its deck and holds no weights: take one of those, or the deck"
            )
        if metadata.get("format") != FORMAT:
            raise ValueError(f"its format is {metadata.get('format')!r}, not {FORMAT!r}")
        if metadata.get("version") not in _READERS:
            version, known = metadata.get("version"), ", ".join(_READERS)
            raise ValueError(f"its version is {version!r}: this release reads versions {known}")
        own, read = _READERS[metadata["version"]]
        if set(metadata) != _FIELDS | own:
            raise ValueError("its metadata has missing or unknown fields")
        record = CardRecord.from_json(metadata["record"])
        if (metadata["version"] == VERSIONS[True]) != record.mirrored:
            version = metadata["version"]
            raise ValueError(f"its version is {version!r}, which its record does not go with: the file was changed")
        found, ranges = read(entries, metadata, record.bits, data, shared)
        graph = Graph.from_json(metadata["graph"])
        return Card(metadata["name"], record, graph, found.tensors, found.masks, found.scales, ranges)
    except (CardError, ValueError) as error:
        raise CardError(f"{source} is not a readable card: {error}") from None


Ranges = dict[str, tuple[float, float]]
Entries = dict[str, tensorfile.Array]


def _read_1(
    entries: Entries, metadata: dict[str, str], bits: int, data: bytes, shared: SharedMasks | None
) -> tuple[Unpacked, Ranges]:
    """Version 1: every mask a bitmap, every value a float, every shape in `shapes`."""
    specs = {
        name: {
            "shape": shape,
            "kept": entries[f"{name}.values"].size if f"{name}.values" in entries else 0,
            "kind": FLOAT_KINDS[max(bits, 16)],
            "values": "plain",
            "mask": {"coding": "bitmap"},
        }
        for name, shape in _object(metadata, "shapes").items()
    }
    return unpack(entries, specs, bits, limit=_limit(data, None)), {}


def _read_2(
    entries: Entries, metadata: dict[str, str], bits: int, data: bytes, shared: SharedMasks | None
) -> tuple[Unpacked, Ranges]:
    wanted = metadata["masks"]
    if wanted and (shared is None or shared.sha256 != wanted):
        raise ValueError(f"its masks are in its deck's file masks-{wanted[:12]}.safetensors, which must lie beside it")
    used = shared if wanted else None
    found = unpack(entries, _object(metadata, "packed"), bits, limit=_limit(data, used), shared=used)
    ranges = _object(metadata, "ranges")
    if not all(isinstance(pair, list) for pair in ranges.values()):
        raise ValueError("its ranges must be pairs of numbers")
    return found, {name: tuple(pair) for name, pair in ranges.items()}


_OWN = {"packed", "ranges", "masks"}
_READERS = {"1": ({"shapes"}, _read_1), "2": (_OWN, _read_2), "3": (_OWN, _read_2)}


def _object(metadata: dict[str, str], field: str) -> dict[str, Any]:
    found = files.strict_json(metadata[field])
    if not isinstance(found, dict):
        raise ValueError(f"its {field} must be an object")
    return found


def _limit(data: bytes, shared: SharedMasks | None) -> int:
    """How many weights a file may declare."""
    return min(MAX_PER_BYTE * (len(data) + (shared.size if shared is not None else 0)), tensorfile.MAX_ELEMENTS)


def same_values(one: Card, other: Card) -> bool:
    """Whether two cards compute the same from the same pixels: one graph, the same tensors bit for bit."""
    return one is other or (
        one.graph == other.graph
        and dict(one.ranges) == dict(other.ranges)
        and set(one.tensors) == set(other.tensors)
        and all(np.array_equal(one.tensors[name], other.tensors[name]) for name in one.tensors)
    )


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
    """The card in a file, also in a deck's folder, whose file of shared masks is then read too.

    CardError, naming the file, if it is missing, broken or has another hash than `sha256`.
    """
    data = _read(Path(path))
    if sha256 is not None and files.sha256(data) != sha256:
        raise CardError(f"{path}: its SHA-256 is {files.sha256(data)}, not {sha256}: the file was changed or is broken")
    return card_from_bytes(data, str(path), _masks_beside(Path(path), data))


def _read(path: Path) -> bytes:
    try:
        return files.read_bytes(path, limit=MAX_FILE)
    except (OSError, ValueError) as error:
        raise CardError(f"{path}: the card cannot be read: {error}") from error


def _masks_beside(path: Path, data: bytes) -> SharedMasks | None:
    """The masks that a card of a deck leaves to another file; None where it has its own, or the file is not there."""
    try:
        wanted = tensorfile.decode(data)[1].get("masks", "")
    except ValueError:
        return None
    if re.fullmatch("[0-9a-f]{64}", wanted) is None:
        return None
    beside = path.with_name(f"masks-{wanted[:12]}.safetensors")
    if not beside.is_file():
        return None
    try:
        return masks_from_bytes(_read(beside))
    except ValueError as error:
        raise CardError(f"{path}: its masks in {beside} cannot be read: {error}") from None
