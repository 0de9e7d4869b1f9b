"""Perlin noise: grey smoke."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cards_deck.corruptions._base import REGISTRY, Draws, Floats, Images

_LATTICE = 256  # points after which the noise repeats
_OCTAVES = (1, 2, 4, 8, 16)


@REGISTRY.register("perlin_noise")
@dataclass(frozen=True)
class PerlinNoise:
    """(1 - level / 20) * x + level / 20 * smoke: from grey to white, the magnitudes of five octaves of gradient noise.

    Mintun et al., NeurIPS 2021 (ImageNet-C-bar; levels for CIFAR-10), after Perlin (SIGGRAPH 1985). The widest octave
    has seven points to a side, at every size.
    """

    level: tuple[float, ...] = (5.2, 6.4, 7.6, 8.8, 10)

    def __call__(self, images: Images, severity: int, draws: Draws) -> Images:
        """See `Corruption`."""
        size = images.shape[1]
        alpha = self.level[severity - 1] * 0.5 / 10
        steps = np.arange(size) / (32 * size / 224)
        smoke = np.stack([_turbulence(steps, *_lattice(generator)) for generator in draws.generators])
        grey = np.clip(0.5 * smoke + 0.5, 0, 1)
        return np.clip((1 - alpha) * images + 255 * alpha * grey[..., np.newaxis], 0, 255).astype(np.uint8)


def _lattice(generator: np.random.Generator) -> tuple[npt.NDArray[np.int64], Floats]:
    """A permutation [256] and as many gradients of length 1, [256, 2]: points of a square, none in its middle, put on
    the circle."""
    points = generator.integers(-_LATTICE, _LATTICE, (_LATTICE, 2))
    points[(points == 0).all(axis=1)] = 1
    return generator.permutation(_LATTICE), points / np.sqrt((points**2).sum(axis=1, keepdims=True))


def _turbulence(steps: Floats, order: npt.NDArray[np.int64], gradients: Floats) -> Floats:
    """float64 [size, size] at (row, column) in `steps` [size]."""
    return np.asarray(sum(np.abs(_noise(octave * steps, order, gradients)) / octave for octave in _OCTAVES))


def _noise(steps: Floats, order: npt.NDArray[np.int64], gradients: Floats) -> Floats:
    """Gradient noise, float64 [size, size]: 0 on the lattice, smooth between."""
    low = np.floor(steps).astype(np.int64)
    inside = steps - low
    blend = inside**2 * (3 - 2 * inside)

    def corner(down: int, across: int) -> Floats:
        row, column = (low + down) % _LATTICE, (low + across) % _LATTICE
        gradient = gradients[order[(order[row][:, np.newaxis] + column) % _LATTICE]]
        return np.asarray((inside - down)[:, np.newaxis] * gradient[..., 0] + (inside - across) * gradient[..., 1])

    left, right = (corner(0, a) + blend[:, np.newaxis] * (corner(1, a) - corner(0, a)) for a in (0, 1))
    return np.asarray(1.5 * (left + blend * (right - left)))
