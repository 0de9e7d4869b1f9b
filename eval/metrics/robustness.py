"""One number for many corruptions, plain and relative to a reference network, and robustness beyond what accuracy buys.

`STANDARD_CIFAR10` are the accuracies of RobustBench's "Standard" row (WRN-28-10 without robust training) on the
official CIFAR-10-C, from model_info/cifar10/corruptions/unaggregated_results.csv at commit 78fcc9e, to 0.1 %.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from cards_deck.errors import InputError

Errors = Mapping[str, Sequence[float]]  # corruption -> error in [0, 1] at severities 1 to 5

STANDARD_CIFAR10: dict[str, tuple[float, ...]] = {
    "gaussian_noise": (0.778, 0.579, 0.392, 0.326, 0.277),
    "shot_noise": (0.850, 0.757, 0.535, 0.454, 0.343),
    "impulse_noise": (0.829, 0.690, 0.574, 0.401, 0.271),
    "defocus_blur": (0.946, 0.934, 0.890, 0.774, 0.531),
    "glass_blur": (0.534, 0.558, 0.570, 0.432, 0.457),
    "motion_blur": (0.903, 0.839, 0.744, 0.748, 0.652),
    "zoom_blur": (0.877, 0.845, 0.775, 0.703, 0.580),
    "snow": (0.899, 0.804, 0.837, 0.805, 0.749),
    "frost": (0.895, 0.835, 0.726, 0.709, 0.587),
    "fog": (0.945, 0.936, 0.923, 0.896, 0.740),
    "brightness": (0.948, 0.944, 0.938, 0.928, 0.907),
    "contrast": (0.943, 0.922, 0.897, 0.836, 0.533),
    "elastic_transform": (0.905, 0.902, 0.859, 0.789, 0.734),
    "pixelate": (0.920, 0.860, 0.800, 0.604, 0.415),
    "jpeg_compression": (0.864, 0.797, 0.780, 0.742, 0.697),
}
STANDARD_CIFAR10_ERRORS: dict[str, tuple[float, ...]] = {
    name: tuple(round(1 - accuracy, 3) for accuracy in row) for name, row in STANDARD_CIFAR10.items()
}

# logit(accuracy on CIFAR-10.1 v6) = SLOPE * logit(accuracy on CIFAR-10) + OFFSET: least squares over the 30 networks
# whose predictions come with CIFAR-10.1 (Recht et al., ICML 2019; github.com/modestyachts/CIFAR-10.1); residual 0.8 %.
CIFAR101_SLOPE, CIFAR101_OFFSET = 0.839, -0.472


def mean_corruption_error(errors: Errors) -> float:
    """The plain mean error over corruptions and severities, in [0, 1]: CIFAR-10-C's own number (Hendrycks and
    Dietterich, ICLR 2019; 1 - RobustBench's corruption accuracy). Each corruption weighs the same."""
    if not errors:
        raise InputError("errors must name at least one corruption, got none")
    return float(np.mean([np.mean(_row(name, row)) for name, row in errors.items()]))


def relative_mce(errors: Errors, standard: Errors) -> float:
    """mCE relative to a reference network: mean over corruptions of sum(error) / sum(its error), over severities.

    Hendrycks and Dietterich (ICLR 2019, section 4.1) with `standard` in AlexNet's place (that network has no published
    CIFAR rows): 1 is as bad as the reference. Clean errors are not subtracted: this is not their "relative mCE".
    """
    if set(errors) != set(standard) or not errors:
        missing = sorted(set(errors) ^ set(standard))
        raise InputError(f"errors and standard must hold the same corruptions, but differ in {', '.join(missing)}")
    ratios = []
    for name, row in errors.items():
        ours, reference = _row(name, row), _row(name, standard[name])
        if len(ours) != len(reference) or reference.sum() <= 0:
            raise InputError(f"{name} must have the same severities in both, and errors above 0 in the reference")
        ratios.append(ours.sum() / reference.sum())
    return float(np.mean(ratios))


def effective_robustness(acc_shift: float, acc_id: float) -> float:
    """Accuracy on CIFAR-10.1 v6 above what networks of the same CIFAR-10 accuracy reach (Taori et al., NeurIPS 2020).

    Both accuracies in [0, 1], of the same network; the answer, too: 0.01 is one point above the line.
    """
    for name, value in (("acc_shift", acc_shift), ("acc_id", acc_id)):
        if not 0 <= value <= 1:
            raise InputError(f"{name} must be in [0, 1], got {value}")
    return acc_shift - cifar101_line(acc_id)


def cifar101_line(acc_id: float) -> float:
    """The accuracy on CIFAR-10.1 v6 that goes with an accuracy on CIFAR-10, both in [0, 1]; 0 -> 0 and 1 -> 1."""
    if acc_id in (0, 1):
        return float(acc_id)
    raised = CIFAR101_SLOPE * math.log(acc_id / (1 - acc_id)) + CIFAR101_OFFSET
    return 1 / (1 + math.exp(-raised))


def _row(name: str, row: Sequence[float]) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    values = np.asarray(row, dtype=np.float64)
    if values.ndim != 1 or not len(values) or not ((values >= 0) & (values <= 1)).all():
        raise InputError(f"errors of {name} must be [severities] in [0, 1], got {row!r}")
    return values
