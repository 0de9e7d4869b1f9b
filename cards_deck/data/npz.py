"""`<name>_<split>.npz`: `images` uint8 [n, h, h, 3], `labels` integers [n], `classes` strings [k]. Never a pickle."""

from __future__ import annotations

import os
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cards_deck.data.dataset import Dataset, check
from cards_deck.errors import DataError

KEYS = ("images", "labels", "classes")
REMEDY = "make it again with cards_deck.data.save_npz or numpy.savez(path, images=..., labels=..., classes=...)"


def load_npz(path: str | Path, name: str, split: str) -> Dataset:
    """Read one .npz file; DataError naming it where it is missing, truncated, of another kind or mislabelled."""
    path = Path(path)
    arrays = _read(path)
    labels, classes = arrays["labels"], arrays["classes"]
    if labels.dtype.kind not in "iu":
        raise DataError(f"{path}: labels must be integers, not {labels.dtype}; {REMEDY}")
    if classes.dtype.kind != "U" or classes.ndim != 1:
        raise DataError(f"{path}: classes must be strings [k], not {classes.dtype} {list(classes.shape)}; {REMEDY}")
    images, names = arrays["images"], tuple(str(name) for name in classes)
    check(images, labels.astype(np.int64), names, source=str(path))
    if not len(images):
        raise DataError(f"{path}: it must hold at least one image, but it holds none; {REMEDY}")
    return Dataset(images, labels.astype(np.int64), names, name, split)


def save_npz(dataset: Dataset, root: str | Path) -> Path:
    """Write `root/<name>_<split>.npz` under a temporary name, then rename it; returns its path."""
    path = Path(root) / f"{dataset.name}_{dataset.split}.npz"
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            np.savez(file, images=dataset.images, labels=dataset.labels, classes=np.array(dataset.classes))
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def _read(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with path.open("rb") as file:
            arrays = np.load(file, allow_pickle=False)
            if not isinstance(arrays, np.lib.npyio.NpzFile):
                raise DataError(f"{path}: it must be an .npz archive, not a single array; {REMEDY}")
            with arrays:
                if missing := [key for key in KEYS if key not in arrays.files]:
                    raise DataError(f"{path}: it lacks {', '.join(missing)}; {REMEDY}")
                return {key: arrays[key] for key in KEYS}
    except FileNotFoundError as error:
        raise DataError(f"{path}: there is no such file; {REMEDY}") from error
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error, MemoryError) as error:
        raise DataError(f"{path}: it is not a whole .npz file of plain arrays ({error}); {REMEDY}") from error
