"""Colours made for CIFAR-10 beside CIFAR-10-C-bar, as `published_reserve`."""

from __future__ import annotations

import numpy as np
from published_cbar import finished, pixel_by_pixel
from skimage.color import hsv2rgb, rgb2hsv

LEVELS = {
    "hue_shift": (2.0, 4.0, 6.0, 8.0, 10.0),
    "color_dither": (2.0, 4.0, 6.0, 8.0, 10.0),
    "bleach_bypass": (2.0, 4.0, 6.0, 8.0, 10.0),
    "technicolor": (2.0, 4.0, 6.0, 8.0, 10.0),
    "pseudocolor": (1.4, 2.8, 4.2, 5.6, 7.0),
    "color_balance": (2.0, 4.0, 6.0, 8.0, 10.0),
}


def hue_shift(image, level, generator):
    amount = level * 0.5 / 10 * (-1 if generator.uniform() < 0.5 else 1)
    hsv = rgb2hsv(image.astype(np.float32) / 255)
    hsv[..., 0] += amount % 1.0
    return finished(hsv2rgb(hsv) * 255)


def color_dither(image, level, generator):
    """Places are counted through the image, and the published code forgets the row of those below."""
    size, levels = len(image), 14 - int(level)
    work, out = image.copy(), np.zeros_like(image)
    shares = np.array([[0, 0, 0], [0, 0, 7], [3, 5, 1]])
    for index in range(size * size):
        y, x = divmod(index, size)
        value = np.array([int(255 * int(levels * int(c) / 256) / (levels - 1)) for c in work[y, x]])
        out[y, x] = value
        error = work[y, x].astype(int) - value
        for i in (-1, 0, 1):
            for j in (-1, 0, 1):
                share = shares[i + 1, j + 1]
                if 0 < y + i < size and 0 < x + j < size and share:
                    row, column = divmod(index + j, size)
                    work[row, column] = np.clip(work[row, column] + error * share / 16, 0, 255).astype(np.uint8)
    return out


def bleach_bypass(image, level, generator):
    """Published as twice an array of bytes, which wraps around."""

    def pixel(y, x):
        luma = _luma(image[y, x])
        light = min(max(10 * (luma - 0.45), 0), 1)
        laid = [
            255 * ((1 - light) * (2 * c % 256) * luma / 255 + light * (1 - 2 * (1 - luma) * (1 - c / 255)))
            for c in image[y, x].tolist()
        ]
        return _bytes((1 - level / 10) * c + level / 10 * out for c, out in zip(image[y, x], laid, strict=True))

    return pixel_by_pixel(len(image), pixel).astype(np.uint8)


def technicolor(image, level, generator):
    def pixel(y, x):
        r, g, b = image[y, x].tolist()
        mixed = ((r, g, b), (g, r, b), (b, r, g))
        red, green, blue = (1 - (own / 255 - (one / 2 + other / 2) / 255) for own, one, other in mixed)
        dyed = (green * blue * r, red * blue * g, red * green * b)
        return _bytes((1 - level / 10) * c + level / 10 * out for c, out in zip((r, g, b), dyed, strict=True))

    return pixel_by_pixel(len(image), pixel).astype(np.uint8)


def pseudocolor(image, level, generator):
    """The published differences of colours are of bytes, and wrap around."""
    smoothness = generator.uniform(0.25, 0.75)
    colours = generator.integers(0, 255, (5, 3)).astype(np.uint8)
    rises = colours[1:] - colours[:-1]

    def pixel(y, x):
        luma = _luma(image[y, x])
        place = min(int(luma / 0.25), 3)
        along = 4 * (luma - place / 4)
        even = (1 - along) * colours[place] + along * colours[place + 1]
        along = min(max(along, 0), 1)
        smooth = colours[place] + rises[place] * (3 * along**2 - 2 * along**3)
        colour = (1 - smoothness) * even + smoothness * smooth
        return (1 - level / 20) * image[y, x] + level / 20 * colour

    return finished(pixel_by_pixel(len(image), pixel))


def color_balance(image, level, generator):
    """What Pillow does: grey in 16 bits of fraction, then on the line from grey to the colour, in float32."""
    factor = np.float32(1 + level / 10 * (-1 if generator.uniform() < 0.5 else 1))

    def pixel(y, x):
        r, g, b = image[y, x].tolist()
        grey = (19595 * r + 38470 * g + 7471 * b + 32768) // 65536
        return [np.float32(grey) + factor * np.float32(c - grey) for c in (r, g, b)]

    return finished(pixel_by_pixel(len(image), pixel))


def _luma(pixel):
    red, green, blue = pixel.tolist()
    return (0.2126 * red + 0.7152 * green + 0.0722 * blue) / 255


def _bytes(values):
    return [int(value) % 256 for value in values]
