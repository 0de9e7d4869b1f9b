"""Small generated data sets in every layout that `cards_deck.data` reads; shared by several test modules."""

from __future__ import annotations

import hashlib
import pickle
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cards_deck.data import Dataset
from cards_deck.data.cifar import Archive

CLASSES = ("ant", "bee", "cat", "dog")


def make_dataset(n: int, size: int = 8, classes: tuple[str, ...] = CLASSES, seed: int = 0) -> Dataset:
    """`n` random images; every class occurs where n >= len(classes)."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (n, size, size, 3), dtype=np.uint8)
    labels = rng.permutation(np.arange(n) % len(classes)).astype(np.int64)
    return Dataset(images, labels, classes, "own", "train")


def write_folder(dataset: Dataset, root: Path) -> Path:
    """`root/<split>/<class>/NNNN.png`, lossless; returns the split's folder."""
    for row, (image, label) in enumerate(zip(dataset.images, dataset.labels, strict=True)):
        path = root / dataset.split / dataset.classes[label] / f"{row:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    return root / dataset.split


def batch_of(dataset: Dataset, labels_key: str = "labels") -> dict[str, Any]:
    """The dict of an official batch file for 32-pixel images: rows of 3072 bytes, plane after plane."""
    planes = np.ascontiguousarray(dataset.images.transpose(0, 3, 1, 2)).reshape(len(dataset), -1)
    return {"batch_label": "part", labels_key: dataset.labels.tolist(), "data": planes, "filenames": ["a.png"]}


def write_batches(dataset: Dataset, root: Path, parts: int = 5) -> Path:
    """`root/cifar-10-batches-py/`: the training set in five batches, a test batch of 4 images, the class names."""
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    for number, rows in enumerate(np.array_split(np.arange(len(dataset)), parts), start=1):
        write_pickle(folder / f"data_batch_{number}", batch_of(dataset.subset(rows)))
    write_pickle(folder / "test_batch", batch_of(make_dataset(4, size=32, classes=dataset.classes, seed=9)))
    write_pickle(folder / "batches.meta", {"label_names": list(dataset.classes), "num_cases_per_batch": 10})
    return folder


def write_pickle(path: Path, value: object) -> None:
    path.write_bytes(pickle.dumps(value, protocol=4))


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def make_archive(folder: Path, url: str = "http://invalid./", archive_md5: str = "") -> Archive:
    """The description of the files that `write_batches` wrote, as the official one describes the official files."""
    files = {path.name: (path.name, md5(path)) for path in folder.iterdir()}
    return Archive(
        name="cifar10",
        url=url,
        md5=archive_md5,
        folder=folder.name,
        train=tuple(files[name] for name in sorted(files) if name.startswith("data_batch")),
        test=(files["test_batch"],),
        meta=files["batches.meta"],
        labels_key="labels",
        classes_key="label_names",
    )


def pack(folder: Path, path: Path) -> Path:
    """The folder as a .tar.gz, as it is published."""
    with tarfile.open(path, "w:gz") as tar:
        tar.add(folder, arcname=folder.name)
    return path
