"""The pixels of one severity, written into their place in a file; by several processes where wanted."""

from __future__ import annotations

import hashlib
import math
import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from pathlib import Path

import numpy as np

from cards_deck.corruptions import SEVERITIES, corrupt
from eval.cells import Images

_PART_BYTES = 16 << 20  # clean images read, corrupted and written at once


@dataclass(frozen=True)
class NewFile:
    """A corruption's .npy file under a temporary name: its header is there, the pixels from `offset` on are to come."""

    name: str
    path: Path
    offset: int

    @classmethod
    def begin(cls, path: Path, name: str, shape: tuple[int, ...]) -> NewFile:
        """Write the header of five times the clean images' shape."""
        whole = (len(SEVERITIES) * shape[0], *shape[1:])
        with path.open("xb") as file:
            np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": whole})
            offset = file.tell()
            file.truncate(offset + math.prod(whole))
        return cls(name, path, offset)


@dataclass(frozen=True)
class Cell:
    """One severity of a file, made from the images in the .npy file `clean`."""

    file: NewFile
    severity: int
    clean: Path
    seed: int

    def write(self) -> str:
        """Write the pixels -> their SHA-256."""
        images: Images = np.load(self.clean, mmap_mode="r")
        step, digest = max(1, _PART_BYTES // images[0].nbytes), hashlib.sha256()
        with self.file.path.open("r+b") as target:
            target.seek(self.file.offset + (self.severity - 1) * images.nbytes)
            for start in range(0, len(images), step):
                part = np.array(images[start : start + step])
                pixels = corrupt(part, self.file.name, self.severity, seed=self.seed)
                target.write(pixels.data)
                digest.update(pixels.data)
        return digest.hexdigest()


def write_cells(cells: Sequence[Cell], processes: int) -> Iterator[tuple[Cell, str]]:
    """Write every cell -> (cell, SHA-256 of its pixels), in the order in which they are done."""
    if processes == 1 or len(cells) < 2:
        yield from ((cell, cell.write()) for cell in cells)
        return
    workers = min(processes, len(cells))
    with ProcessPoolExecutor(workers, get_context("spawn"), initializer=_end_with_parent) as pool:
        futures = {pool.submit(cell.write): cell for cell in cells}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _end_with_parent() -> None:
    """A parent that is killed cannot stop its workers, and they would wait for its next task forever."""

    def watch() -> None:
        parent = parent_process()
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
