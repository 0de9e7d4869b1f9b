"""Reading arrays of other people: what is there comes back, what is not is named once and never unpickled."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cards_deck.errors import DataError
from eval.arrays import read_array

ARRAY = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)


@pytest.mark.parametrize("mapped", [False, True])
def test_an_array_comes_back_mapped_or_read(tmp_path: Path, mapped: bool) -> None:
    np.save(tmp_path / "a.npy", ARRAY)
    found = read_array(tmp_path / "a.npy", missing="", broken="", mapped=mapped)
    assert np.array_equal(found, ARRAY)
    assert isinstance(found, np.memmap) == mapped


def test_the_named_array_of_a_zipped_file_comes_back(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=ARRAY, labels=np.zeros(2))
    assert np.array_equal(read_array(tmp_path / "a.npz", missing="", broken="", member="images"), ARRAY)
    with pytest.raises(DataError, match="must hold an array 'pictures', not images, labels; do so"):
        read_array(tmp_path / "a.npz", missing="", broken="do so", member="pictures")
    with pytest.raises(DataError, match="must hold a single array"):
        read_array(tmp_path / "a.npz", missing="", broken="")


def _compressed_and_flipped(path: Path) -> None:
    with path.open("wb") as file:
        np.savez_compressed(file, images=np.zeros(100_000, np.uint8))
    data = bytearray(path.read_bytes())
    data[60:90] = bytes(255 - byte for byte in data[60:90])
    path.write_bytes(data)


@pytest.mark.parametrize(
    "fault",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"<html>"),
        lambda path: path.write_bytes(b"PK\x03\x04 and no more"),
        lambda path: path.write_bytes(pickle.dumps([1])),
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        lambda path: np.save(path, np.array([None, {}], dtype=object), allow_pickle=True),
        _compressed_and_flipped,
    ],
)
def test_what_is_no_whole_array_is_refused_without_advice_to_unpickle(
    tmp_path: Path, fault: Callable[[Path], object]
) -> None:
    path = tmp_path / "a.npy"
    np.save(path, ARRAY)
    fault(path)
    with pytest.raises(DataError, match=r"cannot be read.*; do so") as caught:
        read_array(path, missing="", broken="do so", member="images")
    assert str(caught.value).count(str(path)) == 1
    assert "pickle" not in str(caught.value)


def test_a_missing_file_is_named_once(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.npy is missing: get it") as caught:
        read_array(tmp_path / "a.npy", missing="get it", broken="")
    assert str(caught.value).count("a.npy") == 1
