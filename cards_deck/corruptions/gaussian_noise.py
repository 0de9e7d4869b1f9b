"""Gaussian noise: electronic noise in poor light."""

from __future__ import annotations

from dataclasses import dataclass

from cards_deck.corruptions._base import REGISTRY, Draws, Images, to_uint8, unit


@REGISTRY.register("gaussian_noise")
@dataclass(frozen=True)
class GaussianNoise:
    """x + N(0, std), per pixel and channel, on [0, 1]. Noise is per pixel, so nothing scales with the size."""

    std: tuple[float, ...] = (0.04, 0.06, 0.08, 0.09, 0.10)

    def __call__(self, images: Images, severity: int, draws: Draws) -> Images:
        """See `Corruption`."""
        return to_uint8(unit(images) + self.std[severity - 1] * draws.normal(*images.shape[1:]))
