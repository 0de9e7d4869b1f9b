"""The published corruptions, one image at a time: what cards_deck.corruptions is checked against.

After ImageNet-C/create_c/make_cifar_c.py of github.com/hendrycks/robustness, with cv2 and skimage as there, loops where
it calls ImageMagick, and a generator where it uses numpy's global one. Every function takes (image uint8 [32, 32, 3],
severity, generator) and returns uint8 [32, 32, 3].
"""

from __future__ import annotations

import hashlib
import math

import cv2
import numpy as np
from scipy.ndimage import map_coordinates
from scipy.ndimage import zoom as scipy_zoom
from skimage.color import hsv2rgb, rgb2hsv
from skimage.filters import gaussian
from skimage.util import random_noise


def generator_for(image, name, severity, seed=0):
    """The stream that `corrupt` promises for this image."""
    key = f"{seed}/{name}/{severity}/".encode() + hashlib.sha256(image.tobytes()).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(hashlib.sha256(key).digest()[:16], "little")))


def pictures(count, size=32, seed=0):
    """Generated images with what photographs have: soft colours, edges, flat and saturated areas, fine grain."""
    generator = np.random.default_rng(seed)
    steps = np.linspace(0, 1, size)
    x, y = steps[np.newaxis, :, np.newaxis], steps[:, np.newaxis, np.newaxis]
    images = []
    for _ in range(count):
        a, b, c, d = generator.random((4, 3))
        picture = 255 * (a * x + b * y + c * np.sin(6 * (x + d * y)) ** 2) / 1.6
        top, left, side = generator.integers(2, size // 2, 3)
        picture[top : top + side, left : left + side] = generator.integers(0, 256, 3)
        picture[-6:, -9:] = 255 * generator.integers(0, 2)
        picture[size // 2 :] += generator.normal(0, 12, (size - size // 2, size, 1))
        images.append(np.clip(picture, 0, 255).astype(np.uint8))
    return np.stack(images)


def gaussian_noise(image, severity, generator):
    c = [0.04, 0.06, 0.08, 0.09, 0.10][severity - 1]
    x = np.array(image) / 255.0
    return np.uint8(np.clip(x + generator.normal(size=x.shape, scale=c), 0, 1) * 255)


def shot_noise(image, severity, generator):
    c = [500, 250, 100, 75, 50][severity - 1]
    x = np.array(image) / 255.0
    return np.uint8(np.clip(generator.poisson(x * c) / c, 0, 1) * 255)


def impulse_noise(image, severity, generator):
    c = [0.01, 0.02, 0.03, 0.05, 0.07][severity - 1]
    x = random_noise(np.array(image) / 255.0, mode="s&p", amount=c, rng=generator)
    return np.uint8(np.clip(x, 0, 1) * 255)


def published_disk(radius, alias_blur):
    steps = np.arange(-8, 8 + 1)
    x, y = np.meshgrid(steps, steps)
    aliased_disk = np.array((x**2 + y**2) <= radius**2, dtype=np.float32)
    aliased_disk /= np.sum(aliased_disk)
    return cv2.GaussianBlur(aliased_disk, ksize=(3, 3), sigmaX=alias_blur)


def defocus_blur(image, severity, generator):
    c = [(0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)][severity - 1]
    x = np.array(image) / 255.0
    kernel = published_disk(radius=c[0], alias_blur=c[1])
    channels = np.array([cv2.filter2D(x[:, :, d], -1, kernel) for d in range(3)]).transpose((1, 2, 0))
    return np.uint8(np.clip(channels, 0, 1) * 255)


def glass_blur(image, severity, generator):
    c = [(0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)][severity - 1]
    return glass_blur_with(image, c, generator)


def glass_blur_with(image, c, generator):
    x = np.uint8(gaussian(np.array(image) / 255.0, sigma=c[0], channel_axis=-1) * 255)
    size = len(x)
    for _ in range(c[2]):
        for h in range(size - c[1], c[1], -1):
            for w in range(size - c[1], c[1], -1):
                dx, dy = generator.integers(-c[1], c[1], size=(2,))
                h_prime, w_prime = h + dy, w + dx
                x[h, w], x[h_prime, w_prime] = x[h_prime, w_prime], x[h, w]
    return np.uint8(np.clip(gaussian(x / 255.0, sigma=c[0], channel_axis=-1), 0, 1) * 255)


def imagemagick_motion_blur(image, radius, sigma, angle):
    """MotionBlurImage of ImageMagick's effect.c, pixel by pixel, on [size, size, channels]; rounded to 8 bits."""
    width = 2 * math.ceil(radius) + 1
    kernel = [math.exp(-(i * i) / (2.0 * sigma * sigma)) / (math.sqrt(2 * math.pi) * sigma) for i in range(width)]
    kernel = [k / sum(kernel) for k in kernel]
    point_x, point_y = width * math.sin(math.radians(angle)), width * math.cos(math.radians(angle))
    hypot = math.hypot(point_x, point_y)
    offsets = [(math.ceil(i * point_y / hypot - 0.5), math.ceil(i * point_x / hypot - 0.5)) for i in range(width)]
    size = len(image)
    values, out = image.tolist(), np.zeros(image.shape)
    for y, x, channel in np.ndindex(image.shape):
        for k, (dx, dy) in zip(kernel, offsets, strict=True):
            i, j = min(max(y + dy, 0), size - 1), min(max(x + dx, 0), size - 1)
            out[y, x, channel] += k * values[i][j][channel]
    return np.uint8(np.floor(out + 0.5))


def motion_blur(image, severity, generator):
    c = [(6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)][severity - 1]
    return imagemagick_motion_blur(image, c[0], c[1], generator.uniform(-45, 45))


def clipped_zoom(img, zoom_factor):
    h = img.shape[0]
    ch = int(np.ceil(h / zoom_factor))
    top = (h - ch) // 2
    img = scipy_zoom(img[top : top + ch, top : top + ch], (zoom_factor, zoom_factor, 1), order=1)
    trim_top = (img.shape[0] - h) // 2
    return img[trim_top : trim_top + h, trim_top : trim_top + h]


def zoom_blur(image, severity, generator):
    stop = [1.06, 1.11, 1.16, 1.21, 1.26][severity - 1]
    c = np.arange(1, stop, 0.01)
    x = (np.array(image) / 255.0).astype(np.float32)
    out = np.zeros_like(x)
    for zoom_factor in c:
        out += clipped_zoom(x, zoom_factor)
    x = (x + out) / (len(c) + 1)
    return np.uint8(np.clip(x, 0, 1) * 255)


def snow(image, severity, generator):
    c = [
        (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
        (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
        (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
        (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
        (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
    ][severity - 1]
    x = np.array(image, dtype=np.float32) / np.float32(255.0)
    snow_layer = generator.normal(size=x.shape[:2], loc=c[0], scale=c[1])
    snow_layer = clipped_zoom(snow_layer[..., np.newaxis], c[2])
    snow_layer[snow_layer < c[3]] = 0
    snow_layer = (np.clip(snow_layer, 0, 1) * 255).astype(np.uint8)
    snow_layer = imagemagick_motion_blur(snow_layer, c[4], c[5], generator.uniform(-135, -45)) / 255.0
    grey = cv2.cvtColor(x, cv2.COLOR_RGB2GRAY).reshape(32, 32, 1)
    x = c[6] * x + (1 - c[6]) * np.maximum(x, grey * 1.5 + 0.5)
    return np.uint8(np.clip(x + snow_layer + np.rot90(snow_layer, k=2), 0, 1) * 255)


def frost_with(image, severity, generator, textures):
    """`textures`: RGB, full size."""
    c = [(1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45)][severity - 1]
    frost = cv2.resize(textures[generator.integers(5)], (0, 0), fx=0.2, fy=0.2)
    x_start, y_start = generator.integers(0, frost.shape[0] - 32), generator.integers(0, frost.shape[1] - 32)
    frost = frost[x_start : x_start + 32, y_start : y_start + 32]
    return np.uint8(np.clip(c[0] * np.array(image) + c[1] * frost, 0, 255))


def plasma_fractal(generator, mapsize=32, wibbledecay=3):
    maparray = np.empty((mapsize, mapsize))
    maparray[0, 0] = 0
    stepsize = mapsize
    wibble = 100

    def wibbledmean(array):
        return array / 4 + wibble * generator.uniform(-wibble, wibble, array.shape)

    def fillsquares():
        cornerref = maparray[0:mapsize:stepsize, 0:mapsize:stepsize]
        squareaccum = cornerref + np.roll(cornerref, shift=-1, axis=0)
        squareaccum += np.roll(squareaccum, shift=-1, axis=1)
        half = stepsize // 2
        maparray[half:mapsize:stepsize, half:mapsize:stepsize] = wibbledmean(squareaccum)

    def filldiamonds():
        half = stepsize // 2
        drgrid = maparray[half:mapsize:stepsize, half:mapsize:stepsize]
        ulgrid = maparray[0:mapsize:stepsize, 0:mapsize:stepsize]
        ltsum = (drgrid + np.roll(drgrid, 1, axis=0)) + (ulgrid + np.roll(ulgrid, -1, axis=1))
        maparray[0:mapsize:stepsize, half:mapsize:stepsize] = wibbledmean(ltsum)
        ttsum = (drgrid + np.roll(drgrid, 1, axis=1)) + (ulgrid + np.roll(ulgrid, -1, axis=0))
        maparray[half:mapsize:stepsize, 0:mapsize:stepsize] = wibbledmean(ttsum)

    while stepsize >= 2:
        fillsquares()
        filldiamonds()
        stepsize //= 2
        wibble /= wibbledecay

    maparray -= maparray.min()
    return maparray / maparray.max()


def fog(image, severity, generator):
    c = [(0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)][severity - 1]
    x = np.array(image) / 255.0
    max_val = x.max()
    x += c[0] * plasma_fractal(generator, wibbledecay=c[1])[:32, :32][..., np.newaxis]
    return np.uint8(np.clip(x * max_val / (max_val + c[0]), 0, 1) * 255)


def brightness(image, severity, generator):
    c = [0.05, 0.1, 0.15, 0.2, 0.3][severity - 1]
    x = rgb2hsv(np.array(image) / 255.0)
    x[:, :, 2] = np.clip(x[:, :, 2] + c, 0, 1)
    return np.uint8(np.clip(hsv2rgb(x), 0, 1) * 255)


def contrast(image, severity, generator):
    c = [0.75, 0.5, 0.4, 0.3, 0.15][severity - 1]
    x = np.array(image) / 255.0
    means = np.mean(x, axis=(0, 1), keepdims=True)
    return np.uint8(np.clip((x - means) * c + means, 0, 1) * 255)


def warp_affine(image, M):
    """cv2.warpAffine of OpenCV 2 to 4, linear, BORDER_REFLECT_101, pixel by pixel: coordinates in 1/32 pixel."""
    inverse, size = cv2.invertAffineTransform(M), len(image)

    def inside(i):
        while not 0 <= i < size:
            i = -i if i < 0 else 2 * (size - 1) - i
        return i

    out = np.zeros_like(image)
    for y, x in np.ndindex(image.shape[:2]):
        X, Y = ((round(row[0] * x * 1024) + round((row[1] * y + row[2]) * 1024) + 16) >> 5 for row in inverse.tolist())
        i, j, down, across = Y >> 5, X >> 5, (Y & 31) / 32, (X & 31) / 32
        corners = [image[inside(i + a), inside(j + b)].astype(np.float64) for a in (0, 1) for b in (0, 1)]
        weights = [(1 - down) * (1 - across), (1 - down) * across, down * (1 - across), down * across]
        out[y, x] = sum(w * corner for w, corner in zip(weights, corners, strict=True))
    return out


def elastic_transform(image, severity, generator, warp=warp_affine):
    c = [
        (32 * 0, 32 * 0, 32 * 0.08),
        (32 * 0.05, 32 * 0.2, 32 * 0.07),
        (32 * 0.08, 32 * 0.06, 32 * 0.06),
        (32 * 0.1, 32 * 0.04, 32 * 0.05),
        (32 * 0.1, 32 * 0.03, 32 * 0.03),
    ][severity - 1]
    image = np.array(image, dtype=np.float32) / np.float32(255.0)
    shape = image.shape
    center_square = np.float32(shape[:2]) // 2
    square_size = min(shape[:2]) // 3
    pts1 = np.float32(
        [
            center_square + square_size,
            [center_square[0] + square_size, center_square[1] - square_size],
            center_square - square_size,
        ]
    )
    pts2 = pts1 + generator.uniform(-c[2], c[2], size=pts1.shape).astype(np.float32)
    image = warp(image, cv2.getAffineTransform(pts1, pts2))
    fields = [generator.uniform(-1, 1, size=shape[:2]) for _ in range(2)]
    dx, dy = (
        (gaussian(f, c[1], mode="reflect", truncate=3) * c[0]).astype(np.float32)[..., np.newaxis] for f in fields
    )
    x, y, z = np.meshgrid(np.arange(shape[1]), np.arange(shape[0]), np.arange(shape[2]))
    indices = np.reshape(y + dy, (-1, 1)), np.reshape(x + dx, (-1, 1)), np.reshape(z, (-1, 1))
    return np.uint8(np.clip(map_coordinates(image, indices, order=1, mode="reflect").reshape(shape), 0, 1) * 255)


def box_resize(image, size):
    """Pillow's BOX filter, pixel by pixel: columns, rounded to uint8, then rows, rounded again."""
    for axis in (1, 0):
        source = np.moveaxis(image, axis, 0).astype(int)
        scale = len(source) / size
        support = 0.5 * max(scale, 1)
        rows = []
        for i in range(size):
            centre = (i + 0.5) * scale
            first, last = max(int(centre - support + 0.5), 0), min(int(centre + support + 0.5), len(source))
            taken = [j for j in range(first, last) if -0.5 < (j - centre + 0.5) / max(scale, 1) <= 0.5]
            rows.append(np.floor(sum(source[j] for j in taken) / len(taken) + 0.5))
        image = np.moveaxis(np.array(rows), 0, axis).astype(np.uint8)
    return image


def pixelate(image, severity, generator):
    c = [0.95, 0.9, 0.85, 0.75, 0.65][severity - 1]
    return box_resize(box_resize(image, int(32 * c)), 32)


def jpeg_compression(image, severity, generator):
    """By OpenCV's libjpeg instead of Pillow's."""
    quality = [80, 65, 58, 50, 40][severity - 1]
    subsampling = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420]
    options = [cv2.IMWRITE_JPEG_QUALITY, quality, *subsampling]
    _, file = cv2.imencode(".jpg", image[..., ::-1], options)
    return cv2.imdecode(file, cv2.IMREAD_COLOR)[..., ::-1]
