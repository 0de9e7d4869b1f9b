"""Shot noise: light comes in quanta."""

from __future__ import annotations

from dataclasses import dataclass

from cards_deck.corruptions._base import REGISTRY, Draws, Images, to_uint8, unit


@REGISTRY.register("shot_noise")
@dataclass(frozen=True)
class ShotNoise:
    """Poisson(x * photons) / photons, per pixel and channel. Nothing scales with the size."""

    photons: tuple[int, ...] = (500, 250, 100, 75, 50)

    def __call__(self, images: Images, severity: int, draws: Draws) -> Images:
        """See `Corruption`."""
        photons = self.photons[severity - 1]
        return to_uint8(draws.poisson(unit(images) * photons) / photons)
