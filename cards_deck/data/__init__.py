"""Data sets as uint8 arrays in memory, read from a folder that the user names.

`load` finds, in that folder, in this order:

- for "cifar10" and "cifar100": `cifar-10-batches-py/`, `cifar-100-python/`, as torchvision lays them out (`cifar.py`);
- `<name>_<split>.npz` (`npz.py`), for any name;
- for the name "folder": `<split>/<class>/*.png|jpg|...` (`folder.py`), the user's own classes and size.

Everything refused is a DataError that names the file, what must hold and the remedy.
"""

from __future__ import annotations

from pathlib import Path

from cards_deck.data.dataset import Dataset, image_digests
from cards_deck.data.npz import load_npz, save_npz
from cards_deck.data.split import split_train_validation
from cards_deck.errors import DataError, InputError

__all__ = ["Dataset", "image_digests", "load", "load_npz", "save_npz", "split_train_validation"]

SPLITS = ("train", "test")


def load(
    root: str | Path,
    name: str = "cifar10",
    split: str = "train",
    download: bool = False,
    image_size: int | None = None,
) -> Dataset:
    """The split "train" or "test" of the data set `name` found in `root`."""
    root = Path(root)
    if split not in SPLITS:
        raise InputError(f"split must be one of {', '.join(SPLITS)}, not {split!r}")
    path = root / f"{name}_{split}.npz"
    if path.is_file():
        return load_npz(path, name=name, split=split)
    raise DataError(f"{root}: no data set {name!r}")
