"""CARDs: compression by lottery-ticket-style methods keeps accuracy under corruptions, traditional pruning does not."""

from __future__ import annotations

from eval.tickets.cells import Cell
from eval.tickets.claims._arms import dense
from eval.tickets.claims._base import Claim, Contrast, gain
from eval.tickets.scales import Scale, cell, described


def rewinding(scale: Scale, seed: int) -> Cell:
    """Learning-rate rewinding."""
    return cell("lr_rewinding", scale, seed, described("lr_rewinding", density=scale.density, rate=scale.rate))


def fine_tuned(scale: Scale, seed: int) -> Cell:
    """One-shot magnitude pruning, fine-tuned a quarter as long."""
    return cell(f"fine_tune-d{scale.density:g}", scale, seed, described("fine_tune", density=scale.density))


def fine_tuned_long(scale: Scale, seed: int) -> Cell:
    """The same, fine-tuned for about as many epochs as the rewinding takes in all."""
    method = described("fine_tune", density=scale.density, epochs=5.0 if scale.name == "small" else 11.0)
    return cell("fine_tune-long", scale, seed, method)


def gradual(scale: Scale, seed: int) -> Cell:
    """Gradual magnitude pruning."""
    method = described("gradual_magnitude", density=scale.density, distribution="global", interval=scale.interval)
    return cell("gradual_magnitude", scale, seed, method)


CLAIM = Claim(
    number=1,
    key="cards",
    paper="Diffenderfer et al., NeurIPS 2021",
    sentence="Networks compressed by lottery-ticket-style methods (here learning-rate rewinding) are more robust to "
    "corruptions than traditionally pruned ones (fine-tuning, gradual pruning), and as robust as dense ones.",
    setting="corrupted test accuracy over the 15 corruptions of CIFAR-10-C, made here; no robust augmentation",
    arms={
        "dense": dense,
        "LRR": rewinding,
        "prune + fine-tune": fine_tuned,
        "prune + fine-tune, epochs as LRR": fine_tuned_long,
        "gradual pruning": gradual,
    },
    contrasts=(
        Contrast("LRR − prune + fine-tune, corrupted", gain("LRR", "prune + fine-tune", "corrupted")),
        Contrast(
            "LRR − prune + fine-tune of as many epochs, corrupted",
            gain("LRR", "prune + fine-tune, epochs as LRR", "corrupted"),
        ),
        Contrast("LRR − gradual pruning, corrupted", gain("LRR", "gradual pruning", "corrupted")),
        Contrast("LRR − dense, corrupted", gain("LRR", "dense", "corrupted"), 0.01, "no_worse"),
    ),
    note="The paper's second claim, that a gate over the spectrum chooses cards well, is measured on a released deck: "
    "see [its report](cifar10-starter/report.md).",
)
