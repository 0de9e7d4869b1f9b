"""Photographs made up for tests: things that hide each other, texture, and a sensor's noise, at any size.

Discs and squares of power-law sizes laid over each other ("dead leaves") have the edges and the scale invariance of
natural images (Lee, Mumford and Huang, IJCV 2001); on them lie a 1/f^a texture and the noise of a camera.
"""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter
from scipy.ndimage import gaussian_filter

TILE = 512


def photo(width: int, height: int, seed: int = 0) -> Image.Image:
    """An RGB photograph, sharp to its last pixel."""
    rng = np.random.default_rng(seed)
    image = Image.new("RGB", (width, height), _colour(rng))
    draw = ImageDraw.Draw(image)
    short = min(width, height)
    # P(radius > r) ~ 1/r^2 from 2 % to 50 % of the short side, largest first: small things lie in front.
    for radius in np.sort(short * 0.02 / np.sqrt(1 - 0.998 * rng.random(120)))[::-1]:
        x, y = rng.random() * width, rng.random() * height
        if rng.random() < 0.5:
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), _colour(rng))
        else:
            draw.regular_polygon((x, y, radius), 4, rotation=int(rng.integers(90)), fill=_colour(rng))
    grain = 18 * _texture(rng, slope=rng.uniform(0.8, 1.3))[..., None] + rng.normal(0, 4, (TILE, TILE, 3))
    tiles = np.tile(grain.astype(np.float32), (height // TILE + 1, width // TILE + 1, 1))[:height, :width]
    return Image.fromarray(np.clip(np.asarray(image) + tiles, 0, 255).astype(np.uint8))


def out_of_focus(image: Image.Image, pixels: float) -> Image.Image:
    """The photograph blurred, with a standard deviation of `pixels` of its own."""
    return image.filter(ImageFilter.GaussianBlur(pixels))


def blurred(images: NDArray[np.uint8], sigma: float = 1.0) -> NDArray[np.uint8]:
    """uint8 [n, h, h, 3] blurred as a deck's augmentation would: at the deck's size, in its pixels."""
    return np.rint(gaussian_filter(images.astype(np.float32), (0, sigma, sigma, 0))).astype(np.uint8)


def noisy(images: NDArray[np.uint8], deviation: float = 20, seed: int = 0) -> NDArray[np.uint8]:
    """uint8 [n, h, h, 3] with Gaussian noise, at the deck's size."""
    noise = np.random.default_rng(seed).normal(0, deviation, images.shape)
    return np.clip(images + noise, 0, 255).astype(np.uint8)


def encoded(image: Image.Image, kind: str, quality: int = 0) -> bytes:
    """The bytes of a file; `quality` is JPEG's and WEBP's."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **({"compress_level": 1} if kind == "PNG" else {"quality": quality}))
    return buffer.getvalue()


def _colour(rng: np.random.Generator) -> tuple[int, int, int]:
    red, green, blue = rng.integers(20, 236, 3).tolist()
    return red, green, blue


def _texture(rng: np.random.Generator, slope: float) -> NDArray[np.float32]:
    rows, columns = np.fft.fftfreq(TILE), np.fft.rfftfreq(TILE)
    radius = np.maximum(np.hypot(rows[:, None], columns), 1 / TILE)
    plane = np.fft.irfft2(np.fft.rfft2(rng.normal(size=(TILE, TILE))) / radius**slope, s=(TILE, TILE))
    return (plane / plane.std()).astype(np.float32)
