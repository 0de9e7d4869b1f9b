"""Sparse double descent: under label noise, the test error rises with sparsity, then falls, before it rises again."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from eval.tickets.cells import Cell
from eval.tickets.claims._base import Arms, Claim, Contrast, Measure, per_seed
from eval.tickets.scales import Scale, cell, described

NAME = "levels"
NOISE = 0.2  # share of wrong training labels


def levels(scale: Scale, seed: int) -> Cell:
    """Every level of iterative pruning, rewound to the initial weights, with a fifth of the labels wrong."""
    method = described("levels", density=0.03, rate=0.5 if scale.name == "small" else 0.2, rewind=0)
    small = {"sizes": ()} if scale.name == "small" else {}
    schedule = scale.with_epochs(scale.noisy_epochs / scale.schedule.epochs, weight_decay=1e-4, **small)
    setting = scale.setting(schedule, images=scale.noisy_images, label_noise=NOISE)
    return cell("levels-noise0.2", scale, seed, method, setting=setting)


def errors(arms: Arms, split: str = "test") -> list[float]:
    """Clean error of every level, the dense network first."""
    return [1 - float(card["accuracy"][split]["clean"]) for _, card in sorted(arms[NAME]["cards"].items())]


def memorised(arms: Arms) -> float:
    """By how much the dense network fits more of its training labels than are right."""
    return NOISE - errors(arms, "fit")[0]


def humps(seeds: Sequence[Arms]) -> list[float]:
    """For each seed, how far its error lies above the dense one's and above that of a sparser level, at least.

    The levels of the peak and of the sparser minimum are chosen on held-out images, on the mean of the other seeds, so
    that noise alone gives no hump; no sparser level is a fall of 0.
    """
    curves, held_out = (np.array([errors(arms, split) for arms in seeds]) for split in ("test", "validation"))
    if len(curves) < 2:
        return [0.0] * len(curves)
    found = []
    for place, own in enumerate(curves):
        others = np.delete(held_out, place, axis=0).mean(axis=0)
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
    note="The peak and the minimum behind it are looked for on held-out images, on the other seeds. Where the dense "
    "network fits none of its wrong labels there is nothing to see.",
    measures=(
        Measure(
            "labels that the dense network fits − labels that are right, of the training images",
            per_seed(memorised),
            0.0,
        ),
    ),
)
