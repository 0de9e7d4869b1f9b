"""The nine image operations of AugMix, batched; ranges from google-research/augmix `augmentations.py`.

Each image of a batch has its own operation and level. The first `TABLES` operations map pixel values (one 256-entry
table per image and channel, as Pillow's ImageOps do); the others move pixels (bilinear, black outside, as Pillow).
"""

from __future__ import annotations

import math

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
    n, device = images.shape[0], images.device
    values = torch.arange(256, device=device)
    table = values.expand(n, 3, 256).clone()
    rows = torch.nonzero(operation == 0).squeeze(1)
    table[rows] = _autocontrast(images[rows])
    rows = torch.nonzero(operation == 1).squeeze(1)
    table[rows] = _equalize(images[rows])
    step = 2 ** (8 - (4 - (level * 0.4).long()))
    posterized = values // step[:, None] * step[:, None]
    table = torch.where((operation == 2)[:, None, None], posterized[:, None], table)
    threshold = 256 - (level * 25.6).long()
    solarized = torch.where(values < threshold[:, None], values, 255 - values)
    return torch.where((operation == 3)[:, None, None], solarized[:, None], table).to(torch.uint8)


def apply_table(images: Tensor, table: Tensor) -> Tensor:
    """Replace each value of uint8 [n, 3, h, w] by its entry in uint8 [n, 3, 256]."""
    return table.gather(2, images.flatten(2).long()).view(images.shape)


def _autocontrast(images: Tensor) -> Tensor:
    """ImageOps.autocontrast without cutoff: int64 [n, 3, 256]; a channel of one value is left alone."""
    low = images.amin((2, 3))[..., None].double()
    high = images.amax((2, 3))[..., None].double()
    values = torch.arange(256, device=images.device, dtype=torch.float64)
    scale = 255 / (high - low).clamp_min(1)
    # Pillow computes int(i * scale - low * scale) in doubles; the same order keeps its rounding.
    stretched = (values * scale + -low * scale).trunc().clamp(0, 255)
    return torch.where(high > low, stretched, values).long()


def _equalize(images: Tensor) -> Tensor:
    """ImageOps.equalize: int64 [n, 3, 256]."""
    n = images.shape[0]
    rows = 256 * torch.arange(3 * n, device=images.device)[:, None]
    histogram = torch.bincount((images.flatten(2).flatten(0, 1).long() + rows).flatten(), minlength=256 * 3 * n)
    histogram = histogram.view(n, 3, 256)
    values = torch.arange(256, device=images.device)
    last = torch.where(histogram > 0, values, -1).amax(2, keepdim=True)
    # Pillow's step leaves the brightest occupied bin out of the count.
    step = (histogram.sum(2, keepdim=True) - histogram.gather(2, last.clamp_min(0))) // 255
    below = histogram.cumsum(2) - histogram
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
    source_x = width / 2 + cos * dx - sin * dy + shift_x[:, None, None]
    source_y = height / 2 + sin * dx + cos * dy + shift_y[:, None, None]
    source_x = source_x + torch.where(name["shear_x"], shear, 0.0)[:, None, None] * y
    source_y = source_y + torch.where(name["shear_y"], shear, 0.0)[:, None, None] * x
    grid = torch.stack((source_x * (2 / width) - 1, source_y * (2 / height) - 1), dim=-1)
    moved = F.grid_sample(images.float(), grid, mode="bilinear", padding_mode="border", align_corners=False)
    inside = (source_x >= 0) & (source_x < width) & (source_y >= 0) & (source_y < height)
    return (moved * inside[:, None]).round_().clamp_(0, 255).to(torch.uint8)
