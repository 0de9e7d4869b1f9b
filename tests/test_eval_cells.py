"""Subsets, the cells' sources, and the cache of what was measured on them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from cards_deck.corruptions import CBAR_CORRUPTIONS, CORRUPTIONS, corrupt, fog
from cards_deck.data import Dataset
from cards_deck.errors import DataError, InputError
from cards_deck.inference.fake_deck import fake_images
from eval.cache import Cache
from eval.cells import (
    RegeneratedCells,
    balanced_subset,
    generator_fingerprint,
    imported,
    ranks_by_index,
    ranks_by_pixels,
)
from eval.stored_cells import StoredCells
from eval.suites import SUITES, register, suite_named
from eval.suites.corruptions import CorruptionSuite

PLAIN = SUITES["cifar10-c"]
assert isinstance(PLAIN, CorruptionSuite)
SUITE = dataclasses.replace(PLAIN, corruptions=("gaussian_noise", "fog"))
NAMES = SUITE.corruptions


def _dataset(n: int = 30, classes: int = 3) -> Dataset:
    names = tuple(f"class_{i}" for i in range(classes))
    return Dataset(fake_images(n), np.arange(n) % classes, names, "cifar10", "test")


CLEAN = _dataset(12)


def test_a_subset_is_balanced_seeded_and_nested() -> None:
    labels = np.arange(100) % 4
    ranks = ranks_by_index(100, seed=5)
    chosen = balanced_subset(labels, ranks, 40)
    assert np.bincount(labels[chosen]).tolist() == [10, 10, 10, 10]
    assert set(balanced_subset(labels, ranks, 18)) < set(chosen)
    assert sorted(np.bincount(labels[balanced_subset(labels, ranks, 18)]).tolist()) == [4, 4, 5, 5]
    assert chosen.tolist() != balanced_subset(labels, ranks_by_index(100, seed=6), 40).tolist()
    assert balanced_subset(labels, ranks, None).tolist() == list(range(100))


def test_a_small_class_gives_all_it_has() -> None:
    labels = np.array([0] * 20 + [1] * 3)
    chosen = balanced_subset(labels, ranks_by_index(23, seed=0), 12)
    assert np.bincount(labels[chosen]).tolist() == [9, 3]


def test_an_empty_subset_is_refused() -> None:
    with pytest.raises(InputError, match="at least 1"):
        balanced_subset(np.zeros(5, dtype=np.int64), np.arange(5), 0)


def test_the_subset_follows_the_pixels_and_not_the_order_on_disk() -> None:
    data = _dataset()
    order = np.random.default_rng(0).permutation(30)
    moved = data.subset(order)
    first = balanced_subset(data.labels, ranks_by_pixels(data.images, 1), 12)
    second = balanced_subset(moved.labels, ranks_by_pixels(moved.images, 1), 12)
    assert {image.tobytes() for image in data.images[first]} == {image.tobytes() for image in moved.images[second]}


def test_regenerated_cells_are_the_library_s_corruptions() -> None:
    cells = RegeneratedCells(_dataset(), seed=3)
    assert np.array_equal(cells.images("fog", 4), corrupt(_dataset().images, "fog", 4, seed=3))
    keys = {
        cells.key("fog", 4),
        cells.key("fog", 5),
        cells.key("frost", 4),
        dataclasses.replace(cells, seed=4).key("fog", 4),
        dataclasses.replace(cells, clean=_dataset(27)).key("fog", 4),
    }
    assert len(keys) == 5


def _refuse(*_: object, **__: object) -> None:
    raise AssertionError("an image was made")


def test_a_key_makes_no_image_and_follows_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eval.cells.corruptions.corrupt", _refuse)
    generator_fingerprint.cache_clear()
    before = RegeneratedCells(_dataset(), 0).key("fog", 1)
    sources = {path.name for path in imported(Path(fog.__file__), "corruptions")}
    assert {"fog.py", "_base.py"} <= sources
    assert "frost.py" not in sources
    monkeypatch.setattr("eval.cells.scipy.__version__", "0")
    generator_fingerprint.cache_clear()
    assert RegeneratedCells(_dataset(), 0).key("fog", 1) != before
    monkeypatch.undo()
    generator_fingerprint.cache_clear()


def test_a_part_of_a_cell_holds_the_same_images(official: Path) -> None:
    rows = np.array([7, 2])
    for cells in (RegeneratedCells(_dataset(12), 0), StoredCells.open(official, NAMES, CLEAN, subset=None, seed=0)):
        part = cells.part(rows)
        assert np.array_equal(part.images("fog", 2), cells.images("fog", 2)[rows])
        assert np.array_equal(part.labels, cells.labels[rows])


@pytest.fixture
def official(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for corruption in SUITE.corruptions:
        np.save(tmp_path / f"{corruption}.npy", rng.integers(0, 256, (5 * 12, 32, 32, 3), dtype=np.uint8))
    np.save(tmp_path / "labels.npy", np.tile(np.arange(12) % 3, 5))
    return tmp_path


def test_official_cells_are_read_from_the_public_layout(official: Path) -> None:
    cells = StoredCells.open(official, NAMES, CLEAN, subset=6, seed=0)
    stored = np.load(official / "fog.npy")
    assert np.bincount(cells.labels).tolist() == [2, 2, 2]
    assert np.array_equal(cells.images("fog", 2), stored[12:24][cells.indices])
    assert cells.source == "official"
    before = cells.key("fog", 2)
    stored[12 + cells.indices[0]] ^= 1
    np.save(official / "fog.npy", stored)
    assert cells.key("fog", 2) != before


def test_stored_and_regenerated_cells_have_the_same_subset(official: Path) -> None:
    stored = StoredCells.open(official, NAMES, CLEAN, subset=6, seed=3)
    chosen = balanced_subset(CLEAN.labels, ranks_by_pixels(CLEAN.images, 3), 6)
    assert stored.indices.tolist() == chosen.tolist()
    fewer = StoredCells.open(official, NAMES, _dataset(9), subset=6, seed=3)
    assert fewer.indices.tolist() == balanced_subset(CLEAN.labels, ranks_by_index(12, 3), 6).tolist()


def _break_labels(folder: Path, labels: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> None:
    np.save(folder / "labels.npy", labels)


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (lambda d: (d / "fog.npy").unlink(), "fog.npy is missing"),
        (lambda d: (d / "labels.npy").unlink(), "labels.npy is missing"),
        (lambda d: np.save(d / "fog.npy", np.zeros((59, 32, 32, 3), np.uint8)), r"fog.npy must be uint8 \[60"),
        (lambda d: np.save(d / "fog.npy", np.zeros((60, 32, 32, 3), np.float32)), "got float32"),
        (
            lambda d: np.save(d / "fog.npy", np.zeros((60, 16, 16, 3), np.uint8)),
            r"3\], got uint8 \[60, 16",
        ),
        (lambda d: (d / "fog.npy").write_bytes(b"\x93NUMPY"), "fog.npy cannot be read"),
        (lambda d: (d / "fog.npy").write_bytes(b"<html>"), "no array of numbers; download it again"),
        (lambda d: (d / "fog.npy").write_bytes((d / "fog.npy").read_bytes()[:-1]), "is cut off"),
        (lambda d: _break_labels(d, np.full(60, 3)), "labels 0 to 2, got 3 to 3"),
        (lambda d: _break_labels(d, np.arange(61)), "must hold integer labels"),
        (lambda d: _break_labels(d, np.arange(60) // 20), "repeat the same labels"),
    ],
)
def test_broken_official_files_are_named(official: Path, fault: object, says: str) -> None:
    assert callable(fault)
    fault(official)
    with pytest.raises(DataError, match=says):
        StoredCells.open(official, NAMES, CLEAN, subset=None, seed=0)


def test_only_official_files_of_the_suite_s_own_data_carry_its_plain_name() -> None:
    suite = suite_named("cifar10-c")
    assert isinstance(suite, CorruptionSuite)
    assert suite.corruptions == CORRUPTIONS
    assert len(suite.cells) == 75
    assert suite.title_for("cifar10", "official", 0) == "CIFAR-10-C"
    assert suite.title_for("cifar10", "regenerated", 7) == "CIFAR-10-C (regenerated, seed 7)"
    assert suite.title_for("folder", "regenerated", 7) == "CIFAR-10-C corruptions on folder (regenerated, seed 7)"
    with pytest.raises(InputError, match="cifar10-c"):
        suite_named("cifar11-c")


def test_the_suites_of_corruptions_are_registered_once() -> None:
    cbar = SUITES["cifar10-c-bar"]
    assert isinstance(cbar, CorruptionSuite)
    assert (cbar.corruptions, len(cbar.cells)) == (CBAR_CORRUPTIONS, 50)
    assert set(cbar.noise) < set(CBAR_CORRUPTIONS)
    assert SUITES["cifar100-c"].data == "cifar100"
    with pytest.raises(InputError, match="there already"):
        register(cbar)


def test_a_cache_gives_back_what_was_saved(tmp_path: Path) -> None:
    cache, array = Cache(tmp_path / "new"), np.arange(6, dtype=np.float32).reshape(2, 3)
    assert cache.load("cell/card", (2, 3)) is None
    cache.save("cell/card", array)
    found = cache.load("cell/card", (2, 3))
    assert found is not None
    assert np.array_equal(found, array)
    assert cache.load("cell/card", (3, 2)) is None
    assert [path.name for path in (tmp_path / "new" / "cell").iterdir()] == ["card.npz"]


@pytest.mark.parametrize("keep", [0, 10, 200])
def test_a_broken_entry_counts_as_absent(tmp_path: Path, keep: int) -> None:
    cache = Cache(tmp_path)
    cache.save("a", np.ones((100, 4), np.float32))
    path = tmp_path / "a.npz"
    path.write_bytes(path.read_bytes()[:keep])
    assert cache.load("a", (100, 4)) is None


def test_a_cache_that_cannot_be_written_is_said_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("not a folder")
    cache = Cache(tmp_path / "file")
    cache.save("a", np.ones(3))
    cache.save("b", np.ones(3))
    assert capsys.readouterr().err.count("cannot be written") == 1
    assert Cache(None).load("a", (3,)) is None
