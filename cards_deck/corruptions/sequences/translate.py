"""Translation from left to right."""

from __future__ import annotations

from dataclasses import dataclass

from cards_deck.corruptions._base import Draws, Images, scale_of
from cards_deck.corruptions.sequences._base import REGISTRY, Frames, empty_frames


@REGISTRY.register("translate")
@dataclass(frozen=True)
class Translate:
    """Moved by -7, -6, ... 8 pixels to the right, black where nothing is left. Nothing is random.

    Pixels at 32 x 32; at other sizes times size / 32, rounded.
    """

    first: int = -7
    frames: int = 16

    def __call__(self, images: Images, frames: int, draws: Draws) -> Frames:
        """See `Perturbation`."""
        out, size = empty_frames(images, frames), images.shape[1]
        out[...] = 0
        for frame in range(frames):
            shift = round((self.first + frame) * scale_of(images))
            low, high = max(shift, 0), min(size + shift, size)
            out[:, frame, :, low:high] = images[:, :, low - shift : high - shift]
        return out
