"""Checkerboard cutout: some black squares of a turned chessboard turn grey."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cards_deck.corruptions._base import REGISTRY, Draws, Floats, Images

_GREY = np.uint8(128)


@REGISTRY.register("checkerboard_cutout")
@dataclass(frozen=True)
class CheckerboardCutout:
    """A share level / 10 of the dark squares turns grey; squares are 0.1 to 0.25 of the image's side, at any angle.

    CIFAR-10-C-bar (Mintun et al., NeurIPS 2021). The published code truncates square numbers towards zero, so that the
    two squares on either side of an axis through the upper left corner share one draw; kept. Lengths are shares of the
    side, so they hold for every size. At the lowest level an image may stay as it is.
    """

    level: tuple[float, ...] = (1, 2, 3, 4, 5)

    def __call__(self, images: Images, severity: int, draws: Draws) -> Images:
        """See `Corruption`."""
        size = images.shape[1]
        angle = 2 * np.pi * draws.random(1, 1)
        side = np.maximum(draws.uniform(0.1, 0.25, 1, 1) * size, 1)
        count = (4 * size // side).astype(np.int64)
        chosen = _grids(draws, count.ravel(), self.level[severity - 1] / 10)
        steps = np.arange(size, dtype=np.float64)
        rows, columns = steps[:, np.newaxis], steps
        down = (np.cos(angle) * rows + np.sin(angle) * columns) / side
        across = (-np.sin(angle) * rows + np.cos(angle) * columns) / side
        dark = np.floor(down % 2) == np.floor(across % 2)
        index = (down.astype(np.int64) % count, across.astype(np.int64) % count)
        grey = dark & chosen[np.arange(len(images))[:, np.newaxis, np.newaxis], *index]
        return np.where(grey[..., np.newaxis], _GREY, images)


def _grids(draws: Draws, counts: npt.NDArray[np.int64], share: float) -> npt.NDArray[np.bool_]:
    """Which squares are grey if they are dark, bool [n, largest, largest]; image i uses counts[i] rows and columns."""
    grids = np.zeros((len(counts), *2 * (counts.max(),)), np.bool_)
    for generator, grid, count in zip(draws.generators, grids, counts, strict=True):
        uniform: Floats = generator.random((count, count))
        grid[:count, :count] = uniform < share
    return grids
