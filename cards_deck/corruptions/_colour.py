"""RGB and HSV, with the arithmetic of scikit-image in its order, so that pixels are equal to the last bit."""

from __future__ import annotations

import numpy as np

from cards_deck.corruptions._base import Floats

# For each sixth of the hue circle, which of (v, t, p, q) is red, green and blue.
_SECTORS = np.array([[0, 1, 2], [3, 0, 2], [2, 0, 1], [2, 3, 0], [1, 2, 0], [0, 2, 3]])


def rgb_to_hsv(rgb: Floats) -> tuple[Floats, Floats, Floats]:
    """RGB [..., 3] in [0, 1] -> hue, saturation, value [...]; the arithmetic of skimage.color.rgb2hsv, in its order."""
    red, green, blue = (np.ascontiguousarray(rgb[..., channel]) for channel in range(3))
    value = np.maximum(np.maximum(red, green), blue)
    delta = value - np.minimum(np.minimum(red, green), blue)
    safe = np.where(delta == 0, 1.0, delta)
    sectors = [4.0 + (red - green) / safe, 2.0 + (blue - red) / safe, (green - blue) / safe]
    hue = np.where(value == blue, sectors[0], np.where(value == green, sectors[1], sectors[2]))  # blue wins ties
    grey = delta == 0
    saturation = delta / np.where(value == 0, 1.0, value)
    return np.where(grey, 0.0, (hue / 6.0) % 1.0), np.where(grey, 0.0, saturation), value


def hsv_to_rgb(hue: Floats, saturation: Floats, value: Floats) -> Floats:
    """Hue, saturation, value [...] -> RGB [..., 3]; the arithmetic of skimage.color.hsv2rgb, in its order."""
    sector = np.floor(hue * 6)
    fraction = hue * 6 - sector
    p = value * (1 - saturation)
    q = value * (1 - fraction * saturation)
    t = value * (1 - (1 - fraction) * saturation)
    candidates = np.stack([value, t, p, q], axis=-1)
    return np.take_along_axis(candidates, _SECTORS[sector.astype(np.int64) % 6], axis=-1)
