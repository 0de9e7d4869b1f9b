"""The published validation corruptions, one image at a time, with cv2 and skimage: see published_corruptions.py."""

from __future__ import annotations

import cv2
import numpy as np
from skimage.color import hsv2rgb, rgb2hsv
from skimage.filters import gaussian


def speckle_noise(image, severity, generator):
    c = [0.06, 0.1, 0.12, 0.16, 0.2][severity - 1]
    x = np.array(image) / 255.0
    return np.uint8(np.clip(x + x * generator.normal(size=x.shape, scale=c), 0, 1) * 255)


def gaussian_blur(image, severity, generator):
    c = [0.4, 0.6, 0.7, 0.8, 1][severity - 1]
    return np.uint8(np.clip(gaussian(np.array(image) / 255.0, sigma=c, channel_axis=-1), 0, 1) * 255)


def saturate(image, severity, generator):
    c = [(0.3, 0), (0.1, 0), (1.5, 0), (2, 0.1), (2.5, 0.2)][severity - 1]
    x = rgb2hsv(np.array(image) / 255.0)
    x[:, :, 1] = np.clip(x[:, :, 1] * c[0] + c[1], 0, 1)
    return np.uint8(np.clip(hsv2rgb(x), 0, 1) * 255)


def spatter(image, severity, generator):
    c = [
        (0.62, 0.1, 0.7, 0.7, 0.5, 0),
        (0.65, 0.1, 0.8, 0.7, 0.5, 0),
        (0.65, 0.3, 1, 0.69, 0.5, 0),
        (0.65, 0.1, 0.7, 0.69, 0.6, 1),
        (0.65, 0.1, 0.5, 0.68, 0.6, 1),
    ][severity - 1]
    x = np.array(image, dtype=np.float32) / np.float32(255.0)
    liquid_layer = gaussian(generator.normal(size=x.shape[:2], loc=c[0], scale=c[1]), sigma=c[2])
    liquid_layer[liquid_layer < c[3]] = 0
    if c[5] == 0:
        liquid_layer = (liquid_layer * 255).astype(int).astype(np.uint8)
        m = liquid_layer * water_relief(liquid_layer)
        m /= np.max(m)
        m *= np.float32(c[4])
        color = np.float32([175, 238, 238]) / np.float32(255.0)
        return np.uint8(np.clip(x + m[..., np.newaxis] * color, 0, 1) * 255)
    m = gaussian(np.where(liquid_layer > c[3], 1, 0).astype(np.float32), sigma=c[4])
    m[m < 0.8] = 0
    color = np.float32([63, 42, 20]) / np.float32(255.0) * m[..., np.newaxis]
    return np.uint8(np.clip(x * (1 - m[..., np.newaxis]) + color, 0, 1) * 255)


def water_relief(liquid_layer):
    dist = cv2.distanceTransform(255 - cv2.Canny(liquid_layer, 50, 150), cv2.DIST_L2, 5)
    _, dist = cv2.threshold(dist, 20, 20, cv2.THRESH_TRUNC)
    dist = cv2.equalizeHist(cv2.blur(dist, (3, 3)).astype(np.uint8))
    ker = np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]], np.float32)
    return cv2.blur(cv2.filter2D(dist, cv2.CV_8U, ker), (3, 3)).astype(np.float32)
