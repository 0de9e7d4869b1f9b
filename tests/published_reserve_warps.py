"""Warps made for CIFAR-10 beside CIFAR-10-C-bar, as `published_reserve`; the two that leave the sampling to Pillow are
written out here."""

from __future__ import annotations

import math

import numpy as np
from published_cbar import bilinear, finished, pixel_by_pixel

LEVELS = {
    "fish_eye": (0.2, 0.4, 0.6, 0.8, 1.0),
    "water_drop": (3.6, 5.2, 6.8, 8.4, 10.0),
    "perspective_no_bars": (2.0, 4.0, 6.0, 8.0, 10.0),
    "quadrilateral_no_bars": (2.0, 4.0, 6.0, 8.0, 10.0),
}


def fish_eye(image, level, generator):
    size, radius, eta = len(image), max(0.05 * len(image), 3), 1 + level / 5
    out = image.astype(np.float32)

    def angle(away, height):
        upright = math.pi / 2 - math.acos(away / math.sqrt(away**2 + height**2))
        return upright - math.asin(math.sin(upright) / eta)

    for centre in generator.uniform(0, size, (501, 2)):
        before = out.copy()
        for y in range(max(math.floor(centre[0] - radius), 0), min(math.ceil(centre[0] + radius), size)):
            for x in range(max(math.floor(centre[1] - radius), 0), min(math.ceil(centre[1] + radius), size)):
                dy, dx = y - centre[0], x - centre[1]
                if dx**2 >= radius**2 - dy**2:
                    continue
                height = math.sqrt((1 - dy**2 / radius**2 - dx**2 / radius**2) * radius**2)
                at = y - math.tan(angle(dy, height)) * height, x - math.tan(angle(dx, height)) * height
                out[y, x] = bilinear(before, *at)
    return finished(out)


def water_drop(image, level, generator):
    size = len(image)
    centre = generator.uniform(0.25, 0.75, 2) * size
    wavelength, phase = generator.uniform(0.05, 0.2) * size, generator.uniform(0, 2 * np.pi)

    def pixel(y, x):
        away = np.array([y, x]) - centre
        distance = np.linalg.norm(away)
        if distance > size // 2:
            return bilinear(image, y, x)
        wave = 0.025 * level * math.sin(distance / wavelength * math.pi * 2 - phase)
        return bilinear(image, *(np.array([y, x]) + wave * wavelength / distance * away))

    return finished(pixel_by_pixel(size, pixel))


def perspective_no_bars(image, level, generator):
    size, share = len(image), level / 10
    b, d, c, f, a, e = (
        value * share * (-1 if draw > 0.5 else 1)
        for value, draw in zip((0.1, 0.1, size / 10, size / 10, 0.15, 0.15), generator.uniform(0, 1, 6), strict=True)
    )

    def source(y, x):
        nearness = 0.2 / size * share * (x + y) + 1
        return (d * x + 2**e * y + f) / nearness, (2**a * x + b * y + c) / nearness

    return _moved(image, source)


def quadrilateral_no_bars(image, level, generator):
    size = len(image)
    corners = np.array([[0, 0], [0, size], [size, size], [size, 0]])
    upper_left, lower_left, lower_right, upper_right = corners + size * level / 30 * generator.uniform(-1, 1, (4, 2))

    def source(y, x):
        y, x = y / size, x / size
        upper, lower = upper_left + x * (upper_right - upper_left), lower_left + x * (lower_right - lower_left)
        column, row = upper + y * (lower - upper)
        return row, column

    return _moved(image, source)


def _moved(image, source):
    """Pillow's linear transform: centres of pixels, neighbours within the image, truncated; the image where there is
    nothing."""
    size = len(image)
    last = size - 1

    def pixel(y, x):
        row, column = source(y + 0.5, x + 0.5)
        if not (0 <= row < size and 0 <= column < size):
            return image[y, x]
        top, left = math.floor(row - 0.5), math.floor(column - 0.5)
        low, right = row - 0.5 - top, column - 0.5 - left
        (above, below), (before, after) = ([min(max(i, 0), last) for i in (k, k + 1)] for k in (top, left))
        upper = image[above, before] * (1 - right) + image[above, after] * right
        lower = image[below, before] * (1 - right) + image[below, after] * right
        return upper * (1 - low) + lower * low

    return finished(pixel_by_pixel(size, pixel))
