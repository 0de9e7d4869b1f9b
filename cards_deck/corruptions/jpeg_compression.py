"""JPEG compression: blocks and smeared colour."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO

import numpy as np
from PIL import Image

from cards_deck.corruptions._base import REGISTRY, Draws, Images


@REGISTRY.register("jpeg_compression")
@dataclass(frozen=True)
class JpegCompression:
    """Written and read back by Pillow at this quality, colour at half resolution (4:2:0, Pillow's default).

    Nothing random. JPEG's blocks are 8 pixels at every size, as a camera's are, so nothing scales. Pixels may differ
    by a grey level or two between builds of libjpeg.
    """

    quality: tuple[int, ...] = (80, 65, 58, 50, 40)

    def __call__(self, images: Images, severity: int, draws: Draws) -> Images:
        """See `Corruption`."""
        return np.stack([_written_and_read(image, self.quality[severity - 1]) for image in images])


def _written_and_read(image: Images, quality: int) -> Images:
    file = BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality)
    with Image.open(file) as decoded:
        return np.asarray(decoded)
