"""Many cells, several at a time, one thread each; what is finished stays finished whatever stops the rest."""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed

from cards_deck.errors import CardsDeckError
from eval.tickets.cells import Cell, with_givens
from eval.tickets.images import stock
from eval.tickets.run import Place, card_files, first_card, make

# As for the training of decks: glibc gives the memory of activations back to the system at every step otherwise.
ENVIRONMENT = {
    "MALLOC_TRIM_THRESHOLD_": "17179869184",
    "MALLOC_MMAP_THRESHOLD_": "4294967296",
    "OMP_NUM_THREADS": "1",
}


def outstanding(cells: Iterable[Cell], place: Place) -> list[Cell]:
    """The cells that are not finished, and given ones whose card is not here, each after what it begins with.

    DataError for a file that is not what its name says.
    """
    missing = [cell for cell in with_givens(cells) if cell.read(place.out) is None]
    needed = {cell.given.key for cell in missing if cell.given is not None}
    return [
        cell
        for cell in with_givens(missing)
        if cell.read(place.out) is None or (cell.key in needed and not card_files(cell, place))
    ]


def run_all(cells: Sequence[Cell], place: Place, processes: int = 1) -> list[str]:
    """Make all `cells`; returns a line for each that failed. Cells that begin with another wait for it.

    What is wrong with the data is raised once, before any of them.
    """
    waiting, failed, done = outstanding(cells, place), [], 0
    if waiting:
        stock(place.root, waiting[0].setting, waiting[0].seed, place.work / "images")
    total, started = len(waiting), time.monotonic()

    def note(cell: Cell, error: BaseException | None) -> None:
        nonlocal done
        done += 1
        if error is not None:
            failed.append(f"{cell.name} (seed {cell.seed}): {error}")
        spent = (time.monotonic() - started) / 60
        state = "failed" if error is not None else "done"
        left = spent / done * (total - done)
        print(f"{done}/{total} {cell.name} seed {cell.seed} {state}, {left:.0f} min left", file=sys.stderr, flush=True)

    for wave in waves(waiting):
        if processes == 1:
            for cell in wave:
                note(cell, _tried(cell, place))
            continue
        os.environ.update({name: os.environ.get(name, value) for name, value in ENVIRONMENT.items()})
        with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
            jobs = {pool.submit(_tried, cell, place): cell for cell in wave}
            for job in as_completed(jobs):
                note(jobs[job], job.result())
    return failed


def waves(cells: Sequence[Cell]) -> list[list[Cell]]:
    """The cells by how many others each builds upon, which come before."""
    found: dict[int, list[Cell]] = {}
    for cell in cells:
        found.setdefault(depth(cell), []).append(cell)
    return [found[level] for level in sorted(found)]


def depth(cell: Cell) -> int:
    """How many cells come before this one."""
    return 0 if cell.given is None else 1 + depth(cell.given)


def _tried(cell: Cell, place: Place) -> CardsDeckError | None:
    """Make the cell; an error that this project raises on purpose must not stop the others."""
    try:
        if cell.read(place.out) is not None:
            first_card(cell, place)
        make(cell, place)
    except CardsDeckError as error:
        return error
    return None
