"""Sparse double descent: under label noise, the test error rises with sparsity, then falls, before it rises again."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from eval.tickets.cells import Cell
from eval.tickets.claims._base import Arms, Claim, Contrast
from eval.tickets.scales import Scale, cell, described

NAME = "levels"


def levels(scale: Scale, seed: int) -> Cell:
    """Every level of iterative pruning, rewound to the initial weights, with a fifth of the labels wrong."""
    method = described("levels", density=0.03, rate=0.36 if scale.name == "small" else 0.2, rewind=0)
    small = {"sizes": ((0.9, 16),)} if scale.name == "small" else {}
    schedule = scale.with_epochs(scale.noisy_epochs / scale.schedule.epochs, weight_decay=1e-4, **small)
    setting = scale.setting(schedule, images=scale.noisy_images, label_noise=0.2)
    return cell("levels-noise0.2", scale, seed, method, setting=setting)


def errors(arms: Arms) -> list[float]:
    """Clean test error of every level, the dense network first."""
    return [1 - float(card["accuracy"]["test"]["clean"]) for _, card in sorted(arms[NAME]["cards"].items())]


def humps(seeds: Sequence[Arms]) -> list[float]:
    """For each seed, how far its error lies above the dense one's and above that of a sparser level, at least.

    The levels of the peak and of the sparser minimum are chosen on the mean of the other seeds, so that noise alone
    gives no hump; no sparser level is a fall of 0.
    """
    curves = np.array([errors(arms) for arms in seeds])
    if len(curves) < 2:
        return [0.0] * len(curves)
    found = []
    for place, own in enumerate(curves):
        others = np.delete(curves, place, axis=0).mean(axis=0)
        peak = int(others[1:].argmax()) + 1
        after = others[peak + 1 :]
        fall = float(own[peak] - own[peak + 1 + int(after.argmin())]) if len(after) else 0.0
        found.append(min(float(own[peak] - own[0]), fall))
    return found


CLAIM = Claim(
    number=7,
    key="double_descent",
    paper="He et al., ICML 2022",
    sentence="Under label noise, test error does not rise steadily with sparsity: it rises, falls, and rises again.",
    setting="20 % symmetric label noise, few images and many epochs, so that the dense network fits wrong labels",
    arms={NAME: levels},
    contrasts=(Contrast("height of the hump in clean test error", humps, 0.01),),
    note="The peak and the minimum behind it are looked for on the other seeds. Whether the dense network fits its "
    "noisy "
    "labels, without which there is nothing to see, is in the picture of `python -m eval tickets --label-noise`.",
)
