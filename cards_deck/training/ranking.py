"""What a search has found, as text for a terminal and as Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Json = dict[str, Any]


def ranking(found: Json) -> str:
    """The trials as text, the best first."""
    rows = _table(found)
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def document(found: Json) -> str:
    """The trials as Markdown: what each changes, what it is worth, what it took, and with what that was measured."""
    head, *rows = _table(found)
    by_name = {trial["name"]: trial for trial in found["trials"]}
    first = by_name[found["first"]]
    lines = [f"# Search {found['recipe']}, version {found['version']}", ""]
    if found["smoke"]:
        lines += ["**A trial of the search itself, on a few images: its numbers say nothing.**", ""]
    lines += ["| " + " | ".join([*head, "what it changes"]) + " |", "|---|" + "---:|" * (len(head) - 1) + "---|"]
    for row in rows:
        changes = ", ".join(_changes(first["recipe"], by_name[row[0]]["recipe"])) or "–"
        lines.append("| " + " | ".join([*row, changes]) + " |")
    n, corrupted = first["validation"]["n"], min(found["corrupted_images"], first["validation"]["n"])
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items() if version)
    lines += [
        "",
        f"Score: half of it clean accuracy on {n:,} validation images, half the mean over four corruptions at five "
        f"severities, {corrupted:,} images each; no test image, no corruption that decks are reported on. "
        f"The difference is to {found['first']}, on the same images; its 95 % interval is that of the images alone, "
        "another seed changes more. One training each.",
        "",
        f"{first['speed']['device']}, {found['hardware']['cpu']}; {versions}; {found['date'][:10]}.",
        "",
    ]
    return "\n".join(lines)


def _table(found: Json) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [
        ("trial", "score", "difference", "clean", "corrupted", "weights", "multiply-adds", "images/s", "minutes")
    ]
    for row in found["trials"]:
        validation, speed, gain = row["validation"], row["speed"], row["against_first"]
        shown = [validation["score"], validation["accuracy"], validation.get("corrupted")]
        shown += [row["density"], row["flop_density"]]
        score, *others = ("–" if value is None else f"{100 * value:.2f} %" for value in shown)
        difference = "–" if gain is None else "{value:+.2f} [{low:+.2f}, {high:+.2f}]".format(
            **{key: 100 * gain[key] for key in ("value", "low", "high")}
        )  # fmt: skip
        rate = speed["images_per_second"]
        minutes = f"{speed['training_seconds'] / 60:.1f}"
        rows.append((row["name"], score, difference, *others, "–" if rate is None else f"{rate:,.0f}", minutes))
    return rows


def _changes(first: Mapping[str, Any], other: Mapping[str, Any], under: str = "") -> list[str]:
    """The settings of `other` that `first` has not; of another method or augmentation, all it has."""
    found = []
    for key, value in other.items():
        known = first.get(key)
        if not isinstance(value, Mapping):
            if value != known:
                found.append(f"{under}{key} {value}")
        elif not isinstance(known, Mapping) or value.get("name") != known.get("name"):
            settings = ", ".join(f"{name} {setting}" for name, setting in value.items() if name != "name")
            found.append(f"{value.get('name', key)} ({settings})" if settings else str(value.get("name", key)))
        else:
            found += _changes(known, value, "" if key == "schedule" else f"{key}.")
    return found
