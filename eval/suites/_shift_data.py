"""Images gathered outside the training data: CIFAR-10.1, and a folder of the user's own."""

from __future__ import annotations

import hashlib
import unicodedata
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from cards_deck.data.folder import SUFFIXES
from cards_deck.errors import DataError, InputError
from cards_deck.preprocess import read_square
from cards_deck.spectrum import Images
from eval.arrays import read_array
from eval.cells import Labels, balanced_subset, ranks_by_index, ranks_by_pixels

VERSION = "cifar10.1_v6"
WHERE = "get it from github.com/modestyachts/CIFAR-10.1 (folder datasets) and put it there"


@dataclass(frozen=True, eq=False)
class Shifted:
    """`images` uint8 [n, h, h, 3]; `labels` int64 [n] of the deck's classes, or None where nobody says them."""

    images: Images
    labels: Labels | None

    @cached_property
    def sha256(self) -> str:
        """Hex SHA-256 of shape, pixels and labels."""
        digest = hashlib.sha256(repr(self.images.shape).encode())
        digest.update(np.ascontiguousarray(self.images).data)
        digest.update(b"" if self.labels is None else np.ascontiguousarray(self.labels, dtype="<i8").data)
        return digest.hexdigest()


def cifar101(root: Path, size: int, *, subset: int | None, seed: int) -> Shifted:
    """CIFAR-10.1 v6 (Recht et al., ICML 2019) in its public layout; DataError naming the file and where to get it."""
    images, labels = (
        read_array(root / f"{VERSION}_{part}.npy", missing=WHERE, broken=WHERE) for part in ("data", "labels")
    )
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != (size, size, 3) or not len(images):
        raise DataError(
            f"{root / VERSION}_data.npy: images must be uint8 [n, {size}, {size}, 3], the deck's size, not "
            f"{images.dtype} {list(images.shape)}; {WHERE}"
        )
    if labels.dtype.kind not in "iu" or labels.shape != (len(images),):
        raise DataError(
            f"{root / VERSION}_labels.npy: labels must be integers [{len(images)}], one per image, not "
            f"{labels.dtype} {list(labels.shape)}; {WHERE}"
        )
    if labels.min() < 0 or labels.max() > 9:
        raise DataError(f"{root / VERSION}_labels.npy: labels must be 0 to 9; {WHERE}")
    known = labels.astype(np.int64)
    chosen = balanced_subset(known, ranks_by_pixels(images, seed), subset)
    return Shifted(images[chosen], known[chosen])


def user_folder(root: Path, classes: tuple[str, ...], size: int, *, subset: int | None, seed: int) -> Shifted:
    """The images in `root/test`, or in `root` where that has no such folder, brought to `size` as the server does.

    In subfolders they are labelled: each must have the name of one of the deck's `classes`, and not all need to be
    there. Directly in the folder they are not. DataError, naming the file, for anything else.
    """
    folder = root / "test" if (root / "test").is_dir() else root
    entries = _visible(folder)
    inside = [path for path in entries if path.is_dir()]
    if inside and len(inside) < len(entries):
        loose = next(path for path in entries if not path.is_dir())
        raise DataError(f"{loose}: images must lie all in folders of their classes or all beside each other; move it")
    if not inside:
        files = _images_in(folder, entries)
        kept = np.sort(np.argsort(ranks_by_index(len(files), seed))[:subset])
        return Shifted(_read([files[place] for place in kept], size), None)
    places = {unicodedata.normalize("NFC", name): place for place, name in enumerate(classes)}
    paths: list[Path] = []
    labels: list[int] = []
    for path in inside:
        name = unicodedata.normalize("NFC", path.name)
        if name not in places:
            raise DataError(
                f"{path}: a folder must have the name of one of the deck's classes, {', '.join(classes)}; rename or "
                "move it"
            )
        found = _images_in(path, _visible(path))
        paths += found
        labels += [places[name]] * len(found)
    known = np.array(labels, np.int64)
    chosen = balanced_subset(known, ranks_by_index(len(known), seed), subset)
    return Shifted(_read([paths[place] for place in chosen], size), known[chosen])


def _visible(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise DataError(f"{folder}: it must be a folder of images ({error.strerror}); name another") from error


def _images_in(folder: Path, entries: list[Path]) -> list[Path]:
    if not entries:
        raise DataError(f"{folder}: there must be at least one image in it; add images or delete it")
    for path in entries:
        if not path.is_file() or path.suffix.lower() not in SUFFIXES:
            raise DataError(f"{path}: only images ({', '.join(SUFFIXES)}) may lie here; move or delete it")
    return entries


def _read(paths: list[Path], size: int) -> Images:
    try:
        return np.stack([read_square(path, size) for path in paths])
    except InputError as error:
        raise DataError(f"{error}; replace it by a good copy or delete it") from error
