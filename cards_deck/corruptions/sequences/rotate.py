"""Rotation from one side to the other."""

from __future__ import annotations

from dataclasses import dataclass

from cards_deck.corruptions._base import Draws, Images
from cards_deck.corruptions.sequences._affine import affine
from cards_deck.corruptions.sequences._base import REGISTRY, Frames, columns_of, empty_frames


@REGISTRY.register("rotate")
@dataclass(frozen=True)
class Rotate:
    """Turned by -15, -14, ... 15 degrees, black corners. Nothing is random, nothing scales with the size."""

    step: float = 1.0
    frames: int = 31

    def __call__(self, images: Images, frames: int, draws: Draws) -> Frames:
        """See `Perturbation`."""
        out, columns = empty_frames(images, frames), columns_of(images)
        for frame in range(frames):
            angle = (frame - self.frames // 2) * self.step
            out[:, frame] = affine(columns, images.shape[1], angle=angle)
        return out
