"""The published corruptions as their script runs them: one image at a time, every step in the library it calls.

Most are the references that the tests compare with. Where those spell out in Python what the script has done in C, or
skip work that it does for each image, they are replaced here. ImageMagick is not: its motion blur is the same taps in
cv2.filter2D, with a PNG written before and read after as published, but not read and written in between, and so is
faster than the published one.
"""

from __future__ import annotations

import atexit
import importlib.util
import shutil
import tempfile
from collections.abc import Callable
from functools import cache, partial
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from cards_deck.corruptions import VALIDATION_CORRUPTIONS, _textures
from cards_deck.corruptions._base import Images
from cards_deck.corruptions._geometry import motion_offsets
from cards_deck.corruptions.frost import Frost
from cards_deck.corruptions.jpeg_compression import JpegCompression
from cards_deck.corruptions.pixelate import Pixelate

Published = Callable[[Images, int, np.random.Generator], Any]  # (image [32, 32, 3], severity, generator) -> image


def _reference(name: str) -> Any:
    """A module of tests/, a copy of its own to replace parts of."""
    path = Path(__file__).resolve().parent.parent / "tests" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"benchmarks.{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_TESTS, _VALIDATION = _reference("published_corruptions"), _reference("published_corruptions_validation")


def published(name: str) -> Published:
    """The published algorithm of a corruption."""
    if name == "elastic_transform":
        warp = partial(cv2.warpAffine, dsize=(32, 32), borderMode=cv2.BORDER_REFLECT_101)
        return partial(_TESTS.elastic_transform, warp=warp)
    replaced = {"frost": _frost, "pixelate": _pixelate, "jpeg_compression": _jpeg_compression}
    module = _VALIDATION if name in VALIDATION_CORRUPTIONS else _TESTS
    return replaced.get(name) or getattr(module, name)


def _motion_blur(image: Images, radius: float, sigma: float, angle: float) -> Images:
    """ImageMagick's motion blur of uint8 [size, size, channels]; see the module."""
    file = BytesIO()
    Image.fromarray(image.squeeze()).save(file, "PNG")
    width = 2 * int(np.ceil(radius)) + 1
    down, across = (offsets[0] for offsets in motion_offsets(width, np.array([angle])))
    kernel = np.zeros((2 * width - 1, 2 * width - 1))
    taps = np.exp(-(np.arange(width) ** 2) / (2 * sigma**2))
    np.add.at(kernel, (down + width - 1, across + width - 1), taps)
    blurred = cv2.filter2D(image, cv2.CV_32F, kernel / kernel.sum(), borderType=cv2.BORDER_REPLICATE)
    cv2.imdecode(np.frombuffer(file.getvalue(), np.uint8), cv2.IMREAD_UNCHANGED)
    return np.asarray(blurred.reshape(image.shape) + np.float32(0.5), np.uint8)


_TESTS.imagemagick_motion_blur = _motion_blur


@cache
def _frost_files() -> list[str]:
    """The textures as files, three PNG and two JPEG, which the script opens anew for each image."""
    folder = tempfile.mkdtemp(prefix="frost-")
    atexit.register(shutil.rmtree, folder)
    textures = _textures._published() or _textures.procedural_textures()
    paths = [f"{folder}/{index}.{'png' if index < 3 else 'jpg'}" for index in range(len(textures))]
    for path, texture in zip(paths, textures, strict=True):
        cv2.imwrite(path, texture[..., ::-1])
    return paths


def _frost(image: Images, severity: int, generator: np.random.Generator) -> Any:
    frost, size = np.asarray(cv2.imread(_frost_files()[generator.integers(5)])), len(image)
    frost = cv2.resize(frost, (0, 0), fx=0.2, fy=0.2)
    row, column = generator.integers(0, frost.shape[0] - size), generator.integers(0, frost.shape[1] - size)
    frost = frost[row : row + size, column : column + size, ::-1]
    return np.uint8(np.clip(Frost().keep[severity - 1] * image + Frost().add[severity - 1] * frost, 0, 255))


def _pixelate(image: Images, severity: int, generator: np.random.Generator) -> Any:
    size, box = len(image), Image.Resampling.BOX
    small = int(size * Pixelate().factor[severity - 1])
    return np.asarray(Image.fromarray(image).resize((small, small), box).resize((size, size), box))


def _jpeg_compression(image: Images, severity: int, generator: np.random.Generator) -> Any:
    file = BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=JpegCompression().quality[severity - 1])
    return np.asarray(Image.open(file))
