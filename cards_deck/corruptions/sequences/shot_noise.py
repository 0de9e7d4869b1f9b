"""Shot noise, drawn anew for every frame."""

from __future__ import annotations

from dataclasses import dataclass

from cards_deck.corruptions._base import Draws, Images, to_uint8, unit
from cards_deck.corruptions.sequences._base import REGISTRY, Frames, empty_frames


@REGISTRY.register("shot_noise")
@dataclass(frozen=True)
class ShotNoise:
    """The clean image, then Poisson(x * photons) / photons. Nothing scales with the size."""

    photons: int = 700
    frames: int = 31

    def __call__(self, images: Images, frames: int, draws: Draws) -> Frames:
        """See `Perturbation`."""
        out = empty_frames(images, frames)
        out[:, 0] = images
        mean = unit(images) * self.photons
        for frame in range(1, frames):
            out[:, frame] = to_uint8(draws.poisson(mean) / self.photons)
        return out
