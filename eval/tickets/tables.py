"""Markdown of cells: means with standard deviations over seeds, in tables."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from typing import Any

from eval.numbers import short

Json = dict[str, Any]


def spread(values: Iterable[float | None], scale: float = 1, digits: int = 1) -> str:
    """ "71.3 ± 0.4": mean and standard deviation; no deviation for one value, a dash for none."""
    known = [scale * value for value in values if value is not None]
    if not known:
        return "–"
    mean = f"{statistics.fmean(known):.{digits}f}"
    return mean if len(known) == 1 else f"{mean} ± {statistics.stdev(known):.{digits}f}"


def mean_short(values: Iterable[float | None]) -> str:
    """The mean in three digits."""
    known = [value for value in values if value is not None]
    return short(statistics.fmean(known)) if known else "–"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of a table, the first column to the left and the others to the right."""
    lines = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]


def accuracy_of(found: Json, domain: str = "clean", split: str = "test") -> float | None:
    """Accuracy of a card or an ensemble, None where it was not measured."""
    value = found["accuracy"].get(split, {}).get(domain)
    return None if value is None else float(value)


def measured_speedup(numbers: Json, batch: int = 1) -> float | None:
    """Of the first card in the sparse engine, against the faster dense engine; None where it was not measured."""
    found = numbers.get("speed", {}).get("measured_speedup", {}).get(str(batch))
    return None if found is None else float(found)


def made_with(cells: Sequence[Json]) -> str:
    """Where and when the cells were measured, in one sentence."""
    found = [cell["provenance"] for cell in cells]
    processors = sorted({made["hardware"]["cpu"] for made in found})
    dates = sorted(made["date"][:10] for made in found)
    when = dates[0] if dates[0] == dates[-1] else f"{dates[0]} to {dates[-1]}"
    hours = sum(cell["seconds"] for cell in cells) / 3600
    torch = sorted({str(made["versions"].get("torch")) for made in found})
    return (
        f"{len(cells)} cells, {hours:.1f} hours of one core, measured {when} on {', '.join(processors)} "
        f"with torch {', '.join(torch)}."
    )
