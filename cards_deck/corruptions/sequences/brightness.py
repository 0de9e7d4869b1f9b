"""Brightness, from darker to lighter."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cards_deck.corruptions._base import Draws, Images, to_uint8, unit
from cards_deck.corruptions._colour import hsv_to_rgb, rgb_to_hsv
from cards_deck.corruptions.sequences._base import REGISTRY, Frames, empty_frames


@REGISTRY.register("brightness")
@dataclass(frozen=True)
class Brightness:
    """V - 15 * step to V + 15 * step in HSV, clipped. Nothing is random, nothing scales with the size.

    The middle frame is the image, but for values that the way to HSV and back leaves just below a grey level.

    Attributes:
        step: percent of full brightness from frame to frame.
    """

    step: float = 1.5
    frames: int = 31

    def __call__(self, images: Images, frames: int, draws: Draws) -> Frames:
        """See `Perturbation`."""
        out = empty_frames(images, frames)
        hue, saturation, value = rgb_to_hsv(unit(images))
        for frame in range(frames):
            shifted = np.clip(value + (frame - self.frames // 2) * self.step / 100, 0, 1)
            out[:, frame] = to_uint8(hsv_to_rgb(hue, saturation, shifted))
        return out
