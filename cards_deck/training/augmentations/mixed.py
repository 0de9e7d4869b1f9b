"""Several augmentations: each image under one of them, in turns. What an average of cards describes itself by."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from cards_deck.errors import InputError
from cards_deck.training.augmentations import AUGMENTATIONS, Augmentation
from cards_deck.training.augmentations.augmix import AugMix
from cards_deck.training.augmentations.gaussian import Gaussian


def _several() -> tuple[Augmentation, ...]:
    return AugMix(), Gaussian(vary=True, over="augmix")


@AUGMENTATIONS.register("mixed")
@dataclass(frozen=True)
class Mixed:
    """One of several augmentations for each image, in turns.

    Attributes:
        of: the augmentations, two or more; with batches of a multiple of their number, each has as many images.
    """

    of: tuple[Augmentation, ...] = field(default_factory=_several)

    def __post_init__(self) -> None:
        if len(self.of) < 2:
            raise InputError(f"mixed: `of` must hold two or more augmentations, got {len(self.of)}")
        if any(hasattr(each, "mixup") for each in self.of):
            raise InputError("mixed: `of` cannot hold an augmentation that mixes features, not images alone (noisymix)")

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Map uint8 [n, 3, h, w] to uint8 [n, 3, h, w]."""
        turns, mixed = len(self.of), torch.empty_like(images)
        for turn, augmentation in enumerate(self.of):
            if len(part := images[turn::turns]):
                mixed[turn::turns] = augmentation(part, generator)
        return mixed
