"""Wide ResNet (Zagoruyko and Komodakis, BMVC 2016): pre-activation blocks, three stages of 16k, 32k, 64k channels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cards_deck.errors import InputError
from cards_deck.training.networks import NETWORKS
from cards_deck.training.networks.layers import Normalize, initialise


@NETWORKS.register("wide_resnet")
@dataclass(frozen=True)
class WideResNet:
    """WRN-`depth`-`widen`; the default WRN-28-4 is the network of the NoisyMix entry on RobustBench.

    Attributes:
        depth: 6 * blocks per stage + 4.
        widen: channel multiplier k.
    """

    depth: int = 28
    widen: int = 4

    def __post_init__(self) -> None:
        if self.depth < 10 or (self.depth - 4) % 6 or self.widen < 1:
            raise InputError(
                f"wide_resnet: `depth` must be 6 * blocks + 4 (10, 16, 22, 28, 34, 40) and `widen` at least 1, "
                f"got depth {self.depth}, widen {self.widen}"
            )

    def build(self, classes: int, normalize: Normalize) -> nn.Module:
        """Return the module for `classes` outputs."""
        layers: list[nn.Module] = [normalize, nn.Conv2d(3, 16, 3, padding=1, bias=False)]
        channels = 16
        for stage in range(3):
            width = 16 * self.widen * 2**stage
            for block in range((self.depth - 4) // 6):
                stride = 2 if stage and not block else 1
                layers.append(PreActivationBlock(channels, width, stride))
                channels = width
        layers += [nn.BatchNorm2d(channels), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        network = nn.Sequential(*layers, nn.Linear(channels, classes))
        initialise(network)
        return network


class PreActivationBlock(nn.Module):
    """Batch-norm and ReLU before each of two 3x3 convolutions; the projection takes the activated input."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, width, 3, stride=stride, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.projects = stride != 1 or channels != width
        self.shortcut: nn.Module = nn.Identity()
        if self.projects:
            self.shortcut = nn.Conv2d(channels, width, 1, stride=stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Float [n, channels, h, w] -> [n, width, h / stride, w / stride]."""
        activated = torch.relu(self.norm1(x))
        y: Tensor = self.conv2(torch.relu(self.norm2(self.conv1(activated))))
        skipped: Tensor = self.shortcut(activated if self.projects else x)
        return y + skipped
