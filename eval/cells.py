"""The images of every cell (corruption x severity), made here; `stored_cells` reads those that lie on the disk."""

from __future__ import annotations

import functools
import hashlib
import inspect
import re
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

import numpy as np
import PIL
import scipy
from numpy.typing import NDArray

from cards_deck import corruptions
from cards_deck.corruptions import REGISTRY
from cards_deck.data import Dataset
from cards_deck.errors import InputError

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]


class Cells(Protocol):
    """The corrupted versions of one set of images. Row i of every cell is the same image."""

    @property
    def source(self) -> str:
        """ "official" or "regenerated" """
        ...

    @property
    def seed(self) -> int:
        """Of the corruptions, where they are regenerated."""
        ...

    @property
    def frost(self) -> str:
        """Where the textures of frost come from."""
        ...

    @property
    def labels(self) -> Labels:
        """int64 [n]"""
        ...

    def images(self, corruption: str, severity: int) -> Images:
        """uint8 [n, h, w, 3]"""
        ...

    def part(self, rows: NDArray[np.integer]) -> Cells:
        """The same cells of the images `rows` only."""
        ...

    def key(self, corruption: str, severity: int) -> str:
        """A cache key: everything that decides the pixels."""
        ...


def balanced_subset(labels: Labels, ranks: NDArray[np.integer], size: int | None) -> NDArray[np.intp]:
    """Sorted indices of `size` images with class counts as equal as can be (all images for None).

    `ranks` [n] decides which images of a class come first, so that a smaller subset lies inside a larger one. Classes
    with too few images give all they have and the others share the rest.
    """
    n = len(labels)
    if size is None or size >= n:
        return np.arange(n)
    if size < 1:
        raise InputError(f"subset must be at least 1 image, got {size}")
    order = np.argsort(ranks, kind="stable")
    within = np.empty(n, dtype=np.int64)
    for label in np.unique(labels):
        members = order[labels[order] == label]
        within[members] = np.arange(len(members))
    chosen = np.lexsort((labels, within))[:size]
    return np.sort(chosen)


def ranks_by_pixels(images: Images, seed: int) -> NDArray[np.int64]:
    """A seeded shuffle that depends on each image's pixels and not on the order on disk -> ranks int64 [n]."""
    salt = seed.to_bytes(8, "big", signed=True)
    digests = [hashlib.sha256(salt + image.tobytes()).digest() for image in images]
    ranks = np.empty(len(images), dtype=np.int64)
    ranks[sorted(range(len(images)), key=digests.__getitem__)] = np.arange(len(images))
    return ranks


def ranks_by_index(n: int, seed: int) -> NDArray[np.int64]:
    """A seeded shuffle of n places -> ranks int64 [n]."""
    return np.random.default_rng(seed).permutation(n).astype(np.int64)


@functools.cache
def generator_fingerprint(corruption: str) -> str:
    """Twelve hex digits over the code of a corruption, what corruptions share, and the libraries that draw pixels."""
    digest = hashlib.sha256(f"{np.__version__} {scipy.__version__} {PIL.__version__}".encode())
    if corruption == "frost":
        digest.update(corruptions.frost_source().encode())
    digest.update(inspect.getsource(corruptions.corrupt).encode())
    for path in sorted(imported(Path(inspect.getfile(REGISTRY[corruption])), "corruptions")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def imported(path: Path, package: str) -> set[Path]:
    """A module's file, and those of the modules beside it in `package` that it imports, directly or not."""
    found: set[Path] = set()
    waiting = [path]
    while waiting:
        module = waiting.pop()
        if module not in found and module.is_file():
            found.add(module)
            names = re.findall(rf"{package}\.(\w+) import|{package} import (\w+)", module.read_text(encoding="utf-8"))
            waiting += [path.parent / f"{first or second}.py" for first, second in names]
    return found


@dataclass(frozen=True)
class RegeneratedCells:
    """Cells made by `cards_deck.corruptions` from clean images; the same pixels for any subset and order."""

    clean: Dataset
    seed: int
    source: ClassVar[str] = "regenerated"

    @property
    def frost(self) -> str:
        """Which textures frost uses here."""
        return corruptions.frost_source()

    @property
    def labels(self) -> Labels:
        """int64 [n]: the labels of the clean images."""
        return self.clean.labels

    def images(self, corruption: str, severity: int) -> Images:
        """uint8 [n, h, w, 3], made anew at every call; InputError for an unknown corruption or severity."""
        return corruptions.corrupt(self.clean.images, corruption, severity, seed=self.seed)

    def part(self, rows: NDArray[np.integer]) -> RegeneratedCells:
        """The same cells of the images `rows` only."""
        return RegeneratedCells(self.clean.subset(rows), self.seed)

    def key(self, corruption: str, severity: int) -> str:
        """Of the clean pixels, the corruption's code, the seed and the cell; makes no image."""
        made = f"{corruption}-{severity}-seed{self.seed}-{generator_fingerprint(corruption)}"
        return f"{self.clean.sha256[:16]}/{made}"
