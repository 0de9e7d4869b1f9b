"""Data sets: checks, checksums, .npz files, `load`, and the split by the digest of the pixels."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_layouts import make_archive, make_dataset, write_batches, write_folder
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from cards_deck.data import Dataset, load, save_npz, split_train_validation
from cards_deck.errors import DataError, InputError


def test_a_dataset_knows_its_size_and_checksum() -> None:
    dataset = make_dataset(12, size=8)
    assert len(dataset) == 12
    assert dataset.image_size == 8
    expected = hashlib.sha256(b"(12, 8, 8, 3)" + dataset.images.tobytes() + dataset.labels.tobytes()).hexdigest()
    assert dataset.sha256 == expected


def test_the_checksum_sees_one_pixel_and_one_label() -> None:
    dataset = make_dataset(12)
    images, labels = dataset.images.copy(), dataset.labels.copy()
    images[3, 2, 1, 0] ^= 1
    labels[0] = (labels[0] + 1) % 4
    sums = {
        Dataset(i, n, dataset.classes, "x", "y").sha256
        for i in (dataset.images, images)
        for n in (dataset.labels, labels)
    }
    assert len(sums) == 4


def test_subset_keeps_the_given_order() -> None:
    dataset = make_dataset(12)
    part = dataset.subset(np.array([5, 2]), "validation")
    np.testing.assert_array_equal(part.images, dataset.images[[5, 2]])
    np.testing.assert_array_equal(part.labels, dataset.labels[[5, 2]])
    assert (part.split, part.name) == ("validation", dataset.name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": np.zeros((12, 8, 8, 3), np.float32)}, r"images must be uint8 \[n, size, size, 3\], not float32"),
        ({"images": np.zeros((12, 8, 9, 3), np.uint8)}, "square"),
        ({"images": np.zeros((12, 3, 8, 8), np.uint8)}, "images must be"),
        ({"images": np.zeros((12, 8, 8), np.uint8)}, "images must be"),
        ({"images": np.zeros((11, 8, 8, 3), np.uint8)}, "11 images and 12 labels"),
        ({"labels": np.zeros(12, np.int32)}, r"labels must be int64 \[n\], not int32"),
        ({"labels": np.zeros((12, 1), np.int64)}, "labels must be"),
        ({"labels": np.full(12, 4)}, r"labels must be 0..3 for 4 classes, but image 0 has 4 \(12 such labels\)"),
        ({"labels": np.full(12, -1)}, "image 0 has -1"),
        ({"classes": ("a", "b", "c", "a")}, "distinct, but a is repeated"),
        ({"classes": ("a", "b", "c", " ")}, "name every class"),
        ({"classes": ()}, "name every class"),
    ],
)
def test_contradictory_arrays_are_refused(change: dict[str, Any], message: str) -> None:
    dataset = make_dataset(12, size=8)
    fields = {key: getattr(dataset, key) for key in ("images", "labels", "classes", "name", "split")} | change
    with pytest.raises(DataError, match=message):
        Dataset(**fields)


def test_npz_round_trip_leaves_no_temporary_file(tmp_path: Path) -> None:
    dataset = make_dataset(12)
    path = save_npz(dataset, tmp_path)
    assert [path] == list(tmp_path.iterdir())
    again = load(tmp_path, dataset.name, dataset.split)
    assert again.sha256 == dataset.sha256
    assert again.classes == dataset.classes


def test_npz_takes_labels_of_any_integer_type(tmp_path: Path) -> None:
    dataset = make_dataset(12)
    np.savez(
        tmp_path / "own_test.npz",
        images=dataset.images,
        labels=dataset.labels.astype(np.uint8),
        classes=dataset.classes,
    )
    np.testing.assert_array_equal(load(tmp_path, "own", "test").labels, dataset.labels)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": np.zeros(12)}, "labels must be integers, not float64"),
        ({"labels": np.zeros(11, int)}, "12 images and 11 labels"),
        ({"labels": np.full(12, 9)}, "labels must be 0..3"),
        ({"classes": np.arange(4)}, "classes must be strings"),
        ({"classes": np.array("a")}, "classes must be strings"),
        ({"classes": np.array(["a", "b", "a", "c"])}, "a is repeated"),
        ({"images": np.zeros((12, 8, 8), np.uint8)}, "images must be"),
        ({"images": np.zeros((0, 8, 8, 3), np.uint8), "labels": np.zeros(0, int)}, "at least one image"),
        ({"classes": np.array([object()], object)}, "not a whole .npz file of plain arrays"),
        ({"classes": None}, "it lacks classes"),
    ],
)
def test_wrong_npz_files_are_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    dataset = make_dataset(12, size=8)
    arrays: dict[str, Any] = {"images": dataset.images, "labels": dataset.labels, "classes": np.array(dataset.classes)}
    np.savez(
        tmp_path / "own_train.npz", **{key: value for key, value in (arrays | change).items() if value is not None}
    )
    with pytest.raises(DataError, match=message) as caught:
        load(tmp_path, "own")
    assert str(tmp_path / "own_train.npz") in str(caught.value)


@pytest.mark.parametrize("keep", [0, 1, 10, 700, -1, -30, -200])
def test_truncated_npz_files_are_named(tmp_path: Path, keep: int) -> None:
    path = save_npz(make_dataset(12), tmp_path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError, match=r"own_train\.npz"):
        load(tmp_path, "own")


def test_other_bytes_are_no_npz_file(tmp_path: Path) -> None:
    path = tmp_path / "own_train.npz"
    single = io.BytesIO()
    np.save(single, np.zeros(3))
    for data in (b"not a zip", b"PK\x03\x04" + bytes(100), single.getvalue(), b"\x80\x04]\x94."):
        path.write_bytes(data)
        with pytest.raises(DataError, match=r"own_train\.npz"):
            load(tmp_path, "own")


def test_missing_data_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"must hold cifar-10-batches-py/ or cifar10_test.npz; .* --download` fetches it"
    ):
        load(tmp_path, "cifar10", "test")
    with pytest.raises(DataError, match=r"own_train.npz: there is no such file; make it with"):
        load(tmp_path, "own")
    with pytest.raises(DataError, match="data root must be a folder"):
        load(tmp_path / "nowhere")


def test_impossible_arguments(tmp_path: Path) -> None:
    save_npz(make_dataset(12, size=8), tmp_path)
    with pytest.raises(InputError, match="split must be one of train, test"):
        load(tmp_path, "own", "validation")
    with pytest.raises(InputError, match="needs image_size"):
        load(tmp_path, "folder")
    with pytest.raises(InputError, match="images of 8 pixels, not 16"):
        load(tmp_path, "own", image_size=16)
    assert load(tmp_path, "own", image_size=8).image_size == 8


def sides(parts: tuple[Dataset, Dataset]) -> tuple[set[bytes], set[bytes]]:
    return tuple({image.tobytes() for image in part.images} for part in parts)  # type: ignore[return-value]


@settings(max_examples=40, deadline=None)
@given(
    copies=st.lists(st.integers(1, 4), min_size=3, max_size=30),
    seed=st.integers(0, 2**32 - 1),
    fraction=st.floats(0.05, 0.6),
)
def test_the_split_depends_on_the_images_alone(copies: list[int], seed: int, fraction: float) -> None:
    """Any order gives the same arrays; identical images stay together; the size is exact but for the last group."""
    rng = np.random.default_rng(seed)
    distinct = rng.permutation(256)[: len(copies)].astype(np.uint8)
    images = np.repeat(distinct, copies)[:, None, None, None] * np.ones((1, 2, 2, 3), np.uint8)
    dataset = Dataset(images, rng.integers(0, 3, len(images)), ("a", "b", "c"), "own", "train")
    count = max(1, round(fraction * len(dataset)))
    try:
        train, validation = split_train_validation(dataset, fraction=fraction)
    except DataError:
        assert count > len(dataset) - max(copies)  # only where one group holds all the rest
        return
    shuffled = split_train_validation(dataset.subset(rng.permutation(len(dataset))), fraction=fraction)
    assert [part.sha256 for part in shuffled] == [train.sha256, validation.sha256]
    assert not set.intersection(*sides((train, validation)))
    assert len(train) + len(validation) == len(dataset)
    assert 0 <= len(validation) - count < max(copies)


def test_split_sizes_are_exact_without_duplicates() -> None:
    dataset = make_dataset(50)
    assert [len(part) for part in split_train_validation(dataset)] == [45, 5]
    assert [len(part) for part in split_train_validation(dataset, 7)] == [43, 7]
    assert [part.split for part in split_train_validation(dataset)] == ["train", "validation"]


def test_validation_holds_the_smallest_digests() -> None:
    train, validation = split_train_validation(make_dataset(50), 9)
    digests = [[hashlib.sha256(image.tobytes()).digest() for image in part.images] for part in (train, validation)]
    assert max(digests[1]) < min(digests[0])
    assert digests == [sorted(part) for part in digests]


def test_removing_an_image_moves_no_other_across_by_more_than_the_boundary() -> None:
    dataset = make_dataset(50)
    _, before = sides(split_train_validation(dataset, 10))
    _, after = sides(split_train_validation(dataset.subset(slice(1, None)), 10))
    assert len(after - before) <= 1


@pytest.mark.parametrize(("validation", "fraction"), [(0, 0.1), (50, 0.1), (-1, 0.1), (None, 0.0), (None, 1.0)])
def test_impossible_splits_are_refused(validation: int | None, fraction: float) -> None:
    with pytest.raises(InputError, match="validation"):
        split_train_validation(make_dataset(50), validation, fraction=fraction)


def test_identical_images_alone_cannot_be_split() -> None:
    dataset = make_dataset(5)
    with pytest.raises(DataError, match="identical"):
        split_train_validation(dataset.subset(np.zeros(5, np.int64)))


def test_every_layout_gives_the_same_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = make_dataset(60, size=32, classes=("ant", "bee", "cat", "dog"))
    save_npz(dataset, tmp_path)
    write_folder(dataset, tmp_path)
    archive = make_archive(write_batches(dataset, tmp_path))
    monkeypatch.setitem(load.__globals__["ARCHIVES"], "cifar10", archive)
    loaded = [load(tmp_path, "own"), load(tmp_path, "folder", image_size=32), load(tmp_path, "cifar10")]
    assert not np.array_equal(loaded[0].labels, loaded[1].labels)  # the layouts do differ in order
    splits = [split_train_validation(data) for data in loaded]
    assert len({(train.sha256, validation.sha256) for train, validation in splits}) == 1


def test_real_images_split_as_they_always_have(real_cifar10: Any) -> None:
    train, validation = split_train_validation(real_cifar10("test"))
    assert (len(train), len(validation)) == (9000, 1000)
    assert validation.sha256 == "431ab120a1b657605ebd03c7629772eda3581324b99ebbe932367c060ef7f873"


def test_images_are_the_ones_pillow_reads(tmp_path: Path) -> None:
    dataset = make_dataset(8, size=9)
    write_folder(dataset, tmp_path)
    loaded = load(tmp_path, "folder", image_size=9)
    paths = sorted((tmp_path / "train").glob("*/*.png"))
    for path, image, label in zip(paths, loaded.images, loaded.labels, strict=True):
        with Image.open(path) as picture:
            np.testing.assert_array_equal(np.asarray(picture), image)
        assert path.parent.name == loaded.classes[label]
