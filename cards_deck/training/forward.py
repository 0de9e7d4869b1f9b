"""The network as a training loss calls it: images of any kind in, logits out, and a way in between its stages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cards_deck.errors import InputError

GRAPHS = 256


class Change(Protocol):
    """What a loss does to the features before stage `place`; see `augmentations.noisymix`."""

    @property
    def place(self) -> int:
        """Number of the stage, from 0."""
        ...

    def __call__(self, features: Tensor) -> Tensor:
        """Map float features to the same shape."""
        ...


@dataclass(frozen=True)
class Forward:
    """A network, its images brought to the size and form it trains on.

    Attributes:
        parts: of the network in order: its stages, or the network whole.
        size: side in px that images are resized to.
        layout: of the memory.
    """

    parts: Sequence[Callable[[Tensor], Tensor]]
    size: int
    layout: torch.memory_format

    @property
    def stages(self) -> int:
        """Number of places at which features can be changed."""
        return len(self.parts)

    def __call__(self, images: Tensor, change: Change | None = None) -> Tensor:
        """Map [n, 3, h, w], uint8 or float in [0, 1], to logits [n, classes]."""
        features = to_float(images, self.size, self.layout)
        for place, part in enumerate(self.parts):
            if change is not None and change.place == place:
                features = change(features)
            features = part(features)
        return features


def to_float(images: Tensor, size: int, layout: torch.memory_format = torch.channels_last) -> Tensor:
    """[n, 3, h, w], uint8 or float in [0, 1] -> float [n, 3, size, size] in [0, 1], antialiased where it shrinks."""
    scaled = images.float() / 255 if images.dtype == torch.uint8 else images
    if images.shape[-1] != size:
        scaled = F.interpolate(scaled, size=(size, size), mode="bilinear", antialias=True)
    return scaled.contiguous(memory_format=layout)


def stages(network: nn.Module) -> list[nn.Module]:
    """Cut `network` before each of its parts that makes the image smaller; the pieces share its modules.

    InputError for a network that is no sequence of parts.
    """
    if not isinstance(network, nn.Sequential):
        raise InputError(
            f"mixing features needs a network that is a sequence of parts, got {type(network).__name__}: "
            "train it under another augmentation"
        )
    starts = [0, *(place for place, part in enumerate(network) if place and _shrinks(part)), len(network)]
    return [network[start:end] for start, end in pairwise(starts)]


def _shrinks(part: nn.Module) -> bool:
    return any(isinstance(module, nn.Conv2d) and module.stride != (1, 1) for module in part.modules())


def compiled_parts(network: nn.Module, device: torch.device, *, cut: bool) -> list[Callable[[Tensor], Tensor]]:
    """The network whole, or cut into its stages; compiled on CUDA.

    On a CPU torch.compile gained 1.5 % when tried and costs minutes. Compiled in parts, a network is compiled once
    wherever its features are changed.
    """
    parts = stages(network) if cut else [network]
    return [compiled(part) for part in parts] if device.type == "cuda" else list(parts)


def compiled(part: nn.Module, backend: str | Callable[..., Any] = "inductor") -> Callable[[Tensor], Tensor]:
    """`part` compiled anew for every shape that it meets.

    All parts of all networks of a process share one limit of graphs, beyond which torch would go on uncompiled; left to
    itself it would make one graph for several shapes, a slower one.
    """
    from torch._dynamo import config  # a second to import, for CUDA alone

    config.cache_size_limit = max(config.cache_size_limit, GRAPHS)
    return torch.compile(part, dynamic=False, backend=backend)
