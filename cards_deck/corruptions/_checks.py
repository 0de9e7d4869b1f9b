"""What `corrupt` and `perturb` refuse."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from cards_deck.corruptions._base import PUBLISHED_SIZE
from cards_deck.errors import InputError


def checked_integer(what: str, value: Any) -> int:
    """`value` as an int; InputError for anything that is not a whole number."""
    if isinstance(value, bool | np.bool_):
        raise InputError(f"{what} must be an integer, not {value!r}")
    try:
        return operator.index(value)
    except TypeError:
        raise InputError(f"{what} must be an integer, not {value!r}") from None


def check_images(images: Any) -> None:
    """InputError unless `images` is uint8 [n, size, size, 3] with size >= 32."""
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8:
        came = f"an array of {images.dtype}" if isinstance(images, np.ndarray) else type(images).__qualname__
        raise InputError(f"images must be a numpy array of uint8, not {came}: scale floats by 255 and convert them")
    if images.ndim != 4 or images.shape[3] != 3 or images.shape[1] != images.shape[2]:
        raise InputError(f"images must be square RGB, [n, size, size, 3], not {list(images.shape)}")
    if images.shape[1] < PUBLISHED_SIZE:
        raise InputError(f"images must be at least {PUBLISHED_SIZE} pixels wide, not {images.shape[1]}: resize them")
