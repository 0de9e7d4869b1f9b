"""Image files of every accepted kind become the right pixels; every other file is refused with the right code."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image
from serving_client import encoded, picture, png

from serving.errors import RequestError
from serving.headers import declared_size, sniff
from serving.images import Limits, decode_image

LIMITS = Limits()
RGB = picture(5)
PIXELS = np.asarray(RGB)


def decoded(data: bytes, declared: str | None = None, limits: Limits = LIMITS) -> np.ndarray:
    return decode_image(data, declared, 32, limits)


def code_of(data: bytes, declared: str | None = None, limits: Limits = LIMITS) -> str:
    with pytest.raises(RequestError) as caught:
        decoded(data, declared, limits)
    return caught.value.code


def png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_header(width: int, height: int) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))


def jpeg_header(width: int, height: int) -> bytes:
    frame = struct.pack(">BHHB", 8, height, width, 1) + b"\x01\x11\x00"
    return b"\xff\xd8\xff\xe0\x00\x04\0\0" + b"\xff\xc0" + struct.pack(">H", 2 + len(frame)) + frame


def webp_header(width: int, height: int) -> bytes:
    sides = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    chunk = b"VP8X" + struct.pack("<I", 10) + b"\0\0\0\0" + sides
    return b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_a_lossless_image_of_the_decks_size_arrives_pixel_for_pixel(kind: str) -> None:
    data = encoded(RGB, kind, lossless=True) if kind == "WEBP" else encoded(RGB, kind)
    np.testing.assert_array_equal(decoded(data), PIXELS)


def test_a_jpeg_arrives_nearly_so() -> None:
    data = encoded(RGB, "JPEG", quality=98, subsampling=0)
    assert np.abs(decoded(data).astype(int) - PIXELS).mean() < 2


@pytest.mark.parametrize("mode", ["L", "1", "P", "LA", "CMYK"])
def test_other_modes_are_converted(mode: str) -> None:
    image = RGB.convert(mode)
    expected = np.asarray(image.convert("RGB"))
    found = decoded(encoded(image, "JPEG" if mode == "CMYK" else "PNG", **({"quality": 100} if mode == "CMYK" else {})))
    assert np.abs(found.astype(int) - expected).mean() < (8 if mode == "CMYK" else 0.01)


def test_transparency_is_laid_on_white() -> None:
    clear = RGB.copy()
    clear.putalpha(0)
    assert (decoded(encoded(clear)) == 255).all()
    half = RGB.copy()
    half.putalpha(128)
    expected = PIXELS * (128 / 255) + 255 * (127 / 255)
    assert np.abs(decoded(encoded(half)) - expected).max() <= 1


def test_sixteen_bit_grey_is_scaled_not_clipped() -> None:
    grey = np.asarray(RGB.convert("L"))
    deep = Image.fromarray(grey.astype(np.uint16) * 257)
    assert np.abs(decoded(encoded(deep))[..., 0].astype(int) - grey).max() <= 1


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    transposes = [None, None, 0, 3, 1, 5, 4, 6, 2]  # what undoes each orientation, as Image.Transpose values
    stored = Image.fromarray(np.asarray(picture(6, 48))[:40])
    undo = transposes[orientation]
    upright = stored if undo is None else stored.transpose(Image.Transpose(undo))
    found = decoded(encoded(stored, exif=exif))
    np.testing.assert_array_equal(found, decoded(encoded(upright)))


def test_trailing_bytes_and_a_missing_end_do_not_matter() -> None:
    assert (decoded(png() + b"PK\x03\x04" + b"x" * 99) == decoded(png())).all()
    assert (decoded(png()[:-12]) == decoded(png())).all()


def animation(kind: str) -> bytes:
    return encoded(RGB, kind, save_all=True, append_images=[picture(7)])


BROKEN = {
    "random": b"\x12\x34" * 50,
    "magic only": png()[:8],
    "cut PNG": png()[: len(png()) // 2],
    "cut JPEG": encoded(RGB, "JPEG")[:300],
    "cut WEBP": encoded(RGB, "WEBP")[:100],
    "bad header sum": png()[:29] + b"\0\0\0\0" + png()[33:],
    "zero width": png_header(0, 10),
    "bomb in a text": png_header(32, 32)
    + png_chunk(b"zTXt", b"a\0\0" + zlib.compress(b"0" * 80_000_000, 9))
    + png()[33:],
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_files_are_invalid(case: str) -> None:
    assert code_of(BROKEN[case]) == "invalid_image"


def test_pixels_without_a_range_are_refused_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = Image.open

    def as_integers(*arguments: Any, **options: Any) -> Image.Image:
        """What some versions of Pillow make of deep greyscale files."""
        with opened(*arguments, **options) as image:
            return image.convert("I")

    data = png()
    monkeypatch.setattr(Image, "open", as_integers)
    with pytest.raises(
        RequestError, match=r"^Pixels must be 8 or 16 bit, not mode 'I': save the image as 8-bit RGB\.$"
    ) as caught:
        decoded(data)
    assert (caught.value.code, caught.value.status) == ("invalid_image", 400)


@pytest.mark.parametrize("header", [png_header, jpeg_header, webp_header])
def test_sizes_are_refused_from_the_header_alone(header: object) -> None:
    assert callable(header)
    for width, height, code in (
        (50_000 if header is not webp_header else 16_000, 16_000, "image_too_large"),
        (9400, 9400, "image_too_large"),
        (4097, 100, "image_too_large"),
        (4096, 4097, "image_too_large"),
        (1, 1, "image_too_small"),
        (7, 9, "image_too_small"),
        (1, 4000, "bad_aspect_ratio"),
    ):
        data = header(width, height)
        assert declared_size(data, sniff(data) or "") == (width, height)
        assert code_of(data) == code


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("lossless", [True, False])
def test_the_header_says_what_pillow_says(kind: str, lossless: bool) -> None:
    image = picture(1, 48).resize((61, 17))
    data = encoded(image, kind, lossless=True) if kind == "WEBP" and lossless else encoded(image, kind)
    assert declared_size(data, kind) == (61, 17)
    alpha = encoded(image.convert("RGBA"), "WEBP")
    assert declared_size(alpha, "WEBP") == (61, 17)


def test_a_large_but_cheap_file_is_refused_before_its_pixels_are_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*arguments: object, **options: object) -> None:
        raise AssertionError("pixels were unpacked")

    bomb = encoded(Image.new("L", (4100, 4100)))
    monkeypatch.setattr(Image.Image, "load", forbidden)
    assert code_of(bomb) == "image_too_large"


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "empty_body"),
        (animation("PNG"), "multi_frame"),
        (animation("WEBP"), "multi_frame"),
        (encoded(RGB, "GIF"), "unsupported_media_type"),
        (encoded(RGB, "BMP"), "unsupported_media_type"),
        (encoded(RGB, "TIFF"), "unsupported_media_type"),
        (encoded(RGB, "ICO"), "unsupported_media_type"),
        (encoded(RGB, "EPS"), "unsupported_media_type"),
        (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "unsupported_media_type"),
        (b"\0\0\0\x1cftypheic" + b"\0" * 40, "unsupported_media_type"),
    ],
)
def test_other_formats_are_refused_by_their_bytes(data: bytes, code: str) -> None:
    assert code_of(data) == code


def test_the_declared_type_must_be_the_true_one() -> None:
    assert code_of(png(), "image/jpeg") == "media_type_mismatch"
    assert code_of(png(), "image/gif") == "unsupported_media_type"
    for declared in ("image/png", "image/x-png", "image/*", "application/octet-stream", None):
        assert decoded(png(), declared).shape == (32, 32, 3)
    assert decoded(encoded(RGB, "JPEG"), "image/jpg").shape == (32, 32, 3)


def test_a_phones_jpeg_with_extra_pictures_gives_the_first() -> None:
    extra = encoded(RGB, "MPO", save_all=True, append_images=[picture(9, 16)], quality=98)
    assert sniff(extra) == "JPEG"
    np.testing.assert_array_equal(decoded(extra), decoded(encoded(RGB, "JPEG", quality=98)))
