"""The pictures of frost: the published ones where an installed package carries them, else made here."""

from __future__ import annotations

import hashlib
import importlib.util
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

Texture = npt.NDArray[np.uint8]  # [h, w, 3], RGB

# The files of github.com/hendrycks/robustness, which PyPI's `imagecorruptions` carries unchanged. There is a sixth, but
# the published code draws from the first five only.
_PUBLISHED = {
    "frost1.png": "ff9f907860bd7a835d459e32f9d588062b7f61ee267343cc7222b56753a14755",
    "frost2.png": "fe211a89b336999c207a852ce05818d4545d0b57c5beadd824b4cc9d9a9b6137",
    "frost3.png": "2d0d50b4a9bb213f38b024ef7768731bb83cc08d2f26b5766bbc167cdfa0e504",
    "frost4.jpg": "3f8b91ca1a9fa7167b09e773da53f5ae60d0a1fd88f02a783f6e328a72887f6e",
    "frost5.jpg": "5fc6a19df4a429ba68abdcc8f8a4278d4c9f81c9ccafd2c92ab0c8cf8992ebd2",
}

_TINTS = ((78, 149, 166), (201, 205, 214), (201, 205, 214), (138, 153, 166), (112, 123, 135))  # means of the published
_CONTRASTS = (21, 22, 22, 29, 43)  # and their standard deviations within a channel
_HEIGHT, _WIDTH = 350, 560
_SHRINK = 0.2  # the published code resizes by this before it crops 32 pixels


def frost_source() -> str:
    """Say "published" where the benchmark's textures are installed (PyPI's `imagecorruptions`), else "procedural"."""
    return "published" if _published() else "procedural"


@cache
def frost_textures(size: int) -> tuple[Texture, ...]:
    """The five textures, RGB uint8 [h, w, 3], scaled for images of this size (0.2 at 32 x 32)."""
    scale = _SHRINK * size / 32
    return tuple(resized(texture, scale) for texture in _published() or procedural_textures())


def resized(texture: Texture, scale: float) -> Texture:
    """cv2.resize(fx=scale, fy=scale): linear without smoothing, so that 0.2 takes every fifth pixel as it is."""
    rows, columns = (round(length * scale) for length in texture.shape[:2])
    upper, lower, down = _linear_taps(rows, texture.shape[0], scale)
    left, right, across = _linear_taps(columns, texture.shape[1], scale)
    source = texture.astype(np.float64)
    tall = source[upper] * (1 - down)[:, None, None] + source[lower] * down[:, None, None]
    wide = tall[:, left] * (1 - across)[:, None] + tall[:, right] * across[:, None]
    pixels: Texture = np.floor(wide + 0.5).astype(np.uint8)
    return pixels


def _linear_taps(count: int, length: int, scale: float) -> tuple[npt.NDArray[np.int64], ...]:
    at = np.clip((np.arange(count) + 0.5) * (1 / scale) - 0.5, 0, length - 1)
    low = np.floor(at).astype(np.int64)
    return low, np.minimum(low + 1, length - 1), at - low


@cache
def _published() -> tuple[Texture, ...]:
    """The published textures, or () where they are missing or not the published bytes; the package is not imported."""
    spec = importlib.util.find_spec("imagecorruptions")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        paths = [Path(folder) / "frost" / name for name in _PUBLISHED]
        if all(path.is_file() and _sha256(path) == _PUBLISHED[path.name] for path in paths):
            return tuple(_opened(path) for path in paths)
    return ()


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _opened(path: Path) -> Texture:
    with Image.open(path) as image:
        pixels: Texture = np.asarray(image.convert("RGB"))  # drops alpha, as cv2.imread does
    return pixels


@cache
def procedural_textures() -> tuple[Texture, ...]:
    """Five textures of ice needles with side branches, always the same, in the colours of the published ones."""
    return tuple(_needles(index) for index in range(len(_TINTS)))


def _needles(index: int) -> Texture:
    generator = np.random.Generator(np.random.Philox(key=index))
    ice = np.zeros((_HEIGHT, _WIDTH))
    for _ in range(300):
        start, angle = generator.random(2) * ice.shape, generator.random() * 2 * np.pi
        length = 20 + 100 * generator.random()
        _draw(ice, start, angle, length)
        for along in np.arange(10, length, 10):  # ice branches at 60 degrees
            root = start + along * np.array([np.sin(angle), np.cos(angle)])
            for side in (-np.pi / 3, np.pi / 3):
                _draw(ice, root, angle + side, 0.4 * (length - along) * generator.random())
    clouds = ndimage.gaussian_filter(generator.standard_normal(ice.shape), 40, mode="wrap")
    ice = ndimage.gaussian_filter(np.minimum(ice, 3.0), 1.0, mode="wrap")
    ice = ice / ice.std() + clouds / clouds.std()
    relief = _CONTRASTS[index] * (ice - ice.mean()) / ice.std()
    pixels: Texture = np.clip(np.array(_TINTS[index]) + relief[..., np.newaxis], 0, 255).astype(np.uint8)
    return pixels


def _draw(ice: npt.NDArray[np.float64], start: npt.NDArray[np.float64], angle: float, length: float) -> None:
    steps = np.arange(length)
    rows = np.rint(start[0] + steps * np.sin(angle)).astype(np.int64) % ice.shape[0]
    columns = np.rint(start[1] + steps * np.cos(angle)).astype(np.int64) % ice.shape[1]
    ice[rows, columns] += 1.0
