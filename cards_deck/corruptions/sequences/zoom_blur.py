"""Zoom blur that grows: the camera moves towards the object, and the shutter stays open longer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cards_deck.corruptions._base import Draws, Images
from cards_deck.corruptions.sequences._affine import affine
from cards_deck.corruptions.sequences._base import REGISTRY, Frames, columns_of, empty_frames


@REGISTRY.register("zoom_blur")
@dataclass(frozen=True)
class ZoomBlur:
    """Frame i is the mean of the image and of its enlargements by 1 + step, ... 1 + i * step. Nothing is random.

    Factors are ratios, so they hold for every size. Each enlargement is truncated to uint8 and the mean is float32,
    as published, truncated again.
    """

    step: float = 0.004
    frames: int = 31

    def __call__(self, images: Images, frames: int, draws: Draws) -> Frames:
        """See `Perturbation`."""
        out, columns = empty_frames(images, frames), columns_of(images)
        out[:, 0] = images
        total = images.astype(np.float32) / np.float32(255)
        for frame in range(1, frames):
            enlarged = affine(columns, images.shape[1], scale=1 + self.step * frame)
            total += enlarged.astype(np.float32) / np.float32(255)
            out[:, frame] = (total / np.float32(frame + 1) * np.float32(255)).astype(np.uint8)
        return out
