"""Data sets as uint8 arrays in memory, read from a folder that the user names.

`load` finds, in that folder, in this order:

- for the name "folder": `<split>/<class>/*.png|jpg|...` (`folder.py`), the user's own classes and size;
- for "cifar10" and "cifar100": `cifar-10-batches-py/`, `cifar-100-python/`, as torchvision lays them out (`cifar.py`);
- for any other name, and where those are not there: `<name>_<split>.npz` (`npz.py`);
- nothing: with `download=True` the two CIFAR sets are fetched (`download.py`).

Everything refused is a DataError that names the file, what must hold and the remedy.
"""

from __future__ import annotations

from pathlib import Path

from cards_deck.data.cifar import ARCHIVES, load_cifar
from cards_deck.data.dataset import Dataset, image_digests
from cards_deck.data.download import download_archive
from cards_deck.data.folder import load_folder
from cards_deck.data.noise import with_label_noise
from cards_deck.data.npz import load_npz, save_npz
from cards_deck.data.split import split_train_validation
from cards_deck.errors import DataError, InputError

__all__ = ["Dataset", "image_digests", "load", "save_npz", "split_train_validation", "with_label_noise"]

SPLITS = ("train", "test")


def load(
    root: str | Path,
    name: str = "cifar10",
    split: str = "train",
    download: bool = False,
    image_size: int | None = None,
) -> Dataset:
    """The split "train" or "test" of the data set `name` found in `root`.

    `image_size` in pixels is needed for the name "folder", whose images are brought to it; the other layouts have one
    already, and refuse another. Raises DataError for data at fault, InputError for an impossible argument.
    """
    if split not in SPLITS:
        raise InputError(f"split must be one of {', '.join(SPLITS)}, not {split!r}")
    if name == "folder":
        if image_size is None:
            raise InputError("the name 'folder' needs image_size, the width in pixels to which images are brought")
        return load_folder(root, split, image_size)
    dataset = _load_fixed(Path(root), name, split, download)
    if image_size not in (None, dataset.image_size):
        raise InputError(f"{name!r} in {root} has images of {dataset.image_size} pixels, not {image_size}")
    return dataset


def _load_fixed(root: Path, name: str, split: str, download: bool) -> Dataset:
    archive, packed = ARCHIVES.get(name), root / f"{name}_{split}.npz"
    if archive and (root / archive.folder).is_dir():
        return load_cifar(root, archive, split)
    if packed.is_file():
        return load_npz(packed, name, split)
    if archive and download:
        download_archive(archive, root)
        return load_cifar(root, archive, split)
    raise DataError(_absent(root, name, packed))


def _absent(root: Path, name: str, packed: Path) -> str:
    if not root.is_dir():
        return f"{root}: the data root must be a folder, but there is none; make it, or name another"
    if archive := ARCHIVES.get(name):
        return (
            f"{root}: it must hold {archive.folder}/ or {packed.name}; `cards-deck train --download` fetches it "
            "(in Python: load with download=True), or copy one there"
        )
    return (
        f"{packed}: there is no such file; make it with numpy.savez(path, images=..., labels=..., classes=...), or use "
        f"one of the names {', '.join(ARCHIVES)} and folder"
    )
