"""What AugMix and PRIME share: short chains of random operations, mixed with each other and with the image itself.

Hendrycks et al., ICLR 2020, algorithm 1; Modas et al., ECCV 2022, whose public code mixes other operations in the same
way.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from cards_deck.training.augmentations.crop_flip import CropFlip


class MixedChains(ABC):
    """Crop and flip, then a mixture of `width` chains; `run_chains` is what a subclass brings.

    Attributes:
        width: number of chains mixed with Dirichlet(1) weights.
        depth: longest chain; each chain's length is drawn from 1 to `depth`.
        jsd: train with the Jensen-Shannon consistency of the clean and two mixed views; the training loss asks `views`
            for them.
    """

    width: int
    depth: int
    jsd: bool

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Map uint8 [n, 3, h, w] to uint8 [n, 3, h, w]."""
        return self.mix(CropFlip()(images, generator), generator)

    def views(self, images: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Return (cropped and flipped, mixed once, mixed again), each uint8 [n, 3, h, w], for the consistency loss."""
        clean = CropFlip()(images, generator)
        return clean, self.mix(clean, generator), self.mix(clean, generator)

    def mix(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Mix uint8 [n, 3, h, w] with `width` chains of its own; same shape and type."""
        n, device = images.shape[0], images.device
        chains = self.run_chains(images.repeat(self.width, 1, 1, 1), generator)
        # Dirichlet(1) = normalised exponentials; Beta(1, 1) = uniform.
        weights = -torch.log(torch.rand(self.width, n, 1, 1, 1, generator=generator, device=device).clamp_min_(1e-20))
        share = torch.rand(n, 1, 1, 1, generator=generator, device=device)
        weights = weights / weights.sum(0) * share
        mixed = torch.addcmul(images * (1 - share), weights[0], chains[:n].float())
        for chain in range(1, self.width):
            mixed.addcmul_(weights[chain], chains[chain * n : (chain + 1) * n].float())
        return mixed.round_().clamp_(0, 255).to(torch.uint8)

    @abstractmethod
    def run_chains(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Apply 1 to `depth` random operations to each of uint8 [m, 3, h, w]; may write into `images`."""
