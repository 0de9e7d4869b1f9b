"""Noise and textures made for CIFAR-10 beside those of CIFAR-10-C-bar, one image and one pixel at a time.

As `published_cbar`: what the fast ones are checked against. Levels are every second one of
imagenet_c_bar/cifar10_new_corruptions.csv.
"""

from __future__ import annotations

import math

import numpy as np
from published_cbar import bilinear, finished, phase_noise, pixel_by_pixel
from scipy import ndimage

LEVELS = {
    "single_frequency_greyscale": (0.6, 1.2, 1.8, 2.4, 3.0),
    "cocentric_sine_waves": (1.0, 2.0, 3.0, 4.0, 5.0),
    "plasma_noise": (1.4, 2.8, 4.2, 5.6, 7.0),
    "perlin_noise": (5.2, 6.4, 7.6, 8.8, 10.0),
    "caustic_refraction": (1.8, 2.6, 3.4, 4.2, 5.0),
    "blue_noise": (0.4, 0.8, 1.2, 1.6, 2.0),
    "scatter": (1.8, 2.6, 3.4, 4.2, 5.0),
    "chromatic_abberation": (1.4, 2.8, 4.2, 5.6, 7.0),
    "voronoi_noise": (1.8, 2.6, 3.4, 4.2, 5.0),
    "caustic_noise": (3.0, 4.0, 5.0, 6.0, 7.0),
}


def single_frequency_greyscale(image, level, generator):
    larger = generator.uniform(-np.pi, np.pi)
    frequencies = [larger, generator.uniform(-abs(larger), abs(larger))]
    first, second = (frequencies[i] for i in generator.permutation(2))
    phase = generator.uniform(0, 2 * np.pi)
    wave = pixel_by_pixel(len(image), lambda y, x: [math.sin(x * first + y * second + phase)] * 3)
    return finished(image + 19.6 * level * wave)


def cocentric_sine_waves(image, level, generator):
    size = len(image)
    x0, y0 = generator.uniform(0, size, 2)
    swings, amplitude, width = (generator.uniform(0, high) for high in (10, size / 10, size / 10))

    def ring(y, x):
        edge = math.sin(math.atan2(x - x0, y - y0) * swings) * amplitude
        return [((math.sqrt((x - x0) ** 2 + (y - y0) ** 2) + edge) % width) / width - 0.5] * 3

    return finished(image + 12.8 * level * pixel_by_pixel(size, ring))


def plasma_noise(image, level, generator):
    size, intensity = len(image), 6.4 * level
    time, turns = generator.uniform(0, 6 * np.pi), generator.integers(4, 7)
    sharpness, scale = generator.uniform(0.5, 1.0), generator.uniform(0.075, 0.2) * size

    def colour(row, column):
        at = np.array([column / scale, row / scale])
        i = np.array([1.0, 1.0, 1.0, 0.0])
        for _ in range(turns):
            step = np.array([math.cos(at[1] * i[0] - i[3] + time / i[1]), math.sin(at[0] * i[0] - i[3] + time / i[1])])
            step /= i[2]
            step = step + 0.3 * np.array([-step[1], step[0]])
            at = at + step
            i = i * np.array([1.93, 1.15, 2.25 - sharpness, time * i[1]])
        red, blue = math.sin(at[0] - time), math.sin(at[1] + time)
        return [red, math.sin((at[0] + at[1] + math.sin(time)) * 0.5), blue]

    return finished((1 - intensity / 255) * image + intensity * pixel_by_pixel(size, colour))


def perlin_noise(image, level, generator):
    """Hashed as published, with a permutation and gradients that are drawn in fewer numbers."""
    size, alpha = len(image), 0.05 * level
    points = generator.integers(-256, 256, (256, 2))
    gradients = [(a / math.hypot(a, b), b / math.hypot(a, b)) if a or b else (2**-0.5, 2**-0.5) for a, b in points]
    order = generator.permutation(256).tolist()

    def noise(y, x):
        top, left = int(y) % 256, int(x) % 256
        down, across = y % 1, x % 1

        def towards(row, column):
            a, b = gradients[order[(order[(top + row) % 256] + (left + column) % 256) % 256]]
            return a * (down - row) + b * (across - column)

        vertical, horizontal = (t * t * (3 - 2 * t) for t in (down, across))
        first = towards(0, 0) + vertical * (towards(1, 0) - towards(0, 0))
        second = towards(0, 1) + vertical * (towards(1, 1) - towards(0, 1))
        return 1.5 * (first + horizontal * (second - first))

    def smoke(y, x):
        unit = 32 * size / 224
        total = sum(abs(noise(f * (y / unit), f * (x / unit))) / f for f in (1, 2, 4, 8, 16))
        return [min(max(0.5 * total + 0.5, 0), 1)] * 3

    return finished((1 - alpha) * image + 255 * alpha * pixel_by_pixel(size, smoke))


