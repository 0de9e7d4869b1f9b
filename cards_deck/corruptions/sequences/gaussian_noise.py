"""Gaussian noise, drawn anew for every frame."""

from __future__ import annotations

from dataclasses import dataclass

from cards_deck.corruptions._base import Draws, Images, to_uint8, unit
from cards_deck.corruptions.sequences._base import REGISTRY, Frames, empty_frames


@REGISTRY.register("gaussian_noise")
@dataclass(frozen=True)
class GaussianNoise:
    """The clean image, then x + N(0, std) on [0, 1]. Noise is per pixel, so nothing scales with the size.

    The published code computes in float32, this in float64.
    """

    std: float = 0.02
    frames: int = 31

    def __call__(self, images: Images, frames: int, draws: Draws) -> Frames:
        """See `Perturbation`."""
        out = empty_frames(images, frames)
        out[:, 0] = images
        x = unit(images)
        for frame in range(1, frames):
            out[:, frame] = to_uint8(x + self.std * draws.normal(*images.shape[1:]))
        return out
