"""A user's own folder of images: what is read, and every fault by the name of its file."""

from __future__ import annotations

import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from data_layouts import make_dataset, write_folder
from PIL import Image

from cards_deck.data import load
from cards_deck.data.folder import load_folder
from cards_deck.errors import DataError, InputError
from cards_deck.preprocess import resize_square


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """12 images of 48 pixels in 4 classes, as root/train/<class>/NNNN.png."""
    write_folder(make_dataset(12, size=48), tmp_path)
    return tmp_path


def test_classes_are_the_sorted_folder_names(root: Path) -> None:
    dataset = load(root, "folder", image_size=64)
    assert dataset.classes == ("ant", "bee", "cat", "dog")
    assert dataset.images.shape == (12, 64, 64, 3)
    assert dataset.labels.tolist() == sorted(dataset.labels.tolist())
    assert (dataset.name, dataset.split) == ("folder", "train")


def test_every_image_goes_through_the_function_that_serving_uses(root: Path) -> None:
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (90, 70, 3), np.uint8)).save(root / "train/ant/0.jpg")
    dataset = load(root, "folder", image_size=32)
    for row, path in enumerate(sorted((root / "train").glob("*/*"))):
        with Image.open(path) as image:
            np.testing.assert_array_equal(dataset.images[row], resize_square(image, 32))


def test_modes_orientation_and_hidden_files(root: Path) -> None:
    (root / "train/.DS_Store").write_bytes(b"x")
    (root / "train/ant/.hidden").write_bytes(b"x")
    Image.new("L", (9, 9), 7).save(root / "train/ant/grey.PNG")
    Image.new("RGBA", (9, 9), (0, 0, 0, 0)).save(root / "train/bee/clear.png")
    half = np.zeros((40, 40, 3), np.uint8)
    half[:20] = 255
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    Image.fromarray(half).save(root / "train/dog/turned.png", exif=exif)
    dataset = load(root, "folder", image_size=8)
    assert len(dataset) == 15
    assert (dataset.images[dataset.labels == 0][-1] == 7).all()
    assert (dataset.images[dataset.labels == 1][-1] == 255).all()
    assert dataset.images[-1][0].max() < 20
    assert dataset.images[-1][-1].min() > 235


def not_an_image(train: Path) -> Path:
    (train / "bee/notes.txt").write_text("remember the milk")
    return train / "bee/notes.txt"


def lying_name(train: Path) -> Path:
    (train / "bee/page.png").write_text("<html>")
    return train / "bee/page.png"


def empty_file(train: Path) -> Path:
    (train / "bee/empty.png").write_bytes(b"")
    return train / "bee/empty.png"


def truncated_png(train: Path) -> Path:
    path = sorted((train / "cat").iterdir())[0]
    path.write_bytes(path.read_bytes()[:-400])
    return path


def truncated_jpeg(train: Path) -> Path:
    path = train / "cat/photo.jpg"
    Image.fromarray(make_dataset(1, size=64).images[0]).save(path)
    path.write_bytes(path.read_bytes()[:-300])
    return path


def bomb(train: Path) -> Path:
    """A few bytes that claim 20000 x 20000 pixels."""
    path = train / "cat/bomb.png"

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 20000, 20000, 8, 2, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b""))
    return path


def nested_folder(train: Path) -> Path:
    (train / "dog/more").mkdir()
    return train / "dog/more"


def empty_class(train: Path) -> Path:
    (train / "eel").mkdir()
    return train / "eel"


def image_without_class(train: Path) -> Path:
    shutil.copy(next((train / "ant").iterdir()), train / "lost.png")
    return train / "lost.png"


def one_picture_in_two_classes(train: Path) -> Path:
    shutil.copy(next((train / "ant").iterdir()), train / "dog/again.png")
    return train / "dog/again.png"


def dangling_link(train: Path) -> Path:
    (train / "dog/gone.png").symlink_to("nowhere.png")
    return train / "dog/gone.png"


def same_name_twice(train: Path) -> Path:
    for name in ("caf\u00e9", "cafe\u0301"):
        shutil.copytree(train / "ant", train / name)
    return train / "caf\u00e9"


def float_pixels(train: Path) -> Path:
    Image.new("F", (8, 8)).save(train / "dog/float.tiff")
    (train / "dog/float.tiff").rename(train / "dog/float.png")
    return train / "dog/float.png"


@pytest.mark.parametrize(
    "fault",
    [
        not_an_image, lying_name, empty_file, truncated_png, truncated_jpeg, bomb, nested_folder, empty_class,
        image_without_class, one_picture_in_two_classes, dangling_link, same_name_twice, float_pixels,
    ],
)  # fmt: skip
def test_every_fault_names_the_file_and_the_remedy(root: Path, fault: Callable[[Path], Path]) -> None:
    path = fault(root / "train")
    with pytest.raises(DataError, match=r"delete|merge") as caught:
        load_folder(root, "train", 16)
    assert str(path) in str(caught.value)


def test_the_same_picture_twice_in_one_class_is_fine(root: Path) -> None:
    shutil.copy(next((root / "train/ant").iterdir()), root / "train/ant/again.png")
    assert len(load_folder(root, "train", 16)) == 13


def test_test_classes_must_be_the_training_classes(root: Path) -> None:
    shutil.copytree(root / "train", root / "test")
    assert load_folder(root, "test", 16).classes == ("ant", "bee", "cat", "dog")
    (root / "test/dog").rename(root / "test/wolf")
    with pytest.raises(DataError, match=r"train/dog: both splits must have the same classes, but .*test has no 'dog'"):
        load_folder(root, "test", 16)
    shutil.rmtree(root / "train")
    assert load_folder(root, "test", 16).classes == ("ant", "bee", "cat", "wolf")


def test_missing_folders_and_lone_classes(root: Path) -> None:
    with pytest.raises(DataError, match="test: it must be a folder with one folder of images per class"):
        load_folder(root, "test", 16)
    for name in ("bee", "cat", "dog"):
        shutil.rmtree(root / "train" / name)
    with pytest.raises(DataError, match="at least two classes, not 1"):
        load_folder(root, "train", 16)
    with pytest.raises(InputError, match="image_size"):
        load_folder(root, "train", 0)