def voronoi_noise(image, level, generator):
    size, intensity = len(image), 25.5 * level
    time, density = generator.uniform(0, 10), generator.uniform(0.5, 0.9)
    unit = generator.uniform(0.05, 0.2) * size
    if generator.uniform() > 0.5:
        intensity = -intensity

    def point(cell):
        mixed = np.array([[13.85, 47.77], [99.41, 88.48]]) @ cell
        return (np.sin(mixed) * np.sqrt(mixed) * time * 0.0025) % 1

    def cells(y, x):
        at = np.array([x, y]) / unit + 1
        cell, place = at // 1, at % 1
        steps = [np.array([i, j]) for i in (-1, 0, 1) for j in (-1, 0, 1)]
        near = density * min(1.0, *(np.linalg.norm(step + point(cell + step) - place) for step in steps))
        return [3 * near**2 - 2 * near**3 - 0.5] * 3

    return finished(image + intensity * pixel_by_pixel(size, cells))


def caustic_noise(image, level, generator):
    size = len(image)
    time, period = generator.uniform(0.5, 2.0), generator.uniform(0.75, 1.25) * size
    return finished(image + 25.5 * level * pixel_by_pixel(size, lambda y, x: [_caustics(y, x, time, period)] * 3))


def _caustics(y, x, time, period):
    p = (np.array([y, x]) / period % 1) * 6.28318530718 - 250
    i, light = p.copy(), 1.0
    for n in range(5):
        t = time * (1.0 - 3.5 / (n + 1))
        i = p + np.array([np.cos(t - i[0]) + np.sin(t + i[1]), np.sin(t - i[1]) + np.cos(t + i[0])])
        light += 1 / np.sqrt((p[0] / (np.sin(i[0] + t) / 0.005)) ** 2 + (p[1] / (np.cos(i[1] + t) / 0.005)) ** 2)
    return min(abs(1.17 - (light / 5) ** 1.4) ** 8, 1)


def caustic_refraction(image, level, generator):
    size = len(image)
    time, period = generator.uniform(0.5, 2.0), generator.uniform(0.75, 1.25) * size

    surface = ndimage.gaussian_filter(pixel_by_pixel(size, lambda y, x: _caustics(y, x, time, period)), sigma=1)
    pixels = image / 255

    def height(y, x):
        return surface[y, x] if 0 <= y < size and 0 <= x < size else 0.0

    def pixel(y, x):
        north, south = height(y, x - 1), height(y, x + 1)
        west, east = height(y - 1, x), height(y + 1, x)
        normal = np.array([east - west, south - north, 1.0])
        bent = _refracted(np.array([0.0, 0.0, 1.0]), normal / np.linalg.norm(normal)) * (0.05 * level * size)
        seen = bilinear(pixels, y + round(bent[0], 3), x + round(bent[1], 3))
        return np.clip(seen + (north - south + east - west) * 0.2 * level, 0, 1)

    return finished(pixel_by_pixel(size, pixel) * 255)


def _refracted(incident, normal):
    """A ray turned about the axis that is upright on it and on the normal, by Snell's law."""
    if abs(incident @ normal) >= 1 - 1e-3:
        return incident
    angle = math.asin(math.sin(math.acos(incident @ normal)) / 4)
    axis = np.cross(incident, normal)
    axis /= np.linalg.norm(axis)
    return math.cos(angle) * normal + math.sin(angle) * np.cross(normal, axis)


def blue_noise(image, level, generator):
    noise = [phase_noise(len(image), lambda radius: radius, generator) for _ in range(3)]
    return finished(image + 19.6 * level * np.stack(noise, axis=2))


def scatter(image, level, generator):
    size, radius, seed = len(image), 0.01 * level * len(image), generator.uniform(0, 10)

    def offset(a, b):
        mixed = 12.9898 * math.sin(a * seed) + 78.233 * math.cos(b * seed)
        return radius * (-1 + 2 * ((math.sin(mixed) * 43758.5453) % 1))

    def inside(at):
        return min(max(0, at), size - 1)

    def pixel(y, x):
        return bilinear(image, inside(y + offset(y, x)), inside(x + offset(x, y)))

    return finished(pixel_by_pixel(size, pixel))


def chromatic_abberation(image, level, generator):
    out, away = image.copy(), 0.01 * level * len(image)
    for channel, angle in enumerate(generator.uniform(0, 2 * np.pi, 3)):
        by = (math.cos(angle) * away, math.sin(angle) * away)
        out[..., channel] = ndimage.shift(image[..., channel], by, prefilter=False)
    return out
