"""One split of a data set, checked when it is made."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from cards_deck.errors import DataError


@dataclass(frozen=True, eq=False)
class Dataset:
    """Square RGB images with labels, wholly in memory.

    images:  uint8 [n, h, h, 3]
    labels:  int64 [n], indices into `classes`
    classes: names, distinct
    name:    "cifar10", "cifar100", "folder", ... ; split: "train", "test", "validation"

    Raises DataError where the arrays contradict each other.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    name: str
    split: str

    def __post_init__(self) -> None:
        check(self.images, self.labels, self.classes, source=f"data set {self.name!r} ({self.split})")

    def __len__(self) -> int:
        return len(self.images)

    @property
    def image_size(self) -> int:
        """Height and width in pixels."""
        return int(self.images.shape[1])

    @cached_property
    def sha256(self) -> str:
        """Hex SHA-256 of shape, pixels and labels, in the order in which they are held."""
        digest = hashlib.sha256(repr(self.images.shape).encode())
        digest.update(np.ascontiguousarray(self.images).data)
        digest.update(np.ascontiguousarray(self.labels, dtype="<i8").data)
        return digest.hexdigest()

    def subset(self, indices: NDArray[np.integer] | slice, split: str | None = None) -> Dataset:
        """The images at `indices`, in that order; `split` renames the part."""
        return Dataset(self.images[indices], self.labels[indices], self.classes, self.name, split or self.split)


def check(images: NDArray[np.uint8], labels: NDArray[np.int64], classes: tuple[str, ...], source: str) -> None:
    """Raise DataError, beginning with `source`, unless the three agree."""
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3 or images.shape[1] != images.shape[2]:
        raise DataError(
            f"{source}: images must be uint8 [n, size, size, 3], not {images.dtype} {list(images.shape)}; "
            "convert them to square RGB images with values 0..255"
        )
    if labels.dtype != np.int64 or labels.ndim != 1:
        raise DataError(f"{source}: labels must be int64 [n], not {labels.dtype} {list(labels.shape)}; convert them")
    if len(images) != len(labels):
        raise DataError(
            f"{source}: every image needs one label, but there are {len(images)} images and {len(labels)} labels; "
            "the file is truncated or mixed up: make it again"
        )
    _check_classes(classes, source)
    bad = np.flatnonzero((labels < 0) | (labels >= len(classes)))
    if len(bad):
        raise DataError(
            f"{source}: labels must be 0..{len(classes) - 1} for {len(classes)} classes, but image {bad[0]} has "
            f"{labels[bad[0]]} ({len(bad)} such labels); correct the labels or complete the class names"
        )


def _check_classes(classes: tuple[str, ...], source: str) -> None:
    if not classes or not all(name.strip() for name in classes):
        raise DataError(f"{source}: classes must be names, one per class, not {classes!r}; name every class")
    repeated = sorted({name for name in classes if classes.count(name) > 1})
    if repeated:
        raise DataError(f"{source}: class names must be distinct, but {', '.join(repeated)} is repeated; rename one")


def image_digests(images: NDArray[np.uint8]) -> list[bytes]:
    """SHA-256 of each image's raw pixels, row by row, RGB: [n] digests of 32 bytes."""
    return [hashlib.sha256(image.data).digest() for image in np.ascontiguousarray(images)]
