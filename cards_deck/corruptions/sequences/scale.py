"""Scaling from small to large."""

from __future__ import annotations

from dataclasses import dataclass

from cards_deck.corruptions._base import Draws, Images
from cards_deck.corruptions.sequences._affine import affine
from cards_deck.corruptions.sequences._base import REGISTRY, Frames, columns_of, empty_frames


@REGISTRY.register("scale")
@dataclass(frozen=True)
class Scale:
    """70, 72, ... 130 % of the image's size, black around. Nothing is random; ratios hold for every size."""

    smallest: int = 70
    step: int = 2
    frames: int = 31

    def __call__(self, images: Images, frames: int, draws: Draws) -> Frames:
        """See `Perturbation`."""
        out, columns = empty_frames(images, frames), columns_of(images)
        for frame in range(frames):
            out[:, frame] = affine(columns, images.shape[1], scale=(self.smallest + frame * self.step) / 100)
        return out
