"""Cocentric sine waves (spelt as published): rings with scalloped edges around a random point."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cards_deck.corruptions._base import REGISTRY, Draws, Floats, Images


@REGISTRY.register("cocentric_sine_waves")
@dataclass(frozen=True)
class CocentricSineWaves:
    """Grey levels rise by 12.8 * level across each ring and fall back at its edge, around 0.

    Mintun et al., NeurIPS 2021 (ImageNet-C-bar; levels for CIFAR-10). Rings are up to a tenth of the side wide, their
    edges swing by up to as much, up to ten times around: shares of the side, so they hold for every size.
    """

    level: tuple[float, ...] = (1, 2, 3, 4, 5)

    def __call__(self, images: Images, severity: int, draws: Draws) -> Images:
        """See `Corruption`."""
        size = images.shape[1]
        drawn = draws.random(5) * (size, size, 10, size / 10, size / 10)
        x, y, swings, amplitude, width = drawn.T[..., np.newaxis, np.newaxis]
        across, down = np.arange(size) - x, np.arange(size)[:, np.newaxis] - y
        edge = np.sin(np.arctan2(across, down) * swings) * amplitude
        ring = ((np.sqrt(across**2 + down**2) + edge) % width) / width - 1 / 2
        added: Floats = self.level[severity - 1] * 128 / 10 * ring[..., np.newaxis]
        return np.clip(images + added, 0, 255).astype(np.uint8)
