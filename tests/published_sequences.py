"""The perturbation sequences of CIFAR-10-P, one image at a time: what the fast ones are checked against.

After ImageNet-P/create_p/make_cifar_p.py of github.com/hendrycks/robustness, with Pillow, skimage and cv2 as there.
Every function takes (image uint8 [s, s, 3], generator) and returns a list of uint8 [s, s, 3].
"""

from __future__ import annotations

import hashlib
import math

import cv2
import numpy as np
from PIL import Image
from published_corruptions import imagemagick_motion_blur
from skimage.color import hsv2rgb, rgb2hsv
from skimage.filters import gaussian


def generator_for(image, name, seed=0):
    """The stream that `perturb` promises for this image."""
    key = f"{seed}/{name} sequence/0/".encode() + hashlib.sha256(image.tobytes()).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(hashlib.sha256(key).digest()[:16], "little")))


def gaussian_noise(image, generator):
    x = image / 255.0
    noisy = [np.uint8(np.clip(x + 0.02 * generator.standard_normal(x.shape), 0, 1) * 255) for _ in range(30)]
    return [image, *noisy]


def shot_noise(image, generator):
    x = image / 255.0
    return [image, *(np.uint8(255 * np.clip(generator.poisson(x * 700) / 700.0, 0, 1)) for _ in range(30))]


def motion_blur(image, generator):
    scale = len(image) / 32
    return [imagemagick_motion_blur(image, 6 * scale, 1.8 * scale, (i - 20) * 9) for i in range(21)]


def torchvision_affine(image, *, angle=0.0, scale=1.0, translate=0, resample=Image.Resampling.BILINEAR):
    """torchvision.transforms.functional.affine of 2018, by its matrices: move * back * turn and scale * there."""
    centre = len(image) * 0.5 + 0.5
    cosine, sine = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    turn = np.array([[scale * cosine, -scale * sine, 0], [scale * sine, scale * cosine, 0], [0, 0, 1]])
    there, back = np.eye(3), np.eye(3)
    there[:2, 2], back[:2, 2] = -centre, centre
    move = np.eye(3)
    move[0, 2] = translate
    inverse = np.linalg.inv(move @ back @ turn @ there)
    picture = Image.fromarray(image)
    return np.array(picture.transform(picture.size, Image.Transform.AFFINE, tuple(inverse[:2].ravel()), resample))


def zoom_blur(image, generator):
    frames, total = [image], image.astype(np.float32) / np.float32(255)
    for i in range(1, 31):
        total = total + torchvision_affine(image, scale=1 + 0.004 * i).astype(np.float32) / np.float32(255)
        frames.append(np.uint8(total / np.float32(i + 1) * np.float32(255)))
    return frames


def brightness(image, generator):
    frames = []
    for i in range(31):
        x = rgb2hsv(image / 255.0)
        x[:, :, 2] = np.clip(x[:, :, 2] + (i - 15) * 1.5 / 100.0, 0, 1)
        frames.append(np.uint8(hsv2rgb(x) * 255))
    return frames


def translate(image, generator):
    shifts = [round((i - 7) * len(image) / 32) for i in range(16)]
    return [torchvision_affine(image, translate=shift, resample=Image.Resampling.NEAREST) for shift in shifts]


def rotate(image, generator):
    return [torchvision_affine(image, angle=i - 15) for i in range(31)]


def scale(image, generator):
    return [torchvision_affine(image, scale=(i * 2 + 70) / 100.0) for i in range(31)]


def tilt_matrix(size, step):
    """The product of the published 3 x 4 and 4 x 4 matrices."""
    phi = theta = math.radians(0.75 * step)
    f = math.sqrt(size**2 + size**2)
    p1 = np.array([[1, 0, -size / 2], [0, 1, -size / 2], [0, 0, 1], [0, 0, 1]])
    rx = np.eye(4)
    rx[1:3, 1:3] = [[math.cos(theta), -math.sin(theta)], [math.sin(theta), math.cos(theta)]]
    ry = np.eye(4)
    ry[0, 0], ry[0, 2], ry[2, 0], ry[2, 2] = math.cos(phi), -math.sin(phi), math.sin(phi), math.cos(phi)
    t = np.eye(4)
    t[2, 3] = f
    p2 = np.array([[f, 0, size / 2, 0], [0, f, size / 2, 0], [0, 0, 1, 0]])
    return p2 @ t @ rx @ ry @ p1


def warp_perspective(image, matrix):
    """cv2.warpPerspective of OpenCV 2 to 4, linear, black outside, pixel by pixel: coordinates in 1/32 pixel."""
    size, inverse = len(image), np.linalg.inv(matrix)
    out = np.zeros_like(image)

    def at(row, column):
        return image[row, column].astype(float) if 0 <= row < size and 0 <= column < size else np.zeros(3)

    for y, x in np.ndindex(size, size):
        across, down, depth = inverse @ [x, y, 1]
        column, row = round(32 * across / depth), round(32 * down / depth)
        i, j, low, right = row >> 5, column >> 5, (row & 31) / 32, (column & 31) / 32
        upper = (1 - right) * at(i, j) + right * at(i, j + 1)
        lower = (1 - right) * at(i + 1, j) + right * at(i + 1, j + 1)
        out[y, x] = np.floor((1 - low) * upper + low * lower + 0.5)
    return out


def tilt(image, generator, warp=warp_perspective):
    return [warp(image, tilt_matrix(len(image), i - 15)) for i in range(31)]


def spatter(image, generator):
    """At 32 x 32 only."""
    x = image.astype(np.float32) / np.float32(255)
    liquid = gaussian(generator.normal(0.6, 0.265, (32, 32)), sigma=1.75)
    liquid[liquid < 0.7] = 0
    frames = []
    for _ in range(31):
        field = (liquid * 255).astype(np.uint8)
        distance = cv2.distanceTransform(255 - cv2.Canny(field, 50, 150), cv2.DIST_L2, 5)
        _, distance = cv2.threshold(distance, 20, 20, cv2.THRESH_TRUNC)
        levels = cv2.equalizeHist(cv2.blur(distance, (3, 3)).astype(np.uint8))
        relief = cv2.filter2D(levels, cv2.CV_8U, np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]]))
        light = field * cv2.blur(relief, (3, 3)).astype(np.float32)
        light = np.float32(0.6) * (light / light.max() if light.max() else light)
        water = np.array([175, 238, 238], np.float32) / np.float32(255)
        frames.append(np.uint8(np.clip(x + light[..., np.newaxis] * water, 0, 1) * 255))
        liquid = np.apply_along_axis(lambda column: np.convolve(column, [0.2, 0.8], mode="same"), 0, liquid)
    return frames
