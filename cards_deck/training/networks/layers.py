"""What the architectures share: the normalising front, the initialisation, and which weights a ticket may prune."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Normalize(nn.Module):
    """Subtract `mean` and divide by `std`, one value per channel, in units of [0, 1] pixels."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Float [n, 3, h, w] in [0, 1] -> the same shape, normalised."""
        return (images - self.mean) / self.std


def initialise(network: nn.Module) -> None:
    """Kaiming-normal convolutions (fan out, He et al. 2015), unit batch-norm, torch's default linear head; in place."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)


def prunable_weights(network: nn.Module) -> dict[str, Tensor]:
    """Return the convolution and linear weights by name: what `density` counts, stem and head included."""
    return {
        f"{name}.weight": module.weight
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear)
    }


def memory_format(network: nn.Module) -> torch.memory_format:
    """Channels last, a third faster on CPUs too; contiguous where that would crash.

    torch 2.13 corrupts the heap on a CPU in the backward pass of a strided 1x1 convolution with fewer than 16 input
    channels in channels-last memory (seen at 48, 64 and 96 px).
    """
    narrow = any(
        isinstance(m, nn.Conv2d) and m.kernel_size == (1, 1) and m.stride != (1, 1) and m.in_channels < 16
        for m in network.modules()
    )
    return torch.contiguous_format if narrow else torch.channels_last
