"""Measure things side by side in one process, and save what came out.

The candidates take turns, in a new order each round, so that a busy or throttled machine slows all of them alike, and
ratios are taken within a round. Figures are medians over rounds with the quartiles as spread.
"""

from __future__ import annotations

import gc
import json
import random
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cards_deck.machine import package_versions
from eval.provenance import provenance

RESULTS = Path(__file__).resolve().parent / "results"


@dataclass(frozen=True)
class Row:
    """One measurement: the median over `repeats` rounds, and the quartiles."""

    name: str
    unit: str
    median: float
    low: float
    high: float
    repeats: int


def time_in_turns(
    candidates: Mapping[str, Callable[[], object]], *, repeats: int, seed: int = 0
) -> dict[str, list[float]]:
    """Run every candidate once per round, after one round that is not counted.

    Returns:
        Seconds per call, by name, in the order of the rounds.
    """
    order = random.Random(seed)
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for turn in range(repeats + 1):
        for name in order.sample(list(candidates), len(candidates)):
            gc.collect()
            start = time.perf_counter()
            candidates[name]()
            if turn:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def row(name: str, unit: str, values: Sequence[float]) -> Row:
    """Summarise the rounds of one measurement (at least two values)."""
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return Row(name, unit, median, low, high, len(values))


def ratio(numerator: Sequence[float], denominator: Sequence[float]) -> float:
    """The median over rounds of numerator / denominator."""
    return statistics.median(a / b for a, b in zip(numerator, denominator, strict=True))


def save(
    name: str, rows: Sequence[Row], ratios: Mapping[str, float], packages: Sequence[str] = (), note: str = ""
) -> Path:
    """Print the measurements and write them to benchmarks/results/<name>.json, and as tables to <name>.md.

    `packages` are those whose versions count too; `note` says what was measured where the names do not.
    """
    made = provenance([Path(sys.executable).name, "-m", f"benchmarks.{name}", *sys.argv[1:]])
    made["versions"].update(package_versions(packages))
    for entry in rows:
        print(f"{entry.name:40} {entry.median:12.5g} {entry.unit:12} [{entry.low:.5g}, {entry.high:.5g}]")
    for key, value in ratios.items():
        print(f"{key:40} {value:12.5g}")
    content = {"rows": [asdict(entry) for entry in rows], "ratios": dict(ratios), "note": note, "provenance": made}
    (RESULTS / f"{name}.md").write_text(tables(name, content))
    return write(name, content)


def tables(name: str, content: Mapping[str, Any]) -> str:
    """The measurements of `save` as Markdown."""
    made = content["provenance"]
    hardware = f"{made['hardware']['cpu']}, {made['hardware']['cores']} cores"
    versions = ", ".join(f"{package} {version}" for package, version in made["versions"].items() if version)
    lines = [f"# {name}", "", *([content["note"], ""] if content["note"] else [])]
    lines += ["| measured | median | quartiles | unit | rounds |", "|---|---:|---:|---|---:|"]
    for entry in content["rows"]:
        spread = f"{entry['low']:.4g} – {entry['high']:.4g}"
        lines.append(f"| {entry['name']} | {entry['median']:.4g} | {spread} | {entry['unit']} | {entry['repeats']} |")
    if content["ratios"]:
        lines += ["", "| ratio within a round | median |", "|---|---:|"]
        lines += [f"| {label} | {value:.3g} |" for label, value in content["ratios"].items()]
    return "\n".join([*lines, "", f"`{made['command']}`; {hardware}; {versions}; {made['date'][:10]}.", ""])


def write(name: str, content: Mapping[str, Any]) -> Path:
    """Write benchmarks/results/<name>.json, whole or not at all."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    partial = path.with_suffix(".part")
    partial.write_text(json.dumps(content, indent=1) + "\n")
    partial.replace(path)
    return path
