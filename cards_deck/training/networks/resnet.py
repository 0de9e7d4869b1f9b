"""CIFAR ResNet (He et al., CVPR 2016, sections 3.3 and 4.2): 3x3 stem without pooling, basic blocks, global pooling."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cards_deck.errors import InputError
from cards_deck.training.networks import NETWORKS
from cards_deck.training.networks.layers import Normalize, initialise


@NETWORKS.register("resnet")
@dataclass(frozen=True)
class ResNet:
    """Residual network; the defaults are ResNet-18, `ResNet((16, 32, 64), (3, 3, 3))` is ResNet-20.

    Attributes:
        widths: channels of each stage; every stage after the first halves height and width.
        blocks: basic blocks (two 3x3 convolutions each) of each stage.
    """

    widths: tuple[int, ...] = (64, 128, 256, 512)
    blocks: tuple[int, ...] = (2, 2, 2, 2)

    def __post_init__(self) -> None:
        if len(self.widths) != len(self.blocks) or not self.widths or min(self.widths + self.blocks) < 1:
            raise InputError(
                f"resnet: `widths` and `blocks` must have one positive number per stage, got {self.widths} and "
                f"{self.blocks}; ResNet-18 is widths=(64, 128, 256, 512), blocks=(2, 2, 2, 2)"
            )

    @property
    def depth(self) -> int:
        """Weighted layers on the longest path, as in the name: 18 for the defaults."""
        return 2 * sum(self.blocks) + 2

    def build(self, classes: int, normalize: Normalize) -> nn.Module:
        """Return the module for `classes` outputs; any square image size whose last stage is at least 1 px."""
        stem = [normalize, nn.Conv2d(3, self.widths[0], 3, padding=1, bias=False), nn.BatchNorm2d(self.widths[0])]
        layers: list[nn.Module] = [*stem, nn.ReLU()]
        channels = self.widths[0]
        for stage, (width, blocks) in enumerate(zip(self.widths, self.blocks, strict=True)):
            for block in range(blocks):
                layers.append(BasicBlock(channels, width, stride=2 if stage and not block else 1))
                channels = width
        network = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes))
        initialise(network)
        return network


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with batch-norm, added to the input (through a 1x1 projection where the shape changes)."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stride=stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels != width:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels, width, 1, stride=stride, bias=False), nn.BatchNorm2d(width)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Float [n, channels, h, w] -> [n, width, h / stride, w / stride]."""
        y = torch.relu(self.norm1(self.conv1(x)))
        return torch.relu(self.norm2(self.conv2(y)) + self.shortcut(x))
