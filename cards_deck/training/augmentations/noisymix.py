"""NoisyMix (Erichson et al., 2022, arXiv 2202.01263): AugMix's consistency loss on noisily mixed features.

A step of training takes one stage of the network at random (the pixels are one), mixes each image's features there with
those of another image, and adds noise to them; the label is mixed in the same shares (Lim et al., ICLR 2022). What the
card trains on are AugMix's images: the noise is the network's, not the picture's. Stages are those of `forward.stages`:
in a ResNet-18 the published four places, in a Wide ResNet three of them, without that after the last stage; features
are those after a ResNet's ReLU, where the published networks have theirs before it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from cards_deck.errors import InputError
from cards_deck.training.augmentations import AUGMENTATIONS
from cards_deck.training.augmentations.augmix import AugMix


@dataclass(frozen=True, eq=False)
class FeatureMixup:
    """What one step of training does to the features of several views of n images.

    Attributes:
        place: before which stage of the network; 0: the pixels.
        share: 0-d float, of each image's own features; that of the others is in every view the same.
        partner: int64 [n], whose features make up the rest.
        additive: float [views], standard deviation of the noise added to a feature.
        multiplicative: float [views], largest relative change of a feature.
        sparsity: share of the features that each noise leaves alone.
        generator: of the noise.
    """

    place: int
    share: Tensor
    partner: Tensor
    additive: Tensor
    multiplicative: Tensor
    sparsity: float
    generator: torch.Generator

    def __call__(self, features: Tensor) -> Tensor:
        """Map float [views * n, ...] to the same shape; pixels in [0, 1] are mixed and disturbed as ones in [-1, 1]."""
        if self.place == 0:
            return (self._mixed(2 * features - 1) + 1) / 2
        return self._mixed(features)

    def _mixed(self, features: Tensor) -> Tensor:
        mixed = []
        for view, additive, multiplicative in zip(
            features.split(len(self.partner)), self.additive, self.multiplicative, strict=True
        ):
            blend = view[self.partner].float().lerp(view.float(), self.share)
            factor = self._sparse(1 - 2 * self._uniform(view)) * multiplicative + 1
            mixed.append(blend * factor + self._sparse(self._normal(view)) * additive)
        return torch.cat(mixed).to(features.dtype)

    def _sparse(self, noise: Tensor) -> Tensor:
        return noise * (self._uniform(noise) >= self.sparsity)

    def _uniform(self, like: Tensor) -> Tensor:
        return torch.rand(like.shape, generator=self.generator, device=like.device)

    def _normal(self, like: Tensor) -> Tensor:
        return torch.randn(like.shape, generator=self.generator, device=like.device)


@AUGMENTATIONS.register("noisymix")
@dataclass(frozen=True)
class NoisyMix:
    """AugMix's images and consistency loss, and noisy mixup of the features; the defaults are the published ones.

    A ticket method with a loss of its own trains on the images alone.

    Attributes:
        additive: largest standard deviation of the normal noise added to a feature of the first view.
        multiplicative: largest relative change of a feature.
        sparsity: share of the features that each noise leaves alone.
    """

    additive: float = 0.5
    multiplicative: float = 0.5
    sparsity: float = 0.65

    def __post_init__(self) -> None:
        if min(self.additive, self.multiplicative) < 0 or not 0 <= self.sparsity <= 1:
            raise InputError(
                "noisymix: `additive` and `multiplicative` must not be negative and `sparsity` must lie in [0, 1], got "
                f"{self.additive}, {self.multiplicative}, {self.sparsity}"
            )

    @property
    def jsd(self) -> bool:
        """The training loss takes three views of each image."""
        return True

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Map uint8 [n, 3, h, w] to uint8 [n, 3, h, w], as AugMix does."""
        return AugMix()(images, generator)

    def views(self, images: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Return AugMix's three views."""
        return AugMix().views(images, generator)

    def mixup(self, n: int, views: int, stages: int, generator: torch.Generator) -> FeatureMixup:
        """Draw what happens in one step to `views` views of `n` images in a network of `stages` stages.

        Each stage is as likely, and the share of an image's own features is uniform (the published alpha is 1). Every
        view has noise of a strength of its own, Beta(2, 5) of the largest; the additive noise of the second view is
        twice, that of the third three times as strong, as in the published code.
        """
        device = generator.device
        place = int(torch.randint(stages, (), generator=generator, device=device))
        share = torch.rand((), generator=generator, device=device)
        partner = torch.randperm(n, generator=generator, device=device)
        # The second smallest of six uniform numbers is Beta(2, 5).
        strength = torch.rand(2, views, 6, generator=generator, device=device).sort().values[..., 1]
        additive = self.additive * strength[0] * torch.arange(1, views + 1, device=device)
        return FeatureMixup(
            place, share, partner, additive, self.multiplicative * strength[1], self.sparsity, generator
        )
