"""A cell: one network trained in one way from one seed, and the small JSON file that its numbers are kept in.

A cell's identity is every setting that its numbers depend on; its file is named by a hash of it. So a file under the
right name with other settings inside is damaged or foreign, and is refused; one whose settings nothing asks for any
more is left alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from cards_deck.checks import is_name
from cards_deck.errors import DataError, InputError
from cards_deck.files import canonical_json, read_bytes, strict_json, write_bytes

Json = dict[str, Any]

SCHEMA = 1
FOLDER = "cells"
LIMIT = 1_000_000  # bytes of a file
PROCEDURES = ("tickets", "barrier", "tune", "soup", "wise_ft")


@dataclass(frozen=True)
class Setting:
    """What is trained, on what, and how much of it is measured; plain values, as records describe them.

    Attributes:
        network: architecture.
        augmentation: of the training images.
        schedule: of each training run.
        data: name of the data set under the root.
        image_size: where the data set has none of its own.
        images: training images, the same share of each class; None: all that are not held out.
        label_noise: share of wrong training labels.
        validation: held-out images that are measured clean.
        corrupted: of those, images under each validation corruption, severities 1 to 5 in turn.
        test: test images measured clean; None: all.
        test_corrupted: of those, images under each test corruption, severities 1 to 5 in turn.
    """

    network: Json
    augmentation: Json
    schedule: Json
    data: str = "cifar10"
    image_size: int | None = None
    images: int | None = 5000
    label_noise: float = 0.0
    validation: int = 2000
    corrupted: int = 1000
    test: int | None = None
    test_corrupted: int = 500


@dataclass(frozen=True)
class Cell:
    """One training with its measurements.

    Attributes:
        name: for people, in the file's name; not part of the identity.
        setting: see `Setting`.
        method: registered name and fields of a ticket method or of a control.
        seed: of everything random.
        given: the cell whose first card this one begins with.
        procedure: what is made: `tickets` of the method; a `barrier` between its two tickets; `tune` the given card;
            a `soup` of several tunings of it; `wise_ft` between it and one.
        options: of the procedure.
    """

    name: str
    setting: Setting
    method: Json
    seed: int
    given: Cell | None = None
    procedure: str = "tickets"
    options: Json = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not is_name(self.name):
            raise InputError(f"a cell's name must be a file's name of letters, digits, - and _, got {self.name!r}")
        if self.procedure not in PROCEDURES:
            raise InputError(f"a cell's procedure must be one of {', '.join(PROCEDURES)}, got {self.procedure!r}")
        if self.procedure in ("tune", "soup", "wise_ft") and self.given is None:
            raise InputError(f"cell {self.name!r}: {self.procedure} needs a given cell whose card it begins with")

    @property
    def identity(self) -> Json:
        """Every setting that the numbers depend on."""
        found: Json = {
            "setting": asdict(self.setting),
            "method": self.method,
            "seed": self.seed,
            "given": None if self.given is None else self.given.identity,
            "procedure": self.procedure,
            "options": self.options,
        }
        plain: Json = strict_json(canonical_json(found))  # tuples become lists, as they are read back
        return plain

    @property
    def key(self) -> str:
        """Twelve hex digits of the identity."""
        return hashlib.sha256(canonical_json(self.identity).encode()).hexdigest()[:12]

    @property
    def file(self) -> str:
        """Name of the cell's file."""
        return f"{self.name}-s{self.seed}-{self.key}.json"

    def path(self, out: Path) -> Path:
        """Where its file lies in the folder of a report; under whatever name, if only the key and seed are right."""
        folder = out / FOLDER
        known = sorted(folder.glob(f"*-s{self.seed}-{self.key}.json")) if folder.is_dir() else []
        return known[0] if known else folder / self.file

    def read(self, out: Path) -> Json | None:
        """The cell's numbers, None where it is not finished; DataError for a file that is not this cell's."""
        path = self.path(out)
        if not path.exists():
            return None
        try:
            found = strict_json(read_bytes(path, limit=LIMIT))
        except (OSError, ValueError) as error:
            raise DataError(f"{path} cannot be read ({error}): delete it, and the cell is measured again") from None
        if not isinstance(found, dict) or found.get("schema") != SCHEMA:
            raise DataError(f"{path} must be a cell of schema {SCHEMA}: delete it, and the cell is measured again")
        if found.get("identity") != self.identity:
            raise DataError(
                f"{path} holds a cell of other settings than its name says: it was changed or put there by hand; "
                "delete it, and the cell is measured again"
            )
        return found

    def write(self, out: Path, numbers: Mapping[str, Any]) -> Path:
        """Write the cell's file whole or not at all; returns its path."""
        path = self.path(out)
        path.parent.mkdir(parents=True, exist_ok=True)
        content = {"schema": SCHEMA, "key": self.key, "name": self.name, "identity": self.identity, **numbers}
        write_bytes(path, (canonical_pretty(content) + "\n").encode())
        return path


def canonical_pretty(content: Mapping[str, Any]) -> str:
    """One line for each of the outermost entries: small, and readable in a difference."""
    lines = [f"{canonical_json(key)}:{canonical_json(value)}" for key, value in content.items()]
    return "{\n" + ",\n".join(lines) + "\n}"


def with_givens(cells: Iterable[Cell]) -> list[Cell]:
    """The cells and those that they begin with, each once, a given one before what needs it."""
    found: dict[str, Cell] = {}

    def add(cell: Cell) -> None:
        if cell.given is not None:
            add(cell.given)
        found.setdefault(cell.key, cell)

    for cell in cells:
        add(cell)
    return list(found.values())
