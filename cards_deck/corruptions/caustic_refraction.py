"""Caustic refraction: seen through moving water."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from cards_deck.corruptions._base import REGISTRY, Draws, Floats, Images, to_uint8, unit
from cards_deck.corruptions._caustics import caustics
from cards_deck.corruptions._cbar_warp import sampled

_INDEX = 4.0  # of refraction


@REGISTRY.register("caustic_refraction")
@dataclass(frozen=True)
class CausticRefraction:
    """Pixels are read where the slope of a water surface refracts their ray, and lit by the slope.

    Mintun et al., NeurIPS 2021 (ImageNet-C-bar; levels for CIFAR-10). The lens is level * size / 20 pixels thick; the
    surface is smoothed by one pixel at every size, as published. Linear, black outside.
    """

    level: tuple[float, ...] = (1.8, 2.6, 3.4, 4.2, 5)

    def __call__(self, images: Images, severity: int, draws: Draws) -> Images:
        """See `Corruption`."""
        size, level = images.shape[1], self.level[severity - 1]
        drawn = [(g.uniform(0.5, 2.0), g.uniform(0.75, 1.25)) for g in draws.generators]
        surfaces = [gaussian_filter(caustics(size, time, scale * size), sigma=1) for time, scale in drawn]
        padded = np.pad(np.stack(surfaces), ((0, 0), (1, 1), (1, 1)))
        across = padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2]
        down = padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]
        rows, columns = _refracted(down, across, level * 0.5 / 10 * size)
        steps = np.arange(size)
        seen = sampled(unit(images), steps[:, np.newaxis] + rows, steps + columns)
        lit = seen + ((down - across) * level * 2 / 10)[..., np.newaxis]
        return to_uint8(lit)


def _refracted(down: Floats, across: Floats, thickness: float) -> tuple[Floats, Floats]:
    """Where the ray of each pixel comes from, in rows and columns, to three decimals. A ray that meets the surface
    nearly upright goes straight through."""
    slope = np.hypot(down, across)
    angle = np.arctan(slope)
    bent = np.sin(angle - np.arcsin(np.sin(angle) / _INDEX)) * thickness
    bent = np.where((np.cos(angle) >= 1 - 1e-3) | (slope == 0), 0, bent / np.where(slope == 0, 1, slope))
    return np.round(bent * down, 3), np.round(bent * across, 3)
