"""Single frequency, greyscale: a sine wave over the whole image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cards_deck.corruptions._base import REGISTRY, Draws, Floats, Images


@REGISTRY.register("single_frequency_greyscale")
@dataclass(frozen=True)
class SingleFrequencyGreyscale:
    """x + 19.6 * level * sin(2 pi f . position + phase), the same in every channel, at any frequency f up to Nyquist.

    Mintun et al., NeurIPS 2021 (ImageNet-C-bar; levels for CIFAR-10). Frequencies are in cycles per pixel at every
    size, as published.
    """

    level: tuple[float, ...] = (0.6, 1.2, 1.8, 2.4, 3)

    def __call__(self, images: Images, severity: int, draws: Draws) -> Images:
        """See `Corruption`."""
        steps = np.arange(images.shape[1])
        across, down, phase = _waves(draws).T[..., np.newaxis, np.newaxis]
        wave = np.sin(steps * across + steps[:, np.newaxis] * down + phase)
        added: Floats = self.level[severity - 1] * 196 / 10 * wave[..., np.newaxis]
        return np.clip(images + added, 0, 255).astype(np.uint8)


def _waves(draws: Draws) -> Floats:
    """Radians per pixel across and down, and the phase, float64 [n, 3]: one axis has any frequency, the other no more
    than that one."""
    found = []
    for generator in draws.generators:
        larger = generator.uniform(-np.pi, np.pi)
        smaller = generator.uniform(-abs(larger), abs(larger))
        axes = np.array([larger, smaller])[generator.permutation(2)]
        found.append([*axes, generator.uniform(0, 2 * np.pi)])
    return np.array(found)
