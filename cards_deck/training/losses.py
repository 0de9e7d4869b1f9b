"""The training objective: cross-entropy, and AugMix's Jensen-Shannon consistency where the augmentation asks for it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from cards_deck.training.augmentations import Augmentation

JSD_WEIGHT = 12.0  # Hendrycks et al. 2020, section 4


def training_loss(
    forward: Callable[[Tensor], Tensor],
    images: Tensor,
    labels: Tensor,
    augmentation: Augmentation,
    generator: torch.Generator,
    label_smoothing: float,
) -> Tensor:
    """Return the scalar loss of one batch of uint8 [n, 3, h, w] images with int64 [n] labels.

    With `augmentation.jsd`, the cross-entropy is that of the clean view and the three views go through one forward
    pass, as in the published code, so that batch-norm sees them together.
    """
    if not getattr(augmentation, "jsd", False):
        logits = forward(augmentation(images, generator)).float()
        return F.cross_entropy(logits, labels, label_smoothing=label_smoothing)
    views = augmentation.views(images, generator)  # type: ignore[attr-defined]
    logits = forward(torch.cat(views)).float()
    clean = logits[: len(images)]
    loss = F.cross_entropy(clean, labels, label_smoothing=label_smoothing)
    return loss + JSD_WEIGHT * jensen_shannon(logits.chunk(len(views)))


def jensen_shannon(logits: tuple[Tensor, ...]) -> Tensor:
    """Mean Jensen-Shannon divergence in nats of k sets of logits [n, c]: a scalar in [0, log k]."""
    probabilities = [F.softmax(view, dim=1) for view in logits]
    log_mixture = torch.stack(probabilities).mean(0).clamp(1e-7, 1).log()
    divergences = [F.kl_div(log_mixture, p, reduction="batchmean") for p in probabilities]
    return torch.stack(divergences).mean()
