"""The images of a setting: a balanced part of the training images, held-out ones, test ones, and both corrupted."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cards_deck.corruptions import CORRUPTIONS, SEVERITIES, VALIDATION_CORRUPTIONS, corrupt
from cards_deck.corruptions._base import PUBLISHED_SIZE
from cards_deck.data import Dataset, load, with_label_noise
from cards_deck.errors import InputError
from cards_deck.inference.gates import CLEAN
from cards_deck.training.run import training_data
from eval.cells import balanced_subset, generator_fingerprint, ranks_by_pixels
from eval.tickets.cells import Setting

FIT = 2000  # training images on which the fit is measured
HELD_OUT_WHILE_TRAINING = 500  # validation images for accuracies on the way
Images = NDArray[np.uint8]
Domain = tuple[Images, NDArray[np.int64]]


@dataclass(frozen=True, eq=False)
class Stock:
    """All images of one setting.

    Attributes:
        train: what is trained on, with its label noise.
        validation: held-out images; everything that is chosen is chosen on them.
        few: the first of them, for accuracies on the way.
        domains: images and labels by split ("fit", "validation", "test") and there by name: "clean" first, then the
            corruptions. "fit" holds training images with the labels that they were trained with.
    """

    train: Dataset
    validation: Dataset
    few: Dataset
    domains: Mapping[str, Mapping[str, Domain]]


def stock(root: Path, setting: Setting, seed: int, cache: Path | None = None) -> Stock:
    """The images of `setting`; label noise has the cell's seed, nothing else here depends on it.

    `cache` keeps corrupted images between runs.
    """
    train, held, test = _splits(root, setting.data, setting.image_size)
    train, validation = _part(train, setting.images), _part(held, setting.validation)
    if setting.label_noise:
        train = with_label_noise(train, setting.label_noise, seed)
    seen = _part(test, setting.test)
    return Stock(
        train=train,
        validation=validation,
        few=_part(validation, min(HELD_OUT_WHILE_TRAINING, len(validation))),
        domains={
            "fit": {CLEAN: _pair(_part(train, min(FIT, len(train))))},
            "validation": _domains(validation, setting.corrupted, VALIDATION_CORRUPTIONS, cache),
            "test": _domains(seen, setting.test_corrupted, CORRUPTIONS, cache),
        },
    )


@functools.lru_cache(maxsize=1)
def _splits(root: Path, name: str, image_size: int | None) -> tuple[Dataset, Dataset, Dataset]:
    return *training_data(root, name, image_size), load(root, name, "test", image_size=image_size)


def _part(data: Dataset, size: int | None) -> Dataset:
    """`size` images, of every class as many."""
    if size is not None and size > len(data):
        raise InputError(
            f"the setting asks for {size:,} {data.split} images of {data.name!r}, which has {len(data):,}: ask for "
            "fewer"
        )
    return data.subset(balanced_subset(data.labels, ranks_by_pixels(data.images, 0), size))


def _pair(data: Dataset) -> Domain:
    return data.images, data.labels


def _domains(data: Dataset, corrupted: int, names: Sequence[str], cache: Path | None) -> dict[str, Domain]:
    """Clean, and under each corruption a balanced part of the images; small images have no corruptions."""
    found = {CLEAN: _pair(data)}
    if corrupted and data.image_size >= PUBLISHED_SIZE:
        part = _part(data, min(corrupted, len(data)))
        for name in names:
            found[name] = _kept(part, name, cache), part.labels
    return found


def _kept(data: Dataset, name: str, cache: Path | None) -> Images:
    """`data` under a corruption, read from `cache` where it lies there."""
    if cache is None:
        return in_turn(data.images, name)
    path = cache / f"{data.sha256[:16]}-{name}-{generator_fingerprint(name)}.npy"
    if path.is_file():
        return np.asarray(np.load(path, allow_pickle=False))
    images = in_turn(data.images, name)
    cache.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{np.random.default_rng().integers(2**60):x}.part")
    with temporary.open("wb") as file:
        np.save(file, images)
    temporary.replace(path)
    return images


def in_turn(images: Images, name: str) -> Images:
    """Each image under the corruption `name` at one severity: 1, 2, 3, 4, 5, 1, ..."""
    found = np.empty_like(images)
    for severity in SEVERITIES:
        rows = slice(severity - 1, None, len(SEVERITIES))
        found[rows] = corrupt(images[rows], name, severity, seed=0)
    return found
