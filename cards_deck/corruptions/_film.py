"""What the corruptions that look like film share."""

from __future__ import annotations

import numpy as np

from cards_deck.corruptions._base import Floats, Images

_SHARES = np.array([0.2126, 0.7152, 0.0722])  # of red, green and blue in brightness


def luma(images: Images) -> Floats:
    """Brightness in [0, 1] of uint8 [..., 3], float64 [..., 1]."""
    return np.asarray(np.sum(images * _SHARES, axis=-1, keepdims=True) / 255)


def wrapped(values: Floats) -> Images:
    """Truncated to whole numbers; those outside 0 to 255 wrap around, as the published code's cast has it."""
    return values.astype(np.int64).astype(np.uint8)
