"""The three transformations of PRIME (Modas et al., ECCV 2022, section 3), batched: each image draws its own.

Each is drawn from a family of maximal entropy at a given strength: a linear filter, a smooth map of the pixel values,
a smooth displacement of the pixels. Constants are arguments; the defaults for CIFAR stand in `prime.py`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from cards_deck.training.augmentations.operations import apply_table

FEWEST_WAVES = 2  # of a displacement


def filtered(images: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Filter each image with a 3x3 kernel, the same for its channels: identity plus normal weights.

    The standard deviation of an image's weights is drawn from U(0, `strength`). Zeros lie outside the image. The
    published code puts the identity into the kernel's corner, which moves the image by a pixel as well; it is in the
    middle here, as in the paper.

    Args:
        images: uint8 [n, 3, h, w].
        strength: largest standard deviation of a weight.
        generator: of the random numbers, on the images' device.

    Returns:
        uint8 [n, 3, h, w], clipped to [0, 255].
    """
    n, _, height, width = images.shape
    deviation = strength * torch.rand(n, 1, 1, generator=generator, device=images.device)
    kernel = deviation * torch.randn(n, 3, 3, generator=generator, device=images.device)
    kernel[:, 1, 1] += 1
    padded = F.pad(images.float(), (1, 1, 1, 1))
    answer = torch.zeros_like(images, dtype=torch.float32)
    for row in range(3):
        for column in range(3):
            shifted = padded[:, :, row : row + height, column : column + width]
            answer.addcmul_(kernel[:, row, column, None, None, None], shifted)
    return answer.round_().clamp_(0, 255).to(torch.uint8)


def recoloured(images: Tensor, strength: float, waves: int, generator: torch.Generator) -> Tensor:
    """Map the values v in [0, 1] of each channel to v + sum over k of a_k sin(pi k v), k = 1, ..., at most `waves`.

    Each image draws how many waves it has, from 1 to `waves`, and the variance of its a_k, from U(0, `strength`); the
    a_k themselves are normal, others in each channel.

    Args:
        images: uint8 [n, 3, h, w].
        strength: largest variance of a coefficient, in units of [0, 1] pixels squared.
        waves: largest frequency.
        generator: of the random numbers, on the images' device.

    Returns:
        uint8 [n, 3, h, w], clipped to [0, 255].
    """
    n, device = len(images), images.device
    order = torch.arange(1, waves + 1, device=device)
    values = torch.arange(256, device=device) / 255
    most = torch.randint(1, waves + 1, (n, 1, 1), generator=generator, device=device)
    variance = strength * torch.rand(n, 1, 1, generator=generator, device=device)
    coefficients = torch.randn(n, 3, waves, generator=generator, device=device) * variance.sqrt() * (order <= most)
    table = values + coefficients @ torch.sin(math.pi * order[:, None] * values)
    return apply_table(images, (255 * table).round_().clamp_(0, 255).to(torch.uint8))


def warped(images: Tensor, waves: int, generator: torch.Generator) -> Tensor:
    """Move the pixels of each image along a smooth random field that is zero at the borders (bilinear).

    The field's two components are sums of sin(pi i x) sin(pi j y) over frequencies of length at most c, with normal
    coefficients of variance T / (i^2 + j^2) (Petrini et al., NeurIPS 2021). c is drawn between 2 and a bound that is
    drawn from 3 to `waves`, and T between a displacement of half a pixel and the largest at which pixels stay in order
    (of which the former is the greater where c is large), both from an arcsine distribution, as published.

    Args:
        images: uint8 [n, 3, h, w].
        waves: largest frequency, at least 3.
        generator: of the random numbers, on the images' device.

    Returns:
        uint8 [n, 3, h, w].
    """
    n, _, height, width = images.shape
    device = images.device
    bound = torch.randint(FEWEST_WAVES + 1, waves + 1, (n,), generator=generator, device=device)
    cut = FEWEST_WAVES + (_arcsine(n, generator, device) * (bound + 1 - FEWEST_WAVES)).floor().clamp_max(bound - 2)
    least = 1 / (math.pi * width**2 * cut.log())
    most = (4 / (math.pi**3 * cut**2 * cut.log())).maximum(least)
    temperature = least + _arcsine(n, generator, device) * (most - least)
    order = torch.arange(1, waves + 1, device=device, dtype=torch.float32)
    length = torch.hypot(order[:, None], order)
    deviation = temperature.sqrt()[:, None, None, None] * (length <= cut[:, None, None, None] + 0.5) / length
    coefficients = torch.randn(n, 2, waves, waves, generator=generator, device=device) * deviation
    x, y = (torch.linspace(0, 1, side, device=device) for side in (width, height))
    across, down = (torch.sin(math.pi * order[:, None] * place) for place in (x, y))  # [waves, side]
    field = down.T @ (coefficients @ across)  # [n, 2, h, w], in shares of the side
    # grid_sample's coordinates go from -1 to 1, from the first pixel's centre to the last one's.
    source_x = x - field[:, 0] * (width / (width - 1))
    source_y = y[:, None] - field[:, 1] * (height / (height - 1))
    source = 2 * torch.stack((source_x, source_y), dim=-1) - 1
    moved = F.grid_sample(images.float(), source, mode="bilinear", padding_mode="border", align_corners=True)
    return moved.round_().to(torch.uint8)


def _arcsine(n: int, generator: torch.Generator, device: torch.device) -> Tensor:
    """`n` numbers of the arcsine distribution on [0, 1], Beta(1/2, 1/2)."""
    return torch.sin(math.pi / 2 * torch.rand(n, generator=generator, device=device)) ** 2
