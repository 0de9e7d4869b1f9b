"""Circular motion blur: the camera turns about its axis."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import ndimage, sparse, special

from cards_deck.corruptions._base import REGISTRY, Draws, Floats, Images
from cards_deck.corruptions._cbar_spline import cubic_taps

_TURNS = 21


@REGISTRY.register("circular_motion_blur")
@dataclass(frozen=True)
class CircularMotionBlur:
    """The weighted mean of the image turned by 21 angles up to 1.5 * level degrees either way, corners black.

    CIFAR-10-C-bar (Mintun et al., NeurIPS 2021). Each turn is scipy.ndimage.rotate's cubic spline. Nothing random.
    Angles hold for every size. All turns together are one sparse matrix per size and severity; the published code
    rounds every turn to float32, this does not.
    """

    level: tuple[float, ...] = (2.8, 3.6, 4.4, 5.2, 6)

    def __call__(self, images: Images, severity: int, draws: Draws) -> Images:
        """See `Corruption`."""
        size = images.shape[1]
        x = images.astype(np.float64)
        for axis in (1, 2):  # the spline's coefficients, the same for every turn
            x = ndimage.spline_filter1d(x, order=3, axis=axis, mode="mirror")
        columns = np.moveaxis(x, 0, 2).reshape(size**2, -1)
        turned = turns(size, self.level[severity - 1] * 15 / 10) @ columns
        out = np.moveaxis(turned.reshape(size, size, len(images), 3), 2, 0)
        return np.asarray(np.clip(out, 0, 255).astype(np.uint8))


@lru_cache(maxsize=5)
def turns(size: int, amount: float) -> sparse.csr_array:
    """Spline coefficients [size * size] -> the mean of the turned images, a sparse matrix."""
    shares = np.linspace(-1, 1, _TURNS)
    factors = np.exp(-2 * shares**2)
    parts = [
        _turn(size, share * amount) * factor for share, factor in zip(shares, factors / factors.sum(), strict=True)
    ]
    return sum(parts[1:], start=parts[0])


def _turn(size: int, degrees: float) -> sparse.csr_array:
    """scipy.ndimage.rotate(reshape=False, prefilter=False) of one plane, as a matrix."""
    cosine, sine = special.cosdg(degrees), special.sindg(degrees)
    rotation = np.array([[cosine, sine], [-sine, cosine]])
    middle = np.full(2, (size - 1) / 2)
    grid: Floats = np.indices((size, size)).reshape(2, -1).astype(np.float64)
    rows, columns = rotation @ grid + (middle - rotation @ middle)[:, np.newaxis]
    (down, down_weights), (across, across_weights) = cubic_taps(rows, size), cubic_taps(columns, size)
    index = down[:, np.newaxis] * size + across  # [4, 4, size * size]
    weight = down_weights[:, np.newaxis] * across_weights
    where = np.broadcast_to(np.arange(size**2), index.shape)
    return sparse.csr_array((weight.ravel(), (where.ravel(), index.ravel())), shape=(size**2, size**2))
