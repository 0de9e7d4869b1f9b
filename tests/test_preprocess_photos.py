"""Photographs of any size and file format reach the gate through one path, and a sharp one never looks blurred to it.

Reducing a photograph to a deck's few pixels filters it. References made by another path (thumbnails of another filter,
pixels picked without any) would make that filter look like a blur, or its absence like noise.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from photos import blurred, encoded, noisy, out_of_focus, photo
from PIL import ExifTags, Image
from serving_client import serving

from cards_deck.data import load
from cards_deck.inference.engines import EngineKind
from cards_deck.inference.fake_deck import fake_deck
from cards_deck.inference.predictor import Prediction, Predictor
from cards_deck.preprocess import read_square, resize_square
from cards_deck.spectrum import References, build_references, distances, log_amplitude
from serving.images import Limits, decode_image

SIZE = 32
FILES = (("PNG", 0), ("JPEG", 95), ("JPEG", 30), ("WEBP", 80))
MEDIA = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp"}
SHAPES = ((3000, 2000), (1500, 2000), (1200, 1200), (1920, 1080), (640, 480), (301, 407), (97, 64))


def served(image: Image.Image, kind: str = "PNG", quality: int = 0, size: int = SIZE) -> NDArray[np.uint8]:
    """The pixels that the server's deck sees of this photograph's file."""
    return decode_image(encoded(image, kind, quality), MEDIA[kind], size, Limits())


@pytest.fixture(scope="module")
def training_images(tmp_path_factory: pytest.TempPathFactory) -> NDArray[np.uint8]:
    """A training folder of 48 photographs of several sizes and formats, as `pack` reads it."""
    root = tmp_path_factory.mktemp("photos")
    for index in range(48):
        width, height = ((640, 480), (300, 400), (256, 256), (512, 288))[index % 4]
        folder = root / "train" / ("day", "night")[index // 4 % 2]
        folder.mkdir(parents=True, exist_ok=True)
        kind, quality = FILES[index % 3]
        (folder / f"{index}.{kind.lower()}").write_bytes(encoded(photo(width, height, 1000 + index), kind, quality))
    return load(root, "folder", "train", image_size=SIZE).images


def references(plain: NDArray[np.uint8], sigma: float = 1.0) -> References:
    return build_references({"plain": plain, "blurred": blurred(plain, sigma), "noisy": noisy(plain)})


def nearest(known: References, images: NDArray[np.uint8]) -> list[str]:
    found = distances(log_amplitude(images), known.log_amplitude).argmin(axis=1)
    return [known.augmentations[index] for index in found]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_sharp_photograph_lands_on_plain_and_a_blurred_one_on_blurred(
    training_images: NDArray[np.uint8], shape: tuple[int, int]
) -> None:
    known = references(training_images)
    sharp = photo(*shape, seed=sum(shape))
    soft = out_of_focus(sharp, min(shape) / SIZE)  # one pixel of the deck's
    assert nearest(known, np.stack([served(sharp, *file) for file in FILES[:3]])) == ["plain"] * 3
    assert nearest(known, np.stack([served(soft, *file) for file in FILES[1:3]])) == ["blurred"] * 2
    assert nearest(known, noisy(served(sharp)[None])) == ["noisy"]


def test_one_path_makes_the_references_and_the_answers() -> None:
    """Where references and answers come of different paths, sharp photographs do land on "blurred" or on "noisy"."""
    photographs = [photo(640, 480, seed) for seed in range(24)]
    right = np.stack([served(image) for image in photographs])
    picked = np.stack([np.asarray(image)[::15, 80:560:15] for image in photographs])  # every 15th pixel, no filter
    slightly = 0.6
    for known, seen, answer in (
        (references(right, slightly), right, "plain"),
        (references(picked, slightly), right, "blurred"),
        (references(right), picked, "noisy"),
    ):
        assert nearest(known, seen).count(answer) >= 22


@pytest.mark.parametrize("size", [32, 64])
def test_a_file_gives_the_same_pixels_in_training_from_the_command_line_and_from_the_server(
    tmp_path: Path, size: int
) -> None:
    files = []
    for seed, (kind, quality) in enumerate(FILES):
        for shape in ((301, 407), (640, 360), (size, size), (size - 9, size)):
            files.append((kind, encoded(photo(*shape, seed=seed), kind, quality)))
        for mode in ("L", "CMYK") if kind == "JPEG" else ("L", "RGBA"):
            files.append((kind, encoded(photo(200, 133, seed).convert(mode), kind, quality)))
    turned, buffer = Image.Exif(), io.BytesIO()
    turned[ExifTags.Base.Orientation] = 6
    photo(300, 200).save(buffer, "JPEG", exif=turned)
    files.append(("JPEG", buffer.getvalue()))
    folder = tmp_path / "train"
    for index, (kind, data) in enumerate(files):
        (folder / f"class_{index:02}").mkdir(parents=True)
        (folder / f"class_{index:02}" / f"photo.{kind.lower()}").write_bytes(data)
    trained = load(tmp_path, "folder", "train", image_size=size)
    for index, (kind, data) in enumerate(files):
        answered = decode_image(data, MEDIA[kind], size, Limits())
        np.testing.assert_array_equal(answered, trained.images[index])
        np.testing.assert_array_equal(answered, read_square(next((folder / f"class_{index:02}").iterdir()), size))


class Watched(Predictor):
    """Keeps the images that it is asked about."""

    seen: list[NDArray[np.uint8]]

    def predict(self, images: NDArray[np.uint8], **options: object) -> Prediction:
        self.seen.append(images.copy())
        return super().predict(images, **options)  # type: ignore[arg-type]


def test_what_the_predictor_gets_is_what_the_references_were_made_of(tmp_path: Path) -> None:
    predictor = Watched(fake_deck(), engine=EngineKind.FAKE)
    predictor.seen = []
    with serving(predictor) as client:
        for seed, (kind, quality) in enumerate(FILES):
            data = encoded(photo(500, 333, seed), kind, quality)
            path = tmp_path / f"photo.{kind.lower()}"
            path.write_bytes(data)
            assert client.classify(data, MEDIA[kind]).status_code == 200
            np.testing.assert_array_equal(predictor.seen[-1], read_square(path, SIZE)[None])
        pixels = np.asarray(photo(120, 90))
        assert client.batch(pixels[None]).status_code == 200
        np.testing.assert_array_equal(predictor.seen[-1], resize_square(pixels, SIZE)[None])
