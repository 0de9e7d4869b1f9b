"""Cells read from a folder that was written here: they are what its manifest says, or they are refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cards_deck.corruptions import corrupt
from cards_deck.data import Dataset
from cards_deck.errors import DataError
from cards_deck.inference.fake_deck import fake_images
from eval.layout import write_layout
from eval.stored_cells import StoredCells

NAMES, N = ("fog", "contrast"), 6
CLEAN = Dataset(fake_images(N), np.arange(N) % 3, ("a", "b", "c"), "cifar10", "test")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_layout(CLEAN.images, CLEAN.labels, tmp_path, NAMES, seed=4)
    return tmp_path


def _open(folder: Path) -> StoredCells:
    return StoredCells.open(folder, NAMES, CLEAN, subset=4, seed=0)


def _another_pixel(folder: Path) -> None:
    stored = np.load(folder / "fog.npy", mmap_mode="r+")
    stored[2 * N] ^= 1
    stored.flush()


def _another_label(folder: Path) -> None:
    np.save(folder / "labels.npy", np.zeros(5 * N, np.uint8))


def _unlisted(folder: Path) -> None:
    found = json.loads((folder / "manifest.json").read_text())
    del found["files"]["fog.npy"]
    (folder / "manifest.json").write_text(json.dumps(found))


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (
            _another_pixel,
            r"fog\.npy, severity 3, must hold the pixels that manifest\.json names: write the folder again",
        ),
        (_another_label, r"labels\.npy must hold the labels that manifest\.json names"),
        (_unlisted, r"fog\.npy must be one of the files that manifest\.json names"),
    ],
)
def test_what_the_manifest_does_not_name_is_refused(fault: Callable[[Path], None], says: str, folder: Path) -> None:
    fault(folder)
    with pytest.raises(DataError, match=says):
        _open(folder).images("fog", 3)


def test_the_other_severities_of_a_changed_file_are_read(folder: Path) -> None:
    _another_pixel(folder)
    cells = _open(folder)
    for severity in (1, 2, 4, 5):
        expected = corrupt(CLEAN.images[cells.indices], "fog", severity, seed=4)
        assert np.array_equal(cells.images("fog", severity), expected)


def test_official_files_have_no_hashes_to_have(folder: Path) -> None:
    (folder / "manifest.json").unlink()
    _another_pixel(folder)
    assert _open(folder).images("fog", 3).shape == (4, 32, 32, 3)
