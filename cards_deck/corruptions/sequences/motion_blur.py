"""Motion blur whose direction turns by half a circle."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cards_deck.corruptions._base import Draws, Images, scale_of
from cards_deck.corruptions._geometry import motion_blur
from cards_deck.corruptions.sequences._base import REGISTRY, Frames, empty_frames


@REGISTRY.register("motion_blur")
@dataclass(frozen=True)
class MotionBlur:
    """ImageMagick's one-sided motion blur at -180, -171, ... 0 degrees. Every frame is blurred; nothing is random.

    radius and sigma are in pixels at 32 x 32 and grow with size / 32.
    """

    radius: float = 6
    sigma: float = 1.8
    step: float = 9.0
    frames: int = 21

    def __call__(self, images: Images, frames: int, draws: Draws) -> Frames:
        """See `Perturbation`."""
        scale, out = scale_of(images), empty_frames(images, frames)
        for frame in range(frames):
            angles = np.full(len(images), (frame - self.frames + 1) * self.step)
            out[:, frame] = motion_blur(images, self.radius * scale, self.sigma * scale, angles)
        return out
