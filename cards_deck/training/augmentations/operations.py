"""The nine image operations of AugMix, batched; ranges from google-research/augmix `augmentations.py`.

Each image of a batch has its own operation and level. The first `TABLES` operations map pixel values (one 256-entry
table per image and channel, as Pillow's ImageOps do); the others move pixels (bilinear, black outside, as Pillow).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

OPERATIONS = (
    "autocontrast", "equalize", "posterize", "solarize",
    "rotate", "shear_x", "shear_y", "translate_x", "translate_y",
)  # fmt: skip
TABLES = 4


def look_up_table(images: Tensor, operation: Tensor, level: Tensor) -> Tensor:
    """Return the value maps of the table operations.

    Args:
        images: uint8 [n, 3, h, w].
        operation: int64 [n], indices below `TABLES`.
        level: float [n], in (0, 10].

    Returns:
        uint8 [n, 3, 256].
    """
    values = torch.arange(256, dtype=torch.int32, device=images.device)
    table = torch.empty(len(images), 3, 256, dtype=torch.uint8, device=images.device)
    level = level[:, None, None]
    makers: tuple[Callable[[Tensor, Tensor, Tensor], Tensor], ...] = (_autocontrast, _equalize, _posterize, _solarize)
    for index, make in enumerate(makers):
        rows = torch.nonzero(operation == index).squeeze(1)
        table[rows] = make(images[rows], level[rows], values).to(torch.uint8)
    return table


def apply_table(images: Tensor, table: Tensor) -> Tensor:
    """Replace each value of uint8 [n, 3, h, w] by its entry in uint8 [n, 3, 256]."""
    return table.gather(2, images.flatten(2).long()).view(images.shape)


def _posterize(images: Tensor, level: Tensor, values: Tensor) -> Tensor:
    """ImageOps.posterize to 4 bits or fewer: [n, 1, 256]."""
    step = 2 ** (4 + (level * 0.4).int())
    return values // step * step


def _solarize(images: Tensor, level: Tensor, values: Tensor) -> Tensor:
    """ImageOps.solarize, the threshold falling from 256: [n, 1, 256]."""
    return torch.where(values < 256 - (level * 25.6).int(), values, 255 - values)


def _autocontrast(images: Tensor, level: Tensor, values: Tensor) -> Tensor:
    """ImageOps.autocontrast without cutoff: [n, 3, 256]; a channel of one value is left alone."""
    low = images.amin((2, 3))[..., None].double()
    high = images.amax((2, 3))[..., None].double()
    scale = 255 / (high - low).clamp_min(1)
    # Pillow computes int(i * scale - low * scale) in doubles. PyTorch divides by a reciprocal, which leaves fewer than
    # one entry in 300 lower or higher by one.
    stretched = (values * scale + -low * scale).trunc().clamp(0, 255)
    return torch.where(high > low, stretched, values)


def _equalize(images: Tensor, level: Tensor, values: Tensor) -> Tensor:
    """ImageOps.equalize: [n, 3, 256]."""
    n = images.shape[0]
    rows = 256 * torch.arange(3 * n, device=images.device)[:, None]
    histogram = torch.bincount((images.flatten(2).flatten(0, 1).long() + rows).flatten(), minlength=256 * 3 * n)
    histogram = histogram.view(n, 3, 256).int()
    last = torch.where(histogram > 0, values, -1).amax(2, keepdim=True)
    # Pillow's step leaves the brightest occupied bin out of the count.
    step = (histogram.sum(2, keepdim=True) - histogram.gather(2, last.clamp_min(0).long())) // 255
    below = histogram.cumsum(2, dtype=torch.int32) - histogram
    equalized = ((step // 2 + below) // step.clamp_min(1)).clamp_max(255)
    return torch.where(step > 0, equalized, values)


def affine(images: Tensor, operation: Tensor, level: Tensor, sign: Tensor) -> Tensor:
    """Rotate, shear or translate each image.

    Args:
        images: uint8 [n, 3, h, w].
        operation: int64 [n], indices of `OPERATIONS` from `TABLES` on.
        level: float [n], in (0, 10].
        sign: float [n], -1 or 1.

    Returns:
        uint8 [n, 3, h, w], bilinear, black where the source lies outside the image.
    """
    _, _, height, width = images.shape
    device = images.device
    name = {operation_name: operation == index for index, operation_name in enumerate(OPERATIONS)}
    angle = torch.where(name["rotate"], (3 * level).trunc() * sign * (math.pi / 180), 0.0)
    shear = 0.03 * level * sign
    shift_x = torch.where(name["translate_x"], (level * (width / 30)).trunc() * sign, 0.0)
    shift_y = torch.where(name["translate_y"], (level * (height / 30)).trunc() * sign, 0.0)
    cos, sin = torch.cos(angle)[:, None, None], torch.sin(angle)[:, None, None]
    x = torch.arange(width, device=device) + 0.5
    y = (torch.arange(height, device=device) + 0.5)[:, None]
    # Pillow maps an output pixel's centre to the source: rotations about the middle, shears about the corner.
    dx, dy = x - width / 2, y - height / 2
    source_x = (width / 2 + cos * dx) - sin * dy
    source_x += shift_x[:, None, None]
    source_x += torch.where(name["shear_x"], shear, 0.0)[:, None, None] * y
    source_y = (height / 2 + sin * dx) + cos * dy
    source_y += shift_y[:, None, None]
    source_y += torch.where(name["shear_y"], shear, 0.0)[:, None, None] * x
    inside = (source_x >= 0).logical_and_(source_x < width).logical_and_(source_y >= 0).logical_and_(source_y < height)
    source_x.mul_(2 / width).sub_(1)
    source_y.mul_(2 / height).sub_(1)
    source = torch.stack((source_x, source_y), dim=-1)
    moved = F.grid_sample(images.float(), source, mode="bilinear", padding_mode="border", align_corners=False)
    return moved.mul_(inside[:, None]).round_().to(torch.uint8)
