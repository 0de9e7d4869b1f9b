"""Spatter: drops of water that run down the lens."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from cards_deck.corruptions._base import Draws, Floats, Images, scale_of, to_uint8
from cards_deck.corruptions._smoothing import gaussian
from cards_deck.corruptions.sequences._base import REGISTRY, Frames, empty_frames
from cards_deck.corruptions.spatter import WATER, levelling, wet


@REGISTRY.register("spatter")
@dataclass(frozen=True)
class Spatter:
    """Where a field N(mean, std) blurred by `sigma` exceeds `threshold` there is water, which runs down by `drip`.

    Drops catch light as in the corruption of this name. They move by linear interpolation, so they fade as they
    run. sigma and drip belong to 32 x 32 and grow with size / 32; the field's std makes up for the wider blur. Without
    water a frame is the clean image: there the published code divides by zero, which makes a black one.
    """

    mean: float = 0.6
    std: float = 0.265
    sigma: float = 1.75
    threshold: float = 0.7
    strength: float = 0.6
    drip: float = 0.8
    frames: int = 31

    def __call__(self, images: Images, frames: int, draws: Draws) -> Frames:
        """See `Perturbation`."""
        scale, size, out = scale_of(images), images.shape[1], empty_frames(images, frames)
        std = self.std * levelling(self.sigma) / levelling(self.sigma * scale)
        liquid = gaussian(self.mean + std * draws.normal(size, size), self.sigma * scale)
        liquid = np.where(liquid < self.threshold, 0, liquid)
        x = images.astype(np.float32) / np.float32(255)
        for frame in range(frames):
            light = wet(liquid, scale) * np.float32(self.strength)
            out[:, frame] = to_uint8(x + light[..., np.newaxis] * WATER)
            liquid = lowered(liquid, self.drip * scale)
        return out


def lowered(fields: Floats, by: float) -> Floats:
    """Fields [n, rows, columns] moved down by `by` pixels, linear, 0 above."""
    whole = math.floor(by)
    share = by - whole
    padded = np.pad(fields, ((0, 0), (whole + 1, 0), (0, 0)))
    rows = fields.shape[1]
    return np.asarray((1 - share) * padded[:, 1 : rows + 1] + share * padded[:, :rows])
