"""Whole images moved by Pillow, with the image itself where nothing is left to see."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from PIL import Image

from cards_deck.corruptions._base import Images


def transformed(images: Images, method: Image.Transform, parameters: Iterable[Sequence[float]]) -> Images:
    """Each of uint8 [n, size, size, 3] under `method` with its own parameters, linear; pixels that come from outside
    keep what they are."""
    size = images.shape[1:3]
    white = Image.new("L", size, 255)
    out = []
    for image, given in zip(images, parameters, strict=True):
        values = [float(value) for value in given]
        moved = Image.fromarray(image).transform(size, method, values, Image.Resampling.BILINEAR)
        inside = np.asarray(white.transform(size, method, values, Image.Resampling.BILINEAR)) > 0
        out.append(np.where(inside[..., np.newaxis], np.asarray(moved), image))
    return np.stack(out)
