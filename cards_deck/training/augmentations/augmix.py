"""AugMix (Hendrycks et al., ICLR 2020): mix a few short chains of simple operations with the image itself.

Batched: the chains of all images advance together, and each step is one table look-up (autocontrast, equalize,
posterize, solarize) or one bilinear resampling (rotate, shear, translate) of the rows that drew it. The operations and
their ranges are the published `augmentations` list, which shares none with CIFAR-10-C; tests compare each with Pillow.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from cards_deck.errors import InputError
from cards_deck.training.augmentations import AUGMENTATIONS
from cards_deck.training.augmentations.chains import MixedChains
from cards_deck.training.augmentations.operations import OPERATIONS, TABLES, affine, apply_table, look_up_table


@AUGMENTATIONS.register("augmix")
@dataclass(frozen=True)
class AugMix(MixedChains):
    """Crop and flip, then AugMix.

    Attributes:
        width: number of chains mixed with Dirichlet(1) weights.
        depth: longest chain; each chain's length is drawn from 1 to `depth`.
        severity: strength of the operations, from 0.1 to 10.
        jsd: train with the Jensen-Shannon consistency of the clean and two augmented views (weight 12); the training
            loop asks `views` for them. Three times the cost of a step.
    """

    width: int = 3
    depth: int = 3
    severity: float = 3.0
    jsd: bool = False

    def __post_init__(self) -> None:
        if self.width < 1 or self.depth < 1 or not 0.1 <= self.severity <= 10:
            raise InputError(
                f"augmix: `width` and `depth` must be at least 1 and `severity` in [0.1, 10], got "
                f"{self.width}, {self.depth}, {self.severity}"
            )

    def run_chains(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Apply 1 to `depth` random operations to each of uint8 [m, 3, h, w]; may write into `images`."""
        m, device = images.shape[0], images.device
        length = torch.randint(1, self.depth + 1, (m,), generator=generator, device=device)
        for step in range(self.depth):
            operation = torch.randint(0, len(OPERATIONS), (m,), generator=generator, device=device)
            level = 0.1 + (self.severity - 0.1) * torch.rand(m, generator=generator, device=device)
            sign = torch.where(torch.rand(m, generator=generator, device=device) < 0.5, -1.0, 1.0)
            active = length > step
            rows = torch.nonzero(active & (operation < TABLES)).squeeze(1)
            drawn = images[rows]
            images[rows] = apply_table(drawn, look_up_table(drawn, operation[rows], level[rows]))
            rows = torch.nonzero(active & (operation >= TABLES)).squeeze(1)
            images[rows] = affine(images[rows], operation[rows], level[rows], sign[rows])
        return images
