"""What a card trains on, one augmentation per file; batched, on the device, reproducible from one generator.

An augmentation is a frozen dataclass registered in `AUGMENTATIONS`. It maps uint8 [n, 3, h, w] to the same shape and
type, so that spectra are measured on pixels as a server will see them. Its name is also the domain the gate knows.
Where it has `jsd`, training asks its `views` for three of each image and keeps their answers together (`augmix`); where
it has `mixup`, training mixes features on their way through the network (`noisymix`).
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from cards_deck.registry import Registry, discover


class Augmentation(Protocol):
    """A random map of a batch of images."""

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Map uint8 [n, 3, h, w] to uint8 [n, 3, h, w], with random numbers from `generator` on the images' device."""
        ...


AUGMENTATIONS: Registry[Augmentation] = Registry("augmentation")
discover(__name__, __path__)
