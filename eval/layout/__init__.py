"""Corrupted images in the public layout of CIFAR-10-C, which other tools read, with a manifest of hashes.

FOLDER/<corruption>.npy is uint8 [5 * n, size, size, 3], severities 1 to 5 one after the other, FOLDER/labels.npy the n
labels five times, as in https://zenodo.org/records/2535967. FOLDER/manifest.json says that the files were made here,
from what and with which seed, and holds the SHA-256 of each file and of the pixels of each severity.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cards_deck.corruptions import REGISTRY, SEVERITIES
from cards_deck.errors import InputError
from cards_deck.files import write_bytes
from eval.cells import Images, generator_fingerprint
from eval.layout import disk
from eval.layout.blocks import Cell, NewFile, write_cells
from eval.layout.manifest import Json, begin_manifest, identity, read_manifest, save_manifest

__all__ = ["Advance", "read_manifest", "write_layout"]


class Advance(Protocol):
    """Told of progress, as `eval.progress.Progress.add` is: of 5 * n images a corruption, so many more are there."""

    def __call__(self, images: int, what: str, *, cached: bool = False) -> None: ...


def write_layout(
    images: Images,
    labels: NDArray[np.integer],
    folder: Path,
    corruptions: Sequence[str],
    *,
    seed: int,
    processes: int = 1,
    progress: Advance | None = None,
) -> Json:
    """Write `corruptions` of clean images uint8 [n, size, size, 3] with labels [n] (not negative) into `folder`.

    Each file appears whole or not at all. A run that was killed is continued: files that are there with the right hash
    are kept. `processes` share the cells; memory does not grow with n.

    Returns:
        The manifest: the same from every run and any number of processes.

    Raises:
        InputError: arguments that do not fit each other, or an unknown corruption.
        DataError: the folder cannot be written, holds other files of these names, or is being written by another run.
    """
    _check(images, labels, corruptions, processes)
    progress = progress or _unseen
    with disk.writing(folder):
        stored_labels = disk.npy(np.tile(_small(labels), len(SEVERITIES)))
        manifest = begin_manifest(folder, corruptions, identity(images, stored_labels, seed))
        if not (folder / "labels.npy").is_file():
            write_bytes(folder / "labels.npy", stored_labels)
        missing = []
        for name in corruptions:
            if _is_there(folder, name, manifest):
                progress(len(SEVERITIES) * len(images), name, cached=True)
            else:
                missing.append(name)
        if missing:
            _fill(images, folder, missing, manifest, processes, progress)
    return manifest


def _is_there(folder: Path, name: str, manifest: Json) -> bool:
    path = folder / f"{name}.npy"
    entry = manifest["files"].get(path.name)
    made_so = entry is not None and entry["fingerprint"] == generator_fingerprint(name)
    return made_so and path.is_file() and disk.sha256(path) == entry["sha256"]


def _fill(
    images: Images, folder: Path, missing: Sequence[str], manifest: Json, processes: int, progress: Advance
) -> None:
    """Make every cell of the missing files; a file gets its name when its five severities are there."""
    disk.check_space(folder, (len(SEVERITIES) * len(missing) + 1) * images.nbytes)
    clean = disk.save_temporary(folder, images)
    files = [NewFile.begin(disk.temporary(folder, name), name, images.shape) for name in missing]
    hashes: dict[NewFile, dict[int, str]] = {file: {} for file in files}
    cells = [Cell(file, severity, clean, manifest["seed"]) for file in files for severity in SEVERITIES]
    for cell, sha256 in write_cells(cells, processes):
        done = hashes[cell.file]
        done[cell.severity] = sha256
        if len(done) == len(SEVERITIES):
            name = f"{cell.file.name}.npy"
            made = {"sha256": disk.sha256(cell.file.path), "severities": [done[severity] for severity in SEVERITIES]}
            manifest["files"][name] = {**made, "fingerprint": generator_fingerprint(cell.file.name)}
            save_manifest(folder, manifest)
            disk.publish(cell.file.path, folder / name)
        progress(len(images), f"{cell.file.name} {cell.severity}")


def _small(labels: NDArray[np.integer]) -> NDArray[np.integer]:
    """uint8 as in the public files, where that holds the labels."""
    return labels.astype(np.uint8 if labels.max() < 256 else np.int64)


def _unseen(images: int, what: str, *, cached: bool = False) -> None:
    pass


def _check(images: Images, labels: NDArray[np.integer], corruptions: Sequence[str], processes: int) -> None:
    for name in corruptions:
        _ = REGISTRY[name]
    if len(set(corruptions)) != len(corruptions) or not corruptions:
        raise InputError(f"corruptions must be one or more different names, got {list(corruptions)}")
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8 or images.ndim != 4 or len(images) == 0:
        raise InputError("images must be a numpy array of uint8 [n, size, size, 3] with at least one image")
    if not isinstance(labels, np.ndarray) or labels.dtype.kind not in "iu" or labels.shape != (len(images),):
        raise InputError(f"labels must be a numpy array of {len(images)} integers, one per image")
    if labels.min() < 0:
        raise InputError(f"labels must not be negative, got {labels.min()}")
    if processes < 1:
        raise InputError(f"processes must be at least 1, got {processes}")
