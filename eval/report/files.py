"""The files of reports: the JSON of every suite, its schema checked, and texts written whole or not at all."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cards_deck.errors import DataError
from cards_deck.files import write_bytes
from eval.numbers import percent, points, verdict

Json = dict[str, Any]

SCHEMA_VERSION = 2
REQUIRED = ("deck", "deck_version", "suite", "kind", "title", "n", "seed", "source", "provenance")
OF_KIND = {
    "corruptions": ("n_clean", "best_card", "routes", "differences", "cards", "cells"),
    "sequences": ("perturbations",),
    "shift": ("routes",),
    "ood": ("sets", "scores"),
    "adversarial": ("attacks",),
    "stream": ("orders",),
    "compressed": ("versions",),
}
ORDER = (
    "cifar10-c",
    "cifar100-c",
    "cifar10-c-bar",
    "compressed",
    "cifar10.1",
    "cifar10-p",
    "ood",
    "adversarial",
    "stream",
)


@dataclass(frozen=True)
class Suites:
    """Every suite measured on one deck under one gate, the main corruption suite first; `folder` is where they lie."""

    all: tuple[Json, ...]
    folder: Path | None = None

    def of(self, kind: str) -> tuple[Json, ...]:
        """The suites of a kind, in the order of the report."""
        return tuple(suite for suite in self.all if suite["kind"] == kind)

    @property
    def deck(self) -> Json:
        """The suite that speaks for the deck: its name, version, size and gate are the same in all."""
        return self.all[0]

    @property
    def main(self) -> Json | None:
        """The first corruption suite, which the headline is about; None where there is none."""
        return next(iter(self.of("corruptions")), None)


def read_json(path: Path) -> Json:
    """The JSON of one suite; DataError naming the file and what to do where it is not one."""
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as a report ({error}): measure the deck again") from error
    if not isinstance(result, dict) or "schema_version" not in result:
        raise DataError(f"{path} must be the JSON that `python -m eval` writes: it has no schema_version")
    if result["schema_version"] != SCHEMA_VERSION:
        raise DataError(
            f"{path} must have schema_version {SCHEMA_VERSION}, got {result['schema_version']!r}: measure again with "
            f"`python -m eval models/{result.get('deck', 'DECK')} --suite {result.get('suite', 'NAME')} --data ROOT`, "
            "or read it with the version of this project that wrote it"
        )
    wanted = (*REQUIRED, *OF_KIND.get(str(result.get("kind")), ()))
    missing = [name for name in wanted if name not in result]
    if missing:
        raise DataError(f"{path} must be the JSON that `python -m eval` writes; it lacks {', '.join(missing)}")
    return dict(result)


def read_suites(folder: Path) -> Suites:
    """Every suite in `folder`; DataError where there is none, or where they are not of one deck under one gate."""
    paths = sorted(folder.glob("*.json"))
    if not paths:
        raise DataError(f"{folder} must hold the JSON of at least one suite: measure the deck with `python -m eval`")
    suites = [read_json(path) for path in paths]
    for name in ("deck", "deck_version", "gate"):
        found = [(path, suite[name]) for path, suite in zip(paths, suites, strict=True) if name in suite]
        for path, value in found:
            if value != found[0][1]:
                raise DataError(
                    f"{path} and {found[0][0]} must be of one deck under one gate, but {name} is {value!r} and "
                    f"{found[0][1]!r}: measure the older one again, or move it to another folder"
                )
    ranks = {name: place for place, name in enumerate(ORDER)}
    ordered = sorted(suites, key=lambda suite: (ranks.get(suite["suite"], len(ranks)), suite["suite"]))
    return Suites(tuple(ordered), folder)


def write_json(result: Json, path: Path) -> Path:
    """Write the JSON under its final name only when it is complete."""
    return write_text(path, json.dumps(result, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> Path:
    """Write `text` under its final name only when it is complete; folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, text.encode())
    return path


def summary_line(result: Json) -> str:
    """The headline of a suite in one line of plain text."""
    name = f"{result['deck']} on {result['title']}"
    if result["kind"] != "corruptions":
        from eval.report.headline import lines

        shown = [f"{row.name.detail} {cell.text}" for row in lines(result) for cell in row.cells]  # type: ignore[union-attr]
        return f"{name}: {'; '.join(shown) or 'measured'} ({result['n']:,} images)"
    gated, gain = result["routes"]["gated"], result["differences"].get("gated_minus_best_card", {}).get("mean")
    line = (
        f"{name}: clean {percent(gated['clean']['value'])} %, mean {percent(gated['mean']['value'])} %, "
        f"severity 5 {percent(gated['severity5']['value'])} %, {gated['cards_per_image']:.2f} cards per image"
    )
    return f"{line}; against the best single card {points(gain['value'])} points ({verdict(gain)})" if gain else line
