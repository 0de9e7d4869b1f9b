"""torchvision's layout: what is read, and everything that is refused."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import os
import pickle
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_layouts import batch_of, make_archive, make_dataset, md5, write_batches, write_pickle
from hypothesis import given, settings
from hypothesis import strategies as st

from cards_deck.data.cifar import ARCHIVES, CIFAR10, CIFAR100, load_cifar
from cards_deck.data.unpickling import read_batch
from cards_deck.errors import DataError

# What Python 2 and an early NumPy wrote, as the official batches are: protocol 2, byte strings, numpy.core, latin1.
OFFICIAL_STYLE = (
    b"\x80\x02}q\x01(U\x0bbatch_labelq\x02U\x05part1q\x03U\x06labelsq\x04]q\x05(K\x01K\x00eU\x04dataq\x06"
    b"cnumpy.core.multiarray\n_reconstruct\nq\x07cnumpy\nndarray\nq\x08K\x00\x85q\tU\x01bq\n\x87q\x0bRq\x0c"
    b"(K\x01K\x02K\x03\x86q\rcnumpy\ndtype\nq\x0eU\x02u1q\x0fK\x00K\x01\x87q\x10Rq\x11(K\x03U\x01|q\x12NNN"
    b"J\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tq\x13b\x89U\x06\x00\x7f\x80\xfe\xff\x01q\x14tq\x15bu."
)


def test_reads_the_training_batches_in_order(tmp_path: Path) -> None:
    dataset = make_dataset(23, size=32)
    archive = make_archive(write_batches(dataset, tmp_path))
    loaded = load_cifar(tmp_path, archive, "train")
    assert loaded.sha256 == dataset.sha256
    assert (loaded.classes, loaded.name, loaded.split) == (dataset.classes, "cifar10", "train")
    assert len(load_cifar(tmp_path, archive, "test")) == 4


def test_reads_cifar100_by_its_fine_labels(tmp_path: Path) -> None:
    dataset = make_dataset(6, size=32)
    folder = tmp_path / "cifar-100-python"
    folder.mkdir()
    for name in ("train", "test"):
        write_pickle(folder / name, {**batch_of(dataset, "fine_labels"), "coarse_labels": [0] * 6})
    write_pickle(folder / "meta", {"fine_label_names": list(dataset.classes), "coarse_label_names": ["all"]})
    names = {name: (name, md5(folder / name)) for name in ("train", "test", "meta")}
    archive = dataclasses.replace(CIFAR100, train=(names["train"],), test=(names["test"],), meta=names["meta"])
    assert load_cifar(tmp_path, archive, "test").sha256 == dataset.sha256


@pytest.fixture
def torchvision_cifar(monkeypatch: pytest.MonkeyPatch) -> Any:
    """torchvision's own cifar.py, loaded without the rest of torchvision, which takes torch and many seconds."""
    package = importlib.util.find_spec("torchvision")  # does not import it
    if package is None or package.origin is None:
        pytest.skip("needs torchvision as the reference: pip install 'cards-deck[train]'")

    class VisionDataset:
        def __init__(self, root: str, **transforms: object) -> None:
            self.root = root

    utils = {
        "check_integrity": lambda path, expected: md5(Path(path)) == expected,
        "download_and_extract_archive": None,
    }
    for name, names in {"": {}, ".utils": utils, ".vision": {"VisionDataset": VisionDataset}}.items():
        module = types.ModuleType(f"reference{name}")
        vars(module).update(names)
        monkeypatch.setitem(sys.modules, f"reference{name}", module)
    path = Path(package.origin).parent / "datasets" / "cifar.py"
    spec = importlib.util.spec_from_file_location("reference.cifar", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    vars(module)["__package__"] = "reference"
    spec.loader.exec_module(module)
    return module


def test_torchvision_reads_the_same_images(
    tmp_path: Path, torchvision_cifar: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = make_archive(write_batches(make_dataset(23, size=32), tmp_path))
    monkeypatch.setattr(torchvision_cifar.CIFAR10, "train_list", [list(file) for file in archive.train])
    monkeypatch.setattr(torchvision_cifar.CIFAR10, "test_list", [list(file) for file in archive.test])
    meta = {"filename": archive.meta[0], "key": archive.classes_key, "md5": archive.meta[1]}
    monkeypatch.setattr(torchvision_cifar.CIFAR10, "meta", meta)
    theirs, ours = torchvision_cifar.CIFAR10(str(tmp_path)), load_cifar(tmp_path, archive, "train")
    np.testing.assert_array_equal(ours.images, theirs.data)
    assert ours.labels.tolist() == theirs.targets
    assert list(ours.classes) == theirs.classes


def test_the_official_checksums_are_torchvisions(torchvision_cifar: Any) -> None:
    for archive, theirs in ((CIFAR10, torchvision_cifar.CIFAR10), (CIFAR100, torchvision_cifar.CIFAR100)):
        assert (archive.url, archive.md5, archive.folder) == (theirs.url, theirs.tgz_md5, theirs.base_folder)
        assert [list(file) for file in archive.train + archive.test] == theirs.train_list + theirs.test_list
        assert archive.meta == (theirs.meta["filename"], theirs.meta["md5"])
        assert archive.classes_key == theirs.meta["key"]
    assert sorted(ARCHIVES) == ["cifar10", "cifar100"]


def test_reads_what_python_2_wrote() -> None:
    batch = read_batch(OFFICIAL_STYLE, "data_batch_1")
    assert batch["batch_label"] == "part1"
    assert batch["labels"] == [1, 0]
    np.testing.assert_array_equal(batch["data"], np.array([[0, 127, 128], [254, 255, 1]], np.uint8))


class Attack:
    """A pickle that calls os.mkdir when it is read carelessly."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def test_code_in_a_pickle_is_refused_by_name_and_not_run(tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    data = pickle.dumps({"data": Attack(trap)})
    with pytest.raises(DataError, match=r"data_batch_1: .* asks for posix\.mkdir, which no official batch needs"):
        read_batch(data, "data_batch_1")
    assert not trap.exists()
    pickle.loads(data)
    assert trap.exists()  # so the attack was a real one


@pytest.mark.parametrize(
    "data",
    [
        b"cbuiltins\neval\n.",
        b"cnumpy\nload\n.",
        b"cnumpy.core.multiarray\nscalar\n.",
        b"c_codecs\nencode\n.",
        b"\x80\x04\x8c\x05numpy\x8c\x0bf2py.compile\x93.",
        b"\x80\x02\x82\x01.",  # an extension code
        b"Pname\n.",  # a persistent name
        b"",
        b"not a pickle",
        OFFICIAL_STYLE[:-40],
        pickle.dumps([1, 2]),
        pickle.dumps({"data": np.zeros(2, np.float32)}, protocol=4),
        pickle.dumps({"data": np.array([None])}, protocol=4),
        OFFICIAL_STYLE.replace(b"K\x02K\x03\x86", b"K\x02K\x04\x86"),  # a shape larger than its bytes
        OFFICIAL_STYLE.replace(b"K\x00\x85q\t", b"J\xff\xff\xff\x7f\x85q\t"),  # asks to allocate 2 GB
    ],
)
def test_other_pickles_are_refused(data: bytes) -> None:
    with pytest.raises(DataError, match=r"(?s)data_batch_1: .*download the archive again"):
        read_batch(data, "data_batch_1")


@settings(max_examples=100, deadline=None)
@given(place=st.integers(0, len(OFFICIAL_STYLE) - 1), byte=st.integers(0, 255), cut=st.booleans())
def test_garbled_pickles_are_read_or_refused(place: int, byte: int, cut: bool) -> None:
    with contextlib.suppress(DataError):
        assert isinstance(
            read_batch(OFFICIAL_STYLE[:place] + bytes([byte]) + OFFICIAL_STYLE[place + 1 + cut :], "x"), dict
        )


def test_nothing_that_is_allowed_can_be_altered_by_a_pickle() -> None:
    reconstruct = b"cnumpy.core.multiarray\n_reconstruct\n"
    with pytest.raises(DataError):
        read_batch(b"\x80\x02" + reconstruct + b"N}U\x08__call__K\x01s\x86b.", "batch")
    assert read_batch(OFFICIAL_STYLE, "batch")["labels"] == [1, 0]


@pytest.mark.parametrize("damage", ["missing", "truncated", "one bit"])
@pytest.mark.parametrize("name", ["data_batch_3", "batches.meta"])
def test_damaged_files_are_named_with_the_remedy(tmp_path: Path, name: str, damage: str) -> None:
    folder = write_batches(make_dataset(23, size=32), tmp_path)
    archive, path = make_archive(folder), folder / name
    data = path.read_bytes()
    path.unlink()
    if damage == "truncated":
        path.write_bytes(data[:-100])
    elif damage == "one bit":
        path.write_bytes(data[:-50] + bytes([data[-50] ^ 1]) + data[-49:])
    with pytest.raises(DataError, match=r"delete cifar-10-batches-py/ and let `cards-deck train --download`") as caught:
        load_cifar(tmp_path, archive, "train")
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": [0, 1]}, "one label per image, not 2 for 3"),
        ({"labels": [0, 1, 4]}, r"labels must be 0\.\.3"),
        ({"labels": [0, 1, "2"]}, "'labels' must be a list of integers"),
        ({"labels": None}, "'labels' must be a list of integers"),
        ({"data": np.zeros((3, 3071), np.uint8)}, r"'data' must be a uint8 array \[n, 3072\]"),
        ({"data": [1, 2, 3]}, "'data' must be a uint8 array"),
    ],
)
def test_wrong_batches_are_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    folder = write_batches(make_dataset(23, size=32), tmp_path)
    write_pickle(folder / "test_batch", {**batch_of(make_dataset(3, size=32)), **change})
    with pytest.raises(DataError, match=message) as caught:
        load_cifar(tmp_path, make_archive(folder), "test")
    assert str(folder) in str(caught.value)


def test_wrong_class_names_are_refused(tmp_path: Path) -> None:
    folder = write_batches(make_dataset(23, size=32), tmp_path)
    for names, message in (([1, 2], "must be a list of names"), (["a", "b", "c", "a"], "a is repeated")):
        write_pickle(folder / "batches.meta", {"label_names": names})
        with pytest.raises(DataError, match=message):
            load_cifar(tmp_path, make_archive(folder), "train")
