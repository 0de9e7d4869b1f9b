"""The corruptions of CIFAR-10-C-bar, one image and one pixel at a time: what the fast ones are checked against.

After the algorithms of github.com/facebookresearch/augmentation-corruption (Mintun et al., NeurIPS 2021), with scipy
and skimage as there. Every function takes (image uint8 [s, s, 3], level, generator) and returns uint8 [s, s, 3];
`level` is the published severity. Random numbers come from the generator in the order in which the published code needs
them, where it seeds a second generator with a drawn number.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import fftpack, ndimage
from skimage.draw import line_aa

# name -> published severities, of imagenet_c_bar/cifar10_c_bar.csv
LEVELS = {
    "blue_noise_sample": (0.7, 1.4, 2.1, 3.5, 4.2),
    "checkerboard_cutout": (1.0, 2.0, 3.0, 4.0, 5.0),
    "inverse_sparkles": (1.0, 1.5, 2.5, 4.5, 5.0),
    "pinch_and_twirl": (5.5, 6.0, 6.5, 8.5, 10.0),
    "ripple": (5.5, 6.0, 6.5, 7.5, 8.0),
    "brownish_noise": (2.5, 4.0, 5.5, 6.5, 7.0),
    "circular_motion_blur": (2.8, 3.6, 4.4, 5.2, 6.0),
    "lines": (0.5, 1.0, 1.5, 2.0, 2.5),
    "sparkles": (0.7, 3.5, 5.6, 6.3, 7.0),
    "transverse_chromatic_abberation": (1.0, 2.0, 5.0, 9.0, 10.0),
}


def pixel_by_pixel(size, function):
    """Values of function(row, column), [size, size, ...]."""
    return np.array([[function(y, x) for x in range(size)] for y in range(size)])


def finished(values):
    return np.clip(values, 0, 255).astype(np.uint8)


def phase_noise(size, amplitude, generator):
    """amplitude: a function of the distance to the middle of the shifted spectrum."""
    weights = pixel_by_pixel(size, lambda y, x: amplitude(math.hypot(y - size / 2, x - size / 2)))
    phases = np.zeros((size, size))
    phases[:, : size // 2] = generator.uniform(0, 2 * np.pi, (size, size // 2))
    if size % 2:
        phases[: size // 2, size // 2] = generator.uniform(0, 2 * np.pi, size // 2)
        for row in range(size // 2):
            phases[size - 1 - row, size // 2] = phases[row, size // 2]
    for row in range(size):
        for column in range(size // 2):
            phases[size - 1 - row, size - 1 - column] = phases[row, column]
    spectrum = np.zeros((size, size), complex)
    for row, column in np.ndindex(size, size):
        value = weights[row, column] * complex(math.cos(phases[row, column]), math.sin(phases[row, column]))
        spectrum[(row + size // 2) % size, (column + size // 2) % size] = value
    noise = np.real(fftpack.ifft2(spectrum))
    return noise / np.std(noise)


def blue_noise_sample(image, level, generator):
    noise = phase_noise(len(image), lambda radius: radius, generator)
    return pixel_by_pixel(
        len(image), lambda y, x: image[y, x] if noise[y, x] > 0.3 * level - 2.5 else np.zeros(3, np.uint8)
    )


def brownish_noise(image, level, generator):
    noise = [phase_noise(len(image), lambda radius: 1 / (radius**2 + 1), generator) for _ in range(3)]
    return finished(image + 6.4 * level * np.stack(noise, axis=2))


def checkerboard_cutout(image, level, generator):
    size = len(image)
    angle = generator.uniform(0, 2 * np.pi)
    side = max(generator.uniform(0.1, 0.25) * size, 1)
    count = int(4 * size // side)
    grid = generator.uniform(size=(count, count)) < level / 10

    def pixel(y, x):
        down = (math.cos(angle) * y + math.sin(angle) * x) / side
        across = (-math.sin(angle) * y + math.cos(angle) * x) / side
        light = int(down % 2) != int(across % 2)
        return image[y, x] if light or not grid[int(down), int(across)] else [128, 128, 128]

    return finished(pixel_by_pixel(size, pixel))


def starlight(y, x, centre, lengths, exponent):
    down, across = y - centre[0], x - centre[1]
    distance = math.hypot(down, across)
    place = (math.atan2(across, down) + math.pi) / (2 * math.pi) * len(lengths)
    ray, between = int(place), place - int(place)
    near, far = lengths[ray % len(lengths)], lengths[(ray + 1) % len(lengths)]
    reach = (near + between * (far - near)) ** 2 / (distance**2 + 1e-4)
    return min(max((1 - (between - 0.5) ** 2) * reach**exponent, 0), 1)


def sparkles(image, level, generator):
    size = len(image)
    radius = level / 100 * size
    centres = generator.uniform(0, size, (5, 2))
    counts = generator.integers(50, 200, 5)
    for centre, count in zip(centres, counts, strict=True):
        lengths = [max(1, radius + 0.25 * radius * generator.standard_normal()) for _ in range(count)]
        image = image.astype(np.float32)
        image = pixel_by_pixel(
            size, lambda y, x, i=image, c=centre, n=lengths: i[y, x] + starlight(y, x, c, n, 1) * (255.0 - i[y, x])
        )
    return finished(image)


def inverse_sparkles(image, level, generator):
    size = len(image)
    centre = generator.uniform(0.25, 0.75, 2) * size
    count = generator.integers(50, 200)
    lengths = [0.25 * size + 0.25 * 0.25 * size * generator.standard_normal() for _ in range(count)]
    exponent = 6.5 * level / 50
    return finished(
        pixel_by_pixel(
            size, lambda y, x: 255.0 + starlight(y, x, centre, lengths, exponent) * (image[y, x].astype(float) - 255.0)
        )
    )


def bilinear(image, y, x):
    """The value at (y, x), black outside."""

    def at(row, column):
        inside = 0 <= row < len(image) and 0 <= column < len(image)
        return image[row, column].astype(float) if inside else np.zeros(3)

    top, left = math.floor(y), math.floor(x)
    upper = at(top, left) * (1.0 - x + left) + at(top, left + 1) * (x - left)
    lower = at(top + 1, left) * (1.0 - x + left) + at(top + 1, left + 1) * (x - left)
    return upper * (1.0 - y + top) + lower * (y - top)


def pinch_and_twirl(image, level, generator):
    """Cell by cell and in place, as published: a cell could read what an earlier one wrote."""
    turns = np.where(generator.integers(0, 2, 9) == 0, 1, -1).reshape(3, 3)
    amount, side = 0.04 * level + 0.1, len(image) // 3
    radius = side / 2

    def source(y, x, centre, turn):
        down, across = y - centre[0], x - centre[1]
        distance = math.hypot(down, across)
        if distance > radius or round(distance, 3) == 0:
            return y, x
        pinch = math.sin(math.pi / 2 * distance / radius) ** -amount
        angle = turn * level * math.pi / 20 * (1 - distance / radius) ** 2
        down, across = down * pinch, across * pinch
        cosine, sine = math.cos(angle), math.sin(angle)
        return centre[0] + down * cosine - across * sine, centre[1] + down * sine + across * cosine

    out = image.astype(float)
    for i in range(3):
        for j in range(3):
            rows, columns = range(j * side, (j + 1) * side), range(i * side, (i + 1) * side)
            centre = (j * side + radius, i * side + radius)
            cell = [[bilinear(out, *source(y, x, centre, turns[i, j])) for x in columns] for y in rows]
            out[rows.start : rows.stop, columns.start : columns.stop] = cell
    return finished(out)


def ripple(image, level, generator):
    size = len(image)
    amplitude = 0.0025 * level * size
    wavelengths = generator.uniform(0.1, 0.3, 2) * size
    phases = generator.uniform(0, 2 * np.pi, 2)

    def moved(at, axis):
        return at + amplitude * math.sin(2 * math.pi * at / wavelengths[axis] + phases[axis])

    return finished(pixel_by_pixel(size, lambda y, x: bilinear(image, moved(y, 0), moved(x, 1))))


def circular_motion_blur(image, level, generator):
    x = image.astype(np.float32) / 255
    shares = [2 * i / 20 - 1 for i in range(21)]
    weights = [math.exp(-2 * share**2) for share in shares]
    out = np.zeros_like(x)
    for share, weight in zip(shares, weights, strict=True):
        out += weight * ndimage.rotate(x, share * 1.5 * level, reshape=False)
    out /= sum(weights)
    return finished(out * 255)


def lines(image, level, generator):
    size = len(image)
    angle, spread = generator.uniform(0, 2 * np.pi), generator.uniform(0.1, 1)
    out = image.copy()
    for _ in range(int(level / 10 * size)):
        x, y = size * generator.uniform(), size * generator.uniform()
        a = angle + 2 * np.pi * spread * (generator.uniform() - 0.5)
        s, c = math.sin(a) * size, math.cos(a) * size
        for row, column, share in zip(*line_aa(int(x - c), int(y - s), int(x + c), int(y + s)), strict=True):
            if 0 <= row < size and 0 <= column < size:
                out[row, column] = ((1 - share) * out[row, column].astype(float) + share * 128).astype(np.uint8)
    return out


def transverse_chromatic_abberation(image, level, generator):
    size, largest = len(image), 0.05 * level
    factors = np.array([1, 1 + largest / 2, 1 + largest])[generator.permutation(3)]
    out = image.copy()
    for channel, factor in enumerate(factors):
        enlarged = ndimage.zoom(image[..., channel], factor, prefilter=False)
        edge = (len(enlarged) - size) // 2
        out[..., channel] = enlarged[edge : edge + size, edge : edge + size]
    return out
