"""Images from outside a deck's classes: public data sets under the data root, generated noise, and the user's own."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from cards_deck import data
from cards_deck.data.folder import SUFFIXES
from cards_deck.errors import DataError, InputError
from cards_deck.preprocess import read_square, resize_square
from cards_deck.spectrum import Images
from eval.arrays import read_array
from eval.cells import balanced_subset, ranks_by_index, ranks_by_pixels

Group = Literal["near", "far", "noise", "own"]

GENERATED = 2000  # images of each kind of generated noise, unless fewer are asked for
CIFAR = ("cifar10", "cifar100")
KINDS = "name a folder of images, a .npy array or a .npz file with 'images'"
# Name here, name of the data set under the root. The other CIFAR set is near to either; all is far from other data.
PUBLIC = (("cifar100", "cifar100"), ("cifar10", "cifar10"), ("textures", "dtd10"), ("digits", "mnist"))


@dataclass(frozen=True, eq=False)
class OutsideSet:
    """`images` uint8 [n, h, h, 3] of the deck's size that none of its classes fits; `what` says where from."""

    name: str
    group: Group
    images: Images
    what: str

    @property
    def key(self) -> str:
        """A cache key: of the pixels."""
        digest = hashlib.sha256(repr(self.images.shape).encode())
        digest.update(np.ascontiguousarray(self.images).data)
        return f"outside-{digest.hexdigest()[:16]}"


@dataclass(frozen=True)
class Skipped:
    """A set that was not measured, and why."""

    name: str
    reason: str


def outside_sets(
    root: Path, inside: str, size: int, *, subset: int | None, seed: int, own: tuple[tuple[str, Path], ...] = ()
) -> tuple[list[OutsideSet], list[Skipped]]:
    """Every set that can be had for a deck that knows the data set `inside`, at `size` pixels; at most `subset` images.

    Public sets that are absent are skipped. `own` sets were asked for, so one that cannot be read raises DataError.
    """
    found: list[OutsideSet] = []
    skipped: list[Skipped] = []
    for name, stored in PUBLIC:
        if stored == inside:
            continue
        try:
            images = _public(root, stored, size, subset, seed)
        except DataError as error:
            skipped.append(Skipped(name, str(error).replace(str(root), "DATA")))
            continue
        near = stored in CIFAR and inside in CIFAR
        found.append(OutsideSet(name, "near" if near else "far", images, f"test split of {stored}"))
    count = min(subset or GENERATED, GENERATED)
    found += [OutsideSet(name, "noise", make(count, size, seed), what) for name, (make, what) in NOISES.items()]
    means = (f"{group}{field}" for group in ("near", "far", "noise") for field in ("", "_fpr95"))
    taken = {*NOISES, *(name for name, _ in PUBLIC), *means}
    for name, path in own:
        if name in taken:
            raise InputError(f"an own set may not be called {name!r}, and each only once: choose another name")
        taken.add(name)
        found.append(OutsideSet(name, "own", read_images(path, size, limit=subset, seed=seed), "named by the user"))
    return found, skipped


def _public(root: Path, name: str, size: int, subset: int | None, seed: int) -> Images:
    loaded = data.load(root, name=name, split="test")
    chosen = balanced_subset(loaded.labels, ranks_by_pixels(loaded.images, seed), subset)
    return fitted(loaded.images[chosen], size)


def fitted(images: Images, size: int) -> Images:
    """uint8 [n, h, w, 3] -> uint8 [n, size, size, 3], as the server fits an image; unchanged at that size."""
    if images.shape[1:3] == (size, size):
        return np.ascontiguousarray(images)
    return np.stack([resize_square(image, size) for image in images])


def read_images(path: Path, size: int, *, limit: int | None = None, seed: int = 0) -> Images:
    """All images (or a seeded choice of `limit`) below a folder, or of a .npy file or the "images" of a .npz file.

    DataError, naming the file, where there is none, it is broken or of another kind.
    """
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file() and file.suffix.lower() in SUFFIXES)
        if not files:
            raise DataError(f"{path}: the folder must hold images ({', '.join(SUFFIXES)}), but there is none")
        kept = np.sort(np.argsort(ranks_by_index(len(files), seed))[:limit])
        return np.stack([_image(files[place], size) for place in kept])
    images = _array(path)
    kept = np.sort(np.argsort(ranks_by_index(len(images), seed))[:limit])
    return fitted(images[kept], size)


def _image(path: Path, size: int) -> Images:
    try:
        return read_square(path, size)
    except InputError as error:
        raise DataError(f"{error}; replace it by a good copy or delete it") from error


def _array(path: Path) -> Images:
    array = read_array(path, missing=KINDS, broken=KINDS, member="images")
    if array.dtype != np.uint8 or array.ndim != 4 or array.shape[3] != 3 or not array.size:
        raise DataError(f"{path}: images must be uint8 [n >= 1, h, w, 3], not {array.dtype} {list(array.shape)}")
    return np.asarray(array)


def _uniform(count: int, size: int, seed: int) -> Images:
    return np.random.default_rng([seed, 1]).integers(0, 256, (count, size, size, 3), np.uint8)


def _gaussian(count: int, size: int, seed: int) -> Images:
    drawn = np.random.default_rng([seed, 2]).normal(127.5, 64, (count, size, size, 3))
    return np.clip(np.rint(drawn), 0, 255).astype(np.uint8)


def _constant(count: int, size: int, seed: int) -> Images:
    colours = np.random.default_rng([seed, 3]).integers(0, 256, (count, 1, 1, 3), np.uint8)
    return np.ascontiguousarray(np.broadcast_to(colours, (count, size, size, 3)))


NOISES: dict[str, tuple[Callable[[int, int, int], Images], str]] = {
    "uniform_noise": (_uniform, "generated: every value of every pixel uniform in 0..255"),
    "gaussian_noise": (_gaussian, "generated: every value normal with mean 127.5 and deviation 64, clipped"),
    "constant_colours": (_constant, "generated: each image one random colour"),
}
