"""Speckle noise: noise that grows with the light."""

from __future__ import annotations

from dataclasses import dataclass

from cards_deck.corruptions._base import REGISTRY, Draws, Images, to_uint8, unit


@REGISTRY.register("speckle_noise")
@dataclass(frozen=True)
class SpeckleNoise:
    """x + x * N(0, std), per pixel and channel, on [0, 1]. Nothing scales with the size."""

    std: tuple[float, ...] = (0.06, 0.1, 0.12, 0.16, 0.2)

    def __call__(self, images: Images, severity: int, draws: Draws) -> Images:
        """See `Corruption`."""
        x = unit(images)
        return to_uint8(x + x * (self.std[severity - 1] * draws.normal(*images.shape[1:])))
