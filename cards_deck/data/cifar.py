"""CIFAR-10 and CIFAR-100 as torchvision lays them out: the extracted official archives, every file checked by MD5.

Source: Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009; https://www.cs.toronto.edu/~kriz/cifar.html
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cards_deck.data.dataset import Dataset, check
from cards_deck.data.unpickling import read_batch
from cards_deck.errors import DataError


@dataclass(frozen=True)
class Archive:
    """What an official archive holds: file names with their MD5, and the keys inside the files."""

    name: str
    url: str
    md5: str
    folder: str
    train: tuple[tuple[str, str], ...]
    test: tuple[tuple[str, str], ...]
    meta: tuple[str, str]
    labels_key: str
    classes_key: str

    @property
    def remedy(self) -> str:
        """How a person repairs a broken copy."""
        return (
            f"delete {self.folder}/ and let `cards-deck train --download` fetch it again (in Python: load with "
            f"download=True), or extract {self.url} there"
        )


CIFAR10 = Archive(
    name="cifar10",
    url="https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
    md5="c58f30108f718f92721af3b95e74349a",
    folder="cifar-10-batches-py",
    train=(
        ("data_batch_1", "c99cafc152244af753f735de768cd75f"),
        ("data_batch_2", "d4bba439e000b95fd0a9bffe97cbabec"),
        ("data_batch_3", "54ebc095f3ab1f0389bbae665268c751"),
        ("data_batch_4", "634d18415352ddfa80567beed471001a"),
        ("data_batch_5", "482c414d41f54cd18b22e5b47cb7c3cb"),
    ),
    test=(("test_batch", "40351d587109b95175f43aff81a1287e"),),
    meta=("batches.meta", "5ff9c542aee3614f3951f8cda6e48888"),
    labels_key="labels",
    classes_key="label_names",
)
CIFAR100 = Archive(
    name="cifar100",
    url="https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
    md5="eb9058c3a382ffc7106e4002c42a8d85",
    folder="cifar-100-python",
    train=(("train", "16019d7e3df5f24257cddd939b257f8d"),),
    test=(("test", "f0ef6b0ae62326f3e7ffdfab6717acfc"),),
    meta=("meta", "7973b15100ade9c7d40fb424638fde48"),
    labels_key="fine_labels",
    classes_key="fine_label_names",
)
ARCHIVES = {archive.name: archive for archive in (CIFAR10, CIFAR100)}


def load_cifar(root: str | Path, archive: Archive, split: str) -> Dataset:
    """The split of `archive` extracted under `root`; DataError naming the file that is missing, altered or wrong."""
    folder = Path(root) / archive.folder
    classes = _classes(folder, archive)
    parts = [_batch(folder, file, archive) for file in (archive.train if split == "train" else archive.test)]
    images = np.concatenate([images for images, _ in parts])
    labels = np.concatenate([labels for _, labels in parts])
    check(images, labels, classes, source=str(folder))
    return Dataset(images, labels, classes, archive.name, split)


def _read(folder: Path, file: tuple[str, str], archive: Archive) -> dict[str, Any]:
    """Read once, so that the bytes that are decoded are the bytes that were checked."""
    name, expected = file
    path = folder / name
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: it must be there and readable ({error.strerror}); {archive.remedy}") from error
    found = hashlib.md5(data, usedforsecurity=False).hexdigest()
    if found != expected:
        raise DataError(
            f"{path}: its MD5 must be {expected}, not {found}: it is truncated or altered; {archive.remedy}"
        )
    return read_batch(data, str(path))


def _classes(folder: Path, archive: Archive) -> tuple[str, ...]:
    names = _read(folder, archive.meta, archive).get(archive.classes_key)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise DataError(
            f"{folder / archive.meta[0]}: {archive.classes_key!r} must be a list of names; {archive.remedy}"
        )
    return tuple(names)


def _batch(folder: Path, file: tuple[str, str], archive: Archive) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """(images uint8 [n, 32, 32, 3], labels int64 [n]); on disk an image is its red, green and blue planes in a row."""
    batch, source = _read(folder, file, archive), str(folder / file[0])
    pixels, labels = batch.get("data"), batch.get(archive.labels_key)
    if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8 or pixels.ndim != 2 or pixels.shape[1] != 3072:
        raise DataError(f"{source}: 'data' must be a uint8 array [n, 3072]; {archive.remedy}")
    if not isinstance(labels, list) or not all(isinstance(label, int) for label in labels):
        raise DataError(f"{source}: {archive.labels_key!r} must be a list of integers; {archive.remedy}")
    if len(labels) != len(pixels):
        raise DataError(
            f"{source}: it must hold one label per image, not {len(labels)} for {len(pixels)}; {archive.remedy}"
        )
    images = np.ascontiguousarray(pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
    return images, np.array(labels, np.int64)
