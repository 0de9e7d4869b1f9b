"""What is counted, as pure functions of numpy arrays: one module per question, each naming its papers and conventions.

accuracy      who is right, per image and cell                   bootstrap    intervals over images
calibration   ECE, adaptive ECE, NLL, Brier, temperature         selective    risk and coverage
detection     AUROC, AUPR, FPR95 and the scores for them         diversity    disagreement, double fault
significance  exact McNemar, Holm                                robustness   mCE, effective robustness
"""

from eval.metrics._arrays import Bools, Floats
from eval.metrics.accuracy import best_card_per_cell, cell_groups, is_correct, per_image_means
from eval.metrics.bootstrap import Interval, bootstrap_means, intervals
from eval.metrics.calibration import (
    Bin,
    adaptive_calibration_error,
    brier,
    expected_calibration_error,
    fit_temperature,
    negative_log_likelihood,
    reliability,
    tempered,
)
from eval.metrics.detection import (
    aupr,
    auroc,
    auroc_interval,
    energy,
    entropy,
    fpr_at_tpr,
    knn,
    msp,
    mutual_information,
)
from eval.metrics.diversity import disagreement, double_fault
from eval.metrics.robustness import (
    STANDARD_CIFAR10,
    STANDARD_CIFAR10_ERRORS,
    effective_robustness,
    mean_corruption_error,
    relative_mce,
)
from eval.metrics.selective import aurc, coverage_at_risk, excess_aurc, risk_coverage, thinned_curve
from eval.metrics.significance import McNemar, holm, mcnemar

__all__ = [
    "STANDARD_CIFAR10",
    "STANDARD_CIFAR10_ERRORS",
    "Bin",
    "Bools",
    "Floats",
    "Interval",
    "McNemar",
    "adaptive_calibration_error",
    "aupr",
    "aurc",
    "auroc",
    "auroc_interval",
    "best_card_per_cell",
    "bootstrap_means",
    "brier",
    "cell_groups",
    "coverage_at_risk",
    "disagreement",
    "double_fault",
    "effective_robustness",
    "energy",
    "entropy",
    "excess_aurc",
    "expected_calibration_error",
    "fit_temperature",
    "fpr_at_tpr",
    "holm",
    "intervals",
    "is_correct",
    "knn",
    "mcnemar",
    "mean_corruption_error",
    "msp",
    "mutual_information",
    "negative_log_likelihood",
    "per_image_means",
    "relative_mce",
    "reliability",
    "risk_coverage",
    "tempered",
    "thinned_curve",
]
