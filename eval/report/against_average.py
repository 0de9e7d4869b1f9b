"""The deck's own gate against the plain average of its cards, cell by cell."""

from __future__ import annotations

import math

from eval.report.files import Json


def against_average(suite: Json) -> dict[tuple[str, int], tuple[float, float]]:
    """Accuracy of the deck's own gate less that of the plain average, with its standard error, in every cell."""
    return {
        (corruption, severity): _paired(row["gained"], row["lost"], suite["n"])
        for corruption, rows in suite["significance"]["gated_vs_uniform"].items()
        for severity, row in enumerate(rows, start=1)
    }


def _paired(gained: int, lost: int, n: int) -> tuple[float, float]:
    """Mean and standard error of a paired difference in accuracy."""
    mean = (gained - lost) / n
    return mean, math.sqrt(max((gained + lost) / n - mean**2, 0.0) / n)
