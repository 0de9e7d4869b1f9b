"""The images of every cell, read from files in the public layout of CIFAR-10-C."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cards_deck.corruptions import SEVERITIES
from cards_deck.data import Dataset
from cards_deck.errors import DataError
from eval.arrays import read_array
from eval.cells import Images, Labels, balanced_subset, ranks_by_index, ranks_by_pixels
from eval.layout.manifest import read_manifest

REMEDY = "download it again, or write the folder again"
REWRITE = "write the folder again, or delete manifest.json where its files are official ones"
MISSING = (
    "the folder must hold labels.npy and one file per corruption; add it, or move the folder away and the images are "
    "made here"
)


@dataclass(frozen=True)
class StoredCells:
    """Cells of the public layout: `<corruption>.npy` uint8 [5 * n, h, w, 3] in severity order, and `labels.npy`.

    `source` is "official" unless the folder says by its manifest.json that its files were made by this project; then
    it is "regenerated", with the manifest's seed and frost, and `hashes` holds the SHA-256 of the pixels of each
    corruption's five severities, which what is read must have.
    """

    folder: Path
    indices: NDArray[np.intp]
    labels: Labels
    source: str = "official"
    seed: int = 0
    frost: str = "official"
    hashes: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @classmethod
    def open(cls, folder: Path, names: Sequence[str], clean: Dataset, *, subset: int | None, seed: int) -> StoredCells:
        """Check that every file is there and well formed; DataError names the file and what must hold.

        The subset is that of `RegeneratedCells` where `clean` are the images that were corrupted (the same labels in
        the same order), else it is drawn by place.
        """
        labels = _stored_labels(folder / "labels.npy", len(clean.classes))
        for corruption in names:
            _check_stored_images(folder / f"{corruption}.npy", len(labels), clean.image_size)
        same = np.array_equal(labels, clean.labels)
        ranks = ranks_by_pixels(clean.images, seed) if same else ranks_by_index(len(labels), seed)
        indices = balanced_subset(labels, ranks, subset)
        manifest = read_manifest(folder)
        if manifest is None:
            return cls(folder, indices, labels[indices])
        hashes = _checked_hashes(folder, names, manifest)
        made = "regenerated", int(manifest["seed"]), str(manifest["frost"])
        return cls(folder, indices, labels[indices], *made, hashes)

    def images(self, corruption: str, severity: int) -> Images:
        """uint8 [n, h, w, 3]: the chosen images, read from the file's block of that severity.

        DataError naming file and severity where a folder made here holds other pixels than its manifest says.
        """
        path = self.folder / f"{corruption}.npy"
        stored = _load(path)
        count = len(stored) // len(SEVERITIES)
        block = stored[(severity - 1) * count : severity * count]
        if self.hashes and hashlib.sha256(block.data).hexdigest() != self.hashes[corruption][severity - 1]:
            raise DataError(f"{path}, severity {severity}, must hold the pixels that manifest.json names: {REWRITE}")
        return np.ascontiguousarray(block[self.indices])

    def part(self, rows: NDArray[np.integer]) -> StoredCells:
        """The same cells of the images `rows` only."""
        return dataclasses.replace(self, indices=self.indices[rows], labels=self.labels[rows])

    def key(self, corruption: str, severity: int) -> str:
        """Of the stored pixels themselves (read at every call), and the cell."""
        pixels = hashlib.sha256(self.images(corruption, severity).data).hexdigest()[:16]
        return f"stored-{pixels}/{corruption}-{severity}"


def _load(path: Path) -> NDArray[Any]:
    return read_array(path, missing=MISSING, broken=REMEDY, mapped=True)


def _checked_hashes(folder: Path, names: Sequence[str], manifest: Mapping[str, Any]) -> dict[str, list[str]]:
    """Corruption -> SHA-256 of the pixels of each severity; the labels are compared with theirs at once."""
    found = hashlib.sha256((folder / "labels.npy").read_bytes()).hexdigest()
    if found != manifest["labels_sha256"]:
        raise DataError(f"{folder / 'labels.npy'} must hold the labels that manifest.json names: {REWRITE}")
    files = manifest["files"]
    strangers = [name for name in names if f"{name}.npy" not in files]
    if strangers:
        raise DataError(f"{folder / strangers[0]}.npy must be one of the files that manifest.json names: {REWRITE}")
    return {name: list(files[f"{name}.npy"]["severities"]) for name in names}


def _stored_labels(path: Path, classes: int) -> Labels:
    labels = _load(path)
    if labels.ndim != 1 or labels.dtype.kind not in "iu" or len(labels) == 0 or len(labels) % len(SEVERITIES):
        raise DataError(f"{path} must hold integer labels [5 * n], got {labels.dtype} {list(labels.shape)}; {REMEDY}")
    blocks = np.asarray(labels, dtype=np.int64).reshape(len(SEVERITIES), -1)
    if not (blocks == blocks[0]).all():
        raise DataError(f"{path} must repeat the same labels for each of the five severities; {REMEDY}")
    if blocks.min() < 0 or blocks.max() >= classes:
        found = f"{blocks.min()} to {blocks.max()}"
        raise DataError(f"{path} must hold labels 0 to {classes - 1}, got {found}; {REMEDY}")
    return np.asarray(blocks[0])


def _check_stored_images(path: Path, n: int, size: int) -> None:
    images, wanted = _load(path), (len(SEVERITIES) * n, size, size, 3)
    if images.dtype != np.uint8 or images.shape != wanted:
        raise DataError(
            f"{path} must be uint8 {list(wanted)}, got {images.dtype} {list(images.shape)} (labels.npy says how many "
            f"images, the deck which size); {REMEDY}"
        )
