"""From any image to the square uint8 RGB pixels that a card takes: the same for training folders and serving."""

from __future__ import annotations

import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps

from cards_deck.errors import InputError

BACKGROUND = (255, 255, 255)  # what transparent pixels show: web pages and papers are white
# What Pillow's decoders raise for broken files, found by feeding them some.
BROKEN = (OSError, SyntaxError, ValueError, TypeError, LookupError, EOFError, OverflowError, struct.error, zlib.error)
_SIXTEEN_BIT = ("I;16", "I;16B", "I;16L", "I;16N")


def to_rgb(image: Image.Image) -> Image.Image:
    """An upright RGB image: EXIF orientation applied, transparency laid on white, greyscale and 16 bit converted.

    Raises InputError for pixels without a defined range (32-bit integers and floats), and where Pillow cannot decode.
    """
    try:
        image.load()
        image = _upright(image)
    except BROKEN as error:
        raise InputError(f"the image cannot be decoded ({error}): save it again as PNG or JPEG") from error
    if image.mode in _SIXTEEN_BIT:
        # Pillow's own conversion clips at 255, which turns a photograph white.
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        raise InputError(f"pixels must be 8 or 16 bit, not mode {image.mode!r}: save the image as 8-bit RGB")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        image = Image.new("RGBA", layer.size, (*BACKGROUND, 255))
        image.alpha_composite(layer)
    # A copy of a photograph is 36 MB: none is made where the pixels are right already.
    return image if image.mode == "RGB" else image.convert("RGB")


def _upright(image: Image.Image) -> Image.Image:
    """The image turned as its EXIF orientation says; the image itself where that is no turn."""
    if image.getexif().get(ExifTags.Base.Orientation, 1) == 1:
        return image
    return ImageOps.exif_transpose(image)


def resize_square(image: Image.Image | NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """uint8 [size, size, 3] of an image of any shape: the largest centred square, then resized.

    `image` is a Pillow image, which goes through `to_rgb`, or uint8 [h, w, 3]. A square that has the size already is
    returned pixel for pixel. Otherwise the filter is Pillow's antialiased bicubic; where the square is at least four
    times `size`, whole blocks are averaged first, down to no less than twice `size` (Pillow's `reducing_gap=2`), which
    is several times faster on photographs. The sums are fixed-point, so the pixels are the same on every machine.

    Raises InputError for another dtype or shape, an image without pixels, or a size below 1.
    """
    if size < 1:
        raise InputError(f"size must be at least 1 pixel, not {size}")
    upright = to_rgb(image) if isinstance(image, Image.Image) else Image.fromarray(_checked(image))
    side = min(upright.size)
    if side == 0:
        raise InputError(
            f"the image must have pixels, but it is {upright.width} x {upright.height}: send another image"
        )
    left, top = (upright.width - side) // 2, (upright.height - side) // 2
    box = (left, top, left + side, top + side)
    if side == size:
        return np.array(upright.crop(box))
    return np.array(upright.resize((size, size), Image.Resampling.BICUBIC, box=box, reducing_gap=2.0))


def read_square(path: Path, size: int) -> NDArray[np.uint8]:
    """uint8 [size, size, 3] of an image file, through `resize_square`; InputError as `read_rgb`."""
    return resize_square(read_rgb(path), size)


def read_rgb(path: Path) -> Image.Image:
    """An image file's pixels, through `to_rgb`; InputError, naming the file, where it is broken.

    Files that claim more pixels than Pillow's `MAX_IMAGE_PIXELS` (89 million) are refused before they are decoded.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                return to_rgb(image)
    except FileNotFoundError as error:
        raise InputError(f"{path}: there is no such file: name an image, a PNG or JPEG for example") from error
    except (*BROKEN, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise InputError(f"{path}: it must be a whole image that can be read ({error})") from error


def _checked(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise InputError(f"an image array must be uint8 [h, w, 3] with pixels, not {image.dtype} {list(image.shape)}")
    return np.ascontiguousarray(image)
