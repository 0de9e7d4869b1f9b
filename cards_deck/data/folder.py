"""`root/<split>/<class>/<image>`: the user's own classes and images, of any sizes.

Classes are the folders' names in sorted order, images of a class come in sorted order of their names. Files and folders
whose name begins with a dot are no part of the data (`.DS_Store`); everything else must be an image.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cards_deck.data.dataset import Dataset, check
from cards_deck.errors import DataError, InputError
from cards_deck.preprocess import read_square

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")


def load_folder(root: str | Path, split: str, image_size: int) -> Dataset:
    """Every image under `root/<split>`, through `resize_square` to `image_size`.

    Raises DataError naming the file: a missing or empty folder, a file that is no image or cannot be read, classes
    other than the training split's, and the same picture under two classes (one of which must be wrong).
    """
    if image_size < 1:
        raise InputError(f"image_size must be at least 1 pixel, not {image_size}")
    folder = Path(root) / split
    classes = _classes(folder)
    if split != "train" and (Path(root) / "train").is_dir():
        _check_same(folder, classes, Path(root) / "train")
    paths, labels = _files(folder, classes)
    images = np.empty((len(paths), image_size, image_size, 3), np.uint8)
    for row, path in enumerate(paths):
        images[row] = _image(path, image_size)
    _check_contradictions(paths, labels, images)
    check(images, labels, tuple(classes), source=str(folder))
    return Dataset(images, labels, tuple(classes), "folder", split)


def _visible(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise DataError(
            f"{folder}: it must be a folder with one folder of images per class ({error.strerror}); "
            "make it, or name another data root"
        ) from error


def _classes(folder: Path) -> dict[str, Path]:
    """Class name -> its folder, sorted by name."""
    found: dict[str, Path] = {}
    for path in _visible(folder):
        if not path.is_dir():
            raise DataError(f"{path}: an image must lie in the folder of its class; move it there or delete it")
        # macOS hands out decomposed accents and Linux what was written: one class must have one name on both.
        name = unicodedata.normalize("NFC", path.name)
        if name in found:
            raise DataError(f"{path}: its class has the same name as {found[name]}; merge the two folders")
        found[name] = path
    if len(found) < 2:
        raise DataError(
            f"{folder}: there must be a folder for each of at least two classes, not {len(found)}; add them"
        )
    return dict(sorted(found.items()))


def _files(folder: Path, classes: dict[str, Path]) -> tuple[list[Path], NDArray[np.int64]]:
    paths: list[Path] = []
    labels: list[int] = []
    for label, path in enumerate(classes.values()):
        files = _visible(path)
        if not files:
            raise DataError(f"{path}: a class must have at least one image, but it has none; add images or delete it")
        for file in files:
            if not file.is_file() or file.suffix.lower() not in SUFFIXES:
                raise DataError(f"{file}: a class may hold only images ({', '.join(SUFFIXES)}); move or delete it")
        paths += files
        labels += [label] * len(files)
    return paths, np.array(labels, np.int64)


def _image(path: Path, size: int) -> NDArray[np.uint8]:
    try:
        return read_square(path, size)
    except InputError as error:
        raise DataError(f"{error}; replace it by a good copy or delete it") from error


def _check_same(folder: Path, classes: dict[str, Path], train: Path) -> None:
    expected = _classes(train)
    for name in sorted(classes.keys() ^ expected.keys()):
        has, lacks = (folder, train) if name in classes else (train, folder)
        raise DataError(
            f"{has / name}: both splits must have the same classes, but {lacks} has no {name!r}; "
            "rename, add or delete the class so that they agree"
        )


def _check_contradictions(paths: Sequence[Path], labels: NDArray[np.int64], images: NDArray[np.uint8]) -> None:
    first: dict[bytes, int] = {}
    pairs = []
    for row, image in enumerate(images):
        other = first.setdefault(hashlib.sha256(image.data).digest(), row)
        if labels[other] != labels[row]:
            pairs.append(f"{paths[other]} and {paths[row]}")
    if pairs:
        raise DataError(
            f"{'; '.join(pairs[:3])}: the same picture under two classes ({len(pairs)} such pairs); "
            "keep the one whose class is right and delete the other"
        )
