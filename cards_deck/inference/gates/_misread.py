"""What a gate loses where the spectrum misleads it: images of one cell, routed by the spectra of another.

The shifts that a deck can be fitted on are few. Those that it meets may look, to any gate, like one of these and behave
like another; so each cell is routed as each of the others, and what that costs at worst bounds what a misreading can.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cards_deck.inference.gates._base import BaseGate, Gate, Reading
from cards_deck.inference.gates._observed import SEVERITY, AlreadyRead, Judged, Observed, Worst, judge, read

IMAGES = 2000  # of each cell: every one is judged once for each cell that it is taken for


class Misread:
    """Observed rows, each of which can be given the spectrum of the same image in another cell.

    Cells are taken for those without a severity (clean and augmented images) and for every shift at its most severe. As
    many images of each are used as all cells have, at most `IMAGES`.
    """

    def __init__(self, observed: Observed, plain: Gate) -> None:
        cells = np.unique(observed.cell)
        count = min(IMAGES, int(np.bincount(observed.cell)[cells].min()))
        rows = observed.rows(observed.image < count)
        self._rows, self._plain, self._folds = rows, judge(plain, rows), rows.folds()
        self._judged = [rows.rows(fold.judged) for fold in self._folds]
        shown = _most_severe([observed.names[cell] for cell in cells])
        donors = [observed.names.index(name) for name in shown]
        self._shown = rows.rows(np.isin(rows.cell, donors))
        self._seen = {name: self._places(cell) for name, cell in zip(shown, donors, strict=True)}

    def _places(self, cell: int) -> NDArray[np.intp]:
        """int64 [m]: for each row, which of the shown rows is the same image in `cell`."""
        there = np.flatnonzero(self._shown.cell == cell)
        return there[self._rows.image]

    def worst(self, gates: Sequence[BaseGate]) -> Worst:
        """Where `gates`, fitted on each fold of the observed rows, fall the farthest behind the plain average."""
        worst = self._worst(gates, [read(gate, rows) for gate, rows in zip(gates, self._judged, strict=True)])
        readings = [read(gate, self._shown) for gate in gates]
        for name, seen in self._seen.items():
            misled = []
            for fold, shown in zip(self._folds, readings, strict=True):
                places = seen[fold.judged]
                misled.append(Reading(shown.distances[places], shown.preference[places]))
            found = self._worst(gates, misled)
            if found.loss > worst.loss:
                worst = found._replace(taken_for=name)
        return worst

    def _worst(self, gates: Sequence[BaseGate], readings: Sequence[Reading]) -> Worst:
        """Of the gates with what each of them reads."""
        parts = [
            judge(AlreadyRead(gate, reading), rows)
            for gate, reading, rows in zip(gates, readings, self._judged, strict=True)
        ]
        return Judged.merged(parts, self._folds, self._rows).worst(self._plain)


def _most_severe(names: Sequence[str]) -> list[str]:
    """Of the cells of each shift the last by severity, and all that have none."""
    last: dict[str, str] = {}
    for name in sorted(names, key=_severity):
        last[SEVERITY.sub("", name)] = name
    return [name for name in names if name in last.values()]


def _severity(name: str) -> int:
    found = SEVERITY.search(name)
    return int(found.group()) if found else 0
