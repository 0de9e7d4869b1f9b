"""How long and how fast a network is trained: the hyperparameters of one run of the loop."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

from cards_deck.errors import InputError


@dataclass(frozen=True)
class Schedule:
    """SGD with momentum over a fixed number of epochs; becomes part of a card's record and id.

    Attributes:
        epochs: passes over the training set.
        batch_size: images per step; the last, incomplete batch of an epoch is dropped.
        learning_rate: peak value.
        decay: `cosine` or `linear` to zero after the warm-up, `step`: a tenth at each share of `milestones`, or
            `constant`.
        warmup: share of the steps over which the learning rate rises linearly from zero.
        milestones: shares of the steps for `step`.
        momentum: of SGD.
        nesterov: use Nesterov's form of momentum.
        weight_decay: L2 penalty on convolution and linear weights; biases and batch-norm have none.
        label_smoothing: share of the target spread over all classes.
        ema: decay per step of the averaged weights that become the card; 0 keeps the last ones.
        sizes: (share of the epochs, side in px) pairs in order: train on images resized to `side` until that share;
            empty trains at full size throughout.
        precision: of convolutions and products in training: `bf16` (faster on a CPU with its instructions, slower on
            one without), `float32`, or `auto`, which is bf16 on CUDA and float32 elsewhere. Weights, optimizer and
            batch-norm are float32 in each.
    """

    epochs: int = 100
    batch_size: int = 128
    learning_rate: float = 0.1
    decay: Literal["cosine", "linear", "step", "constant"] = "cosine"
    warmup: float = 0.05
    milestones: tuple[float, ...] = (0.5, 0.75)
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 5e-4
    label_smoothing: float = 0.0
    ema: float = 0.0
    sizes: tuple[tuple[float, int], ...] = ()
    precision: Literal["auto", "float32", "bf16"] = "auto"

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 2 or self.learning_rate <= 0:
            raise InputError(
                "schedule: `epochs` must be at least 1, `batch_size` at least 2 and `learning_rate` positive, got "
                f"{self.epochs}, {self.batch_size}, {self.learning_rate}"
            )
        if self.decay not in ("cosine", "linear", "step", "constant"):
            raise InputError(f"schedule: `decay` must be constant, cosine, linear or step, got {self.decay!r}")
        if self.precision not in ("auto", "float32", "bf16"):
            raise InputError(f"schedule: `precision` must be auto, float32 or bf16, got {self.precision!r}")
        if not (0 <= self.warmup < 1 and 0 <= self.ema < 1 and 0 <= self.label_smoothing < 1):
            raise InputError("schedule: `warmup`, `ema` and `label_smoothing` must lie in [0, 1)")

    def describe(self) -> dict[str, Any]:
        """The settings as a record keeps them: without the precision where it is the usual one, so that what was
        trained before there was a choice is described alike."""
        found = asdict(self)
        if self.precision == "auto":
            del found["precision"]
        return found

    def rate(self, progress: float) -> float:
        """Learning rate after `progress` (0 to 1) of the steps."""
        if progress < self.warmup:
            return self.learning_rate * progress / self.warmup
        after = (progress - self.warmup) / (1 - self.warmup)
        if self.decay == "cosine":
            return self.learning_rate * 0.5 * (1 + math.cos(math.pi * after))
        if self.decay == "linear":
            return self.learning_rate * (1 - after)
        if self.decay == "constant":
            return self.learning_rate
        return float(self.learning_rate * 0.1 ** sum(progress >= milestone for milestone in self.milestones))

    def bf16(self, device: str) -> bool:
        """Whether a device of this type (`cpu`, `cuda`) multiplies in bf16."""
        return self.precision == "bf16" or (self.precision == "auto" and device == "cuda")

    def size(self, epoch: int, full: int) -> int:
        """Side in px on which `epoch` (from 0) trains, for images of `full` px."""
        for share, side in self.sizes:
            if epoch < round(share * self.epochs):
                return side
        return full
