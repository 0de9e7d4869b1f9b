"""The frames of every perturbation: read from the public files where they lie, made here where not."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

import numpy as np
import PIL
import scipy
from numpy.typing import NDArray

from cards_deck.corruptions import sequences
from cards_deck.data import Dataset
from cards_deck.errors import DataError
from eval.arrays import read_array
from eval.cells import Images, Labels

Rows = NDArray[np.intp]


class Sequences(Protocol):
    """The sequences of one set of images. Row i of every perturbation is the same image."""

    @property
    def source(self) -> str:
        """ "official" or "regenerated" """
        ...

    @property
    def labels(self) -> Labels | None:
        """int64 [n], or None where it is not known which images they are."""
        ...

    def __len__(self) -> int:
        """Number of images."""
        ...

    def frames(self, name: str, start: int, stop: int) -> Images:
        """All frames of images start to stop, sequence by sequence, uint8 [(stop - start) * frames, size, size, 3]."""
        ...

    def key(self, name: str, start: int, stop: int) -> str:
        """A cache key: everything that decides those pixels."""
        ...


@dataclass(frozen=True)
class RegeneratedSequences:
    """Sequences made by `cards_deck.corruptions.sequences`; the same pixels for any subset and order."""

    clean: Dataset
    seed: int
    source: ClassVar[str] = "regenerated"

    @property
    def labels(self) -> Labels:
        """int64 [n]"""
        return self.clean.labels

    def __len__(self) -> int:
        return len(self.clean)

    def frames(self, name: str, start: int, stop: int) -> Images:
        """See `Sequences`."""
        made = sequences.perturb(self.clean.images[start:stop], name, seed=self.seed)
        return made.reshape(-1, *made.shape[2:])

    def key(self, name: str, start: int, stop: int) -> str:
        """Of the clean pixels, the code of the sequences and the seed; makes no frame."""
        pixels = hashlib.sha256(np.ascontiguousarray(self.clean.images[start:stop]).data).hexdigest()[:16]
        return f"{pixels}/{name}-sequence-seed{self.seed}-{code_fingerprint()}"


@functools.cache
def code_fingerprint() -> str:
    """Twelve hex digits over the code that makes the sequences and the versions of the libraries that draw."""
    digest = hashlib.sha256(f"{np.__version__} {scipy.__version__} {PIL.__version__}".encode())
    folder = Path(sequences.__file__).parent
    for path in (*sorted(folder.glob("*.py")), *sorted(folder.parent.glob("_[a-z]*.py")), folder.parent / "spatter.py"):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


@dataclass(frozen=True)
class StoredSequences:
    """Sequences of the public layout: `<perturbation>.npy` uint8 [n, frames, size, size, 3], as the test split."""

    folder: Path
    indices: Rows
    labels: Labels | None
    source: ClassVar[str] = "official"

    @classmethod
    def open(cls, folder: Path, names: Sequence[str], size: int) -> StoredSequences:
        """All images of the files, without labels; DataError names the file that is missing or not as it must be."""
        counts = {name: len(_stored(folder / f"{name}.npy", sequences.frames_of(name), size)) for name in names}
        if len(set(counts.values())) > 1:
            raise DataError(f"the files in {folder} must hold equally many sequences, got {counts}")
        return cls(folder, np.arange(next(iter(counts.values()))), None)

    def __len__(self) -> int:
        return len(self.indices)

    def subset(self, indices: Rows, clean: Dataset) -> StoredSequences:
        """Only these images, with labels if the noise sequences begin with the images of `clean`."""
        chosen = StoredSequences(self.folder, indices, None)
        name = sequences.NOISE[0]
        first = chosen._file(name)[indices, 0]
        same = len(self) == len(clean) and np.array_equal(first, clean.images[indices])
        return StoredSequences(self.folder, indices, clean.labels[indices]) if same else chosen

    def frames(self, name: str, start: int, stop: int) -> Images:
        """See `Sequences`."""
        stored = self._file(name)[self.indices[start:stop]]
        return np.ascontiguousarray(stored.reshape(-1, *stored.shape[2:]))

    def key(self, name: str, start: int, stop: int) -> str:
        """Of the stored pixels themselves."""
        pixels = hashlib.sha256(self.frames(name, start, stop).data).hexdigest()[:16]
        return f"official-{pixels}/{name}-sequence"

    def _file(self, name: str) -> NDArray[np.uint8]:
        return _load(self.folder / f"{name}.npy")


def _load(path: Path) -> NDArray[np.uint8]:
    missing = "the folder must hold one file per perturbation; add it, or move the folder away"
    return read_array(path, missing=missing, broken="download it again", mapped=True)


def _stored(path: Path, frames: int, size: int) -> NDArray[np.uint8]:
    array = _load(path)
    if array.dtype != np.uint8 or array.shape[1:] != (frames, size, size, 3) or len(array) == 0:
        raise DataError(f"{path} must be uint8 [n, {frames}, {size}, {size}, 3], got {array.dtype} {list(array.shape)}")
    return array
