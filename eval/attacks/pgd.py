"""Projected gradient descent in the L-infinity ball (Madry et al., ICLR 2018, section 2.1), on uint8 images.

The loss is that of the rounded image, and its gradient is used as if rounding were the identity, so what is found is
what a deck would be given. The clean image is the first candidate, a random point of the ball the start; of all points
visited the attack keeps the first that reached its aim, else the one with the highest loss.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from cards_deck.spectrum import Images
from eval.attacks.aims import Aim
from eval.attacks.chunks import Rows, check_levels, in_chunks

TRAVEL = 2.5  # all steps together, in radii: every point of the ball can be reached from every other


def pgd(aim: Aim, images: Images, levels: int, *, steps: int = 20, seed: int = 0, threads: int = 1) -> Images:
    """Attack uint8 [n, h, h, 3] -> uint8 [n, h, h, 3], no value changed by more than `levels` grey levels.

    `steps` gradients per image at most: an image that reached the aim is left alone. Raises InputError for a radius
    outside 0 to 255.
    """
    check_levels(levels)
    if not levels:
        return images.copy()

    def chunk(clean: Images, rows: Rows, number: int) -> Images:
        start = np.random.default_rng([seed, levels, number]).uniform(-levels, levels, clean.shape)
        return _Search(aim, clean, rows, levels).run(_planes(start.astype(np.float32)), steps)

    return in_chunks(chunk, images, threads)


class _Search:
    """The images of one chunk: where each stands, and the best image found for it. Everything is in grey levels."""

    def __init__(self, aim: Aim, clean: Images, rows: Rows, levels: int) -> None:
        self.aim, self.rows, self.levels = aim, rows, levels
        self.clean = _planes(clean.astype(np.float32))
        self.best = clean.copy()
        self.loss = np.full(len(clean), -np.inf)
        self.active = np.arange(len(clean))

    def run(self, start: Tensor, steps: int) -> Images:
        """The best images after `steps` gradients."""
        self._look(torch.zeros_like(self.clean), gradient=False)
        delta = self._within(start)
        for step in range(steps + 1):
            if not len(self.active):
                break
            before = self.active
            gradient = self._look(delta[before], gradient=step < steps)
            if gradient is not None:
                moved = delta[before] + (TRAVEL * self.levels / steps) * gradient.sign()
                delta[before] = self._within(moved, before)
        return self.best

    def _within(self, delta: Tensor, rows: Rows | slice = slice(None)) -> Tensor:
        """Into the ball, and into the values that a pixel can have."""
        clean = self.clean[rows]
        return (clean + delta.clamp(-self.levels, self.levels)).clamp(0, 255) - clean

    def _look(self, delta: Tensor, *, gradient: bool) -> Tensor | None:
        """Judge the active images at `delta`, keep what is better, stop those that arrived; the loss's gradient."""
        active = self.active
        rounded = (self.clean[active] + delta).round()
        pixels = np.ascontiguousarray(rounded.numpy().transpose(0, 2, 3, 1).astype(np.uint8))
        planes = (rounded / 255).requires_grad_(gradient)
        with torch.set_grad_enabled(gradient):
            loss, reached = self.aim(planes, pixels, self.rows[active])
        found = np.where(reached, np.inf, loss.detach().numpy())
        better = found > self.loss[active]
        self.best[active[better]], self.loss[active[better]] = pixels[better], found[better]
        self.active = active[~reached]
        if not gradient:
            return None
        (slope,) = torch.autograd.grad(loss.sum(), planes)
        return slope


def _planes(values: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> Tensor:
    """[n, h, h, 3] -> float tensor [n, 3, h, h]."""
    return torch.from_numpy(np.ascontiguousarray(values.transpose(0, 3, 1, 2)))
