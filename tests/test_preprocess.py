"""Images of every mode and shape become the same kind of square pixels."""

from __future__ import annotations

import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from cards_deck.errors import InputError
from cards_deck.preprocess import resize_square, to_rgb


def noise(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_a_square_of_the_right_size_is_returned_pixel_for_pixel() -> None:
    image = noise(32, 32)
    np.testing.assert_array_equal(resize_square(image, 32), image)
    np.testing.assert_array_equal(resize_square(Image.fromarray(image), 32), image)


@pytest.mark.parametrize(("height", "width"), [(32, 50), (51, 32)])
def test_crops_the_centre(height: int, width: int) -> None:
    image = noise(height, width)
    top, left = (height - 32) // 2, (width - 32) // 2
    np.testing.assert_array_equal(resize_square(image, 32), image[top : top + 32, left : left + 32])


@pytest.mark.parametrize("shape", [(7, 9), (64, 64), (200, 333), (1, 1)])
def test_gives_the_size_for_any_shape_and_equally_from_array_and_image(shape: tuple[int, int]) -> None:
    image = noise(*shape)
    small = resize_square(image, 24)
    assert small.shape == (24, 24, 3)
    assert small.dtype == np.uint8
    assert small.flags.writeable
    np.testing.assert_array_equal(small, resize_square(Image.fromarray(image), 24))


def test_downsizing_is_antialiased() -> None:
    stripes = np.zeros((320, 320, 3), np.uint8)
    stripes[:, ::2] = 255
    assert np.abs(resize_square(stripes, 32).astype(int) - 127.5).max() < 8


def test_downsizing_is_close_to_averaging_a_smooth_image() -> None:
    ramp = np.repeat(np.linspace(0, 255, 256).astype(np.uint8)[None, :, None], 256, axis=0).repeat(3, axis=2)
    means = ramp.reshape(32, 8, 32, 8, 3).mean(axis=(1, 3))
    assert np.abs(resize_square(ramp, 32)[:, 2:-2] - means[:, 2:-2]).max() <= 1.5


def test_applies_the_exif_orientation() -> None:
    image = noise(20, 30)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: show rotated by 90 degrees clockwise
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG", exif=exif)
    with Image.open(buffer) as stored:
        np.testing.assert_array_equal(np.asarray(to_rgb(stored)), np.rot90(image, -1))


def test_transparent_pixels_are_white_and_half_transparent_ones_blend() -> None:
    pixels = np.zeros((4, 4, 4), np.uint8)
    pixels[:2, :, 3] = 255
    pixels[2, :, 3] = 128
    result = resize_square(Image.fromarray(pixels), 4)
    assert result[0].max() == 0
    assert result[3].min() == 255
    assert abs(int(result[2, 0, 0]) - 127) <= 1


def test_palette_transparency_is_white() -> None:
    image = Image.new("P", (4, 4), 0)
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.info["transparency"] = 0
    assert resize_square(image, 4).min() == 255


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "CMYK", "YCbCr", "HSV", "RGB", "RGBA"])
def test_every_eight_bit_mode_becomes_rgb(mode: str) -> None:
    grey = Image.new("RGB", (8, 8), (128, 128, 128)).convert("L" if mode in ("1", "L", "LA") else "RGB")
    result = resize_square(grey.convert(mode), 8)
    assert result.shape == (8, 8, 3)
    assert abs(result.mean() - 128) <= 3  # the mean, because black-and-white and palette images are dithered


def test_sixteen_bit_greyscale_is_scaled_not_clipped() -> None:
    image = Image.fromarray(np.full((8, 8), 0x8034, np.uint16))
    assert (resize_square(image, 8) == 0x80).all()


@pytest.mark.parametrize("mode", ["I", "F"])
def test_pixels_without_a_range_are_refused(mode: str) -> None:
    with pytest.raises(InputError, match="8 or 16 bit"):
        resize_square(Image.new(mode, (8, 8)), 8)


def test_a_truncated_image_is_an_input_error() -> None:
    buffer = io.BytesIO()
    Image.fromarray(noise(64, 64)).save(buffer, "JPEG")
    with Image.open(io.BytesIO(buffer.getvalue()[:900])) as image, pytest.raises(InputError, match="cannot be decoded"):
        resize_square(image, 32)


@pytest.mark.parametrize(
    "bad", [np.zeros((8, 8), np.uint8), np.zeros((8, 8, 3), np.float32), np.zeros((0, 8, 3), np.uint8)]
)
def test_wrong_arrays_are_refused(bad: NDArray[np.uint8]) -> None:
    with pytest.raises(InputError, match="uint8"):
        resize_square(bad, 8)


def test_sizes_below_one_are_refused() -> None:
    with pytest.raises(InputError, match="at least 1"):
        resize_square(noise(8, 8), 0)
    with pytest.raises(InputError, match="must have pixels"):
        resize_square(Image.new("RGB", (0, 8)), 8)
