"""The training objective: cross-entropy, with the consistency of views and mixed features where those are asked for."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from cards_deck.training.augmentations import Augmentation
from cards_deck.training.forward import Forward

JSD_WEIGHT = 12.0  # Hendrycks et al. 2020, section 4


def training_loss(
    forward: Forward,
    images: Tensor,
    labels: Tensor,
    augmentation: Augmentation,
    generator: torch.Generator,
    label_smoothing: float,
) -> Tensor:
    """Return the scalar loss of one batch of uint8 [n, 3, h, w] images with int64 [n] labels.

    With `augmentation.jsd`, the cross-entropy is that of the clean view and the three views go through one forward
    pass, as in the published code, so that batch-norm sees them together. With `augmentation.mixup`, features are mixed
    on the way, and the cross-entropy is that with both labels, in their shares.
    """
    # What a card trains on are the same pixels wherever they are made: none of it in lower precision.
    with torch.autocast(images.device.type, enabled=False):
        if getattr(augmentation, "jsd", False):
            views = augmentation.views(images, generator)  # type: ignore[attr-defined]
        else:
            views = (augmentation(images, generator),)
    draw = getattr(augmentation, "mixup", None)
    mixup = draw(len(images), len(views), forward.stages, generator) if draw is not None else None
    logits = forward(torch.cat(views), mixup).float()
    first = logits[: len(images)]
    loss = F.cross_entropy(first, labels, label_smoothing=label_smoothing)
    if mixup is not None:
        other = F.cross_entropy(first, labels[mixup.partner], label_smoothing=label_smoothing)
        loss = torch.lerp(other, loss, mixup.share)
    return loss if len(views) == 1 else loss + JSD_WEIGHT * jensen_shannon(logits.chunk(len(views)))


def jensen_shannon(logits: tuple[Tensor, ...]) -> Tensor:
    """Mean Jensen-Shannon divergence in nats of k sets of logits [n, c]: a scalar in [0, log k]."""
    probabilities = [F.softmax(view, dim=1) for view in logits]
    log_mixture = torch.stack(probabilities).mean(0).clamp(1e-7, 1).log()
    divergences = [F.kl_div(log_mixture, p, reduction="batchmean") for p in probabilities]
    return torch.stack(divergences).mean()
