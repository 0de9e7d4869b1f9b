"""Bytes of an image file -> the pixels a deck reads. Decoded once, limits checked before any pixel is unpacked.

How pixels become RGB (orientation, transparency on white, 16 bits, colour profiles ignored) is in
`cards_deck.preprocess`, the same as in training. The first frame of an MPO, a phone's JPEG with extra pictures, is the
image; any other animation is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO

import numpy as np
import numpy.typing as npt
from PIL import Image

from cards_deck.errors import InputError
from cards_deck.preprocess import BROKEN, resize_square
from serving.errors import RequestError
from serving.headers import ALIASES, MEDIA_TYPES, declared_size, refused_format, sniff

# What opening and decoding a hostile file raises; anything else is a fault of ours.
_BROKEN = (*BROKEN, MemoryError, Image.DecompressionBombError)


@dataclass(frozen=True)
class Limits:
    """Sizes an image may have, in pixels; `max_aspect` is the longest side over the shortest."""

    max_side: int = 4096
    max_pixels: int = 16 * 2**20
    min_side: int = 8
    max_aspect: int = 20

    def check(self, width: int, height: int) -> None:
        """Raise RequestError (400 or 413) for a size outside the limits."""
        if min(width, height) < 1:
            raise RequestError("invalid_image", "The image has a side of zero pixels.")
        if max(width, height) > self.max_side or width * height > self.max_pixels:
            raise RequestError(
                "image_too_large",
                f"The image is {width} x {height}; at most {self.max_side} pixels per side and {self.max_pixels} "
                "in all are read. Send a smaller copy.",
            )
        if max(width, height) > self.max_aspect * min(width, height):
            raise RequestError(
                "bad_aspect_ratio",
                f"The image is {width} x {height}; one side may be {self.max_aspect} times the other.",
            )
        if min(width, height) < self.min_side:
            raise RequestError(
                "image_too_small",
                f"The image is {width} x {height}; each side must have {self.min_side} pixels or more.",
            )


def decode_image(data: bytes, declared: str | None, size: int, limits: Limits) -> npt.NDArray[np.uint8]:
    """uint8 [size, size, 3] of one image file; `declared` is its media type where the sender named one.

    Raises RequestError: 400 broken, empty, animated or thin; 413 too many pixels; 415 other format or wrong label.
    """
    if not data:
        raise RequestError("empty_body", "The image is empty; send the bytes of a PNG, JPEG or WEBP file.")
    kind = _format(data, declared)
    dimensions = declared_size(data, kind)
    if dimensions is not None:
        limits.check(*dimensions)
    try:
        with Image.open(BytesIO(data), formats=(kind,)) as image:
            limits.check(*image.size)
            if image.format != "MPO" and getattr(image, "n_frames", 1) > 1:
                raise RequestError("multi_frame", "The image is an animation; send a single frame.")
            return resize_square(image, size)
    except _BROKEN as error:
        if isinstance(error, InputError) and error.__cause__ is None:  # decoded, but not pixels that a deck can read
            message = str(error)
            raise RequestError("invalid_image", f"{message[:1].upper()}{message[1:]}.") from error
        raise RequestError("invalid_image", f"The {kind} file is broken or cut off and cannot be decoded.") from error


def _format(data: bytes, declared: str | None) -> str:
    kind = sniff(data)
    named = ALIASES.get(declared or "", declared or "")
    if named.startswith("image/") and named not in (*MEDIA_TYPES.values(), "image/*"):
        raise RequestError("unsupported_media_type", "Only image/png, image/jpeg and image/webp are read.")
    if kind is None:
        other = refused_format(data)
        if other is not None:
            raise RequestError("unsupported_media_type", f"This is {other}; only PNG, JPEG and WEBP are read.")
        raise RequestError("invalid_image", "The bytes are not a PNG, JPEG or WEBP image.")
    if named in MEDIA_TYPES.values() and named != MEDIA_TYPES[kind]:
        raise RequestError("media_type_mismatch", f"The file is declared as {named}, but it holds {kind}.")
    return kind
