"""Model soups: averaging tuned models beats the best of them, at the cost of one."""

from __future__ import annotations

from eval.tickets.cells import Cell
from eval.tickets.claims._arms import rigl
from eval.tickets.claims._base import Arms, Claim, Contrast, accuracy, per_seed
from eval.tickets.scales import Scale, cell, described

RATES = (0.01, 0.02, 0.03, 0.05)


def soup(scale: Scale, seed: int) -> Cell:
    """Four tunings of one ticket, of different learning rates and orders of the data."""
    sizes = ((0.67, 24),) if scale.name == "small" else ()
    schedule = scale.with_epochs(0.2, decay="cosine", warmup=0.0, sizes=sizes)
    options = {"learning_rates": list(RATES), "statistics": "recomputed"}
    method = described("rigl", density=scale.density, interval=scale.interval)
    return cell(
        "soup", scale, seed, method,
        given=rigl(scale, seed), procedure="soup", options=options, setting=scale.setting(schedule),
    )  # fmt: skip


def above_best(arms: Arms, made: str, domain: str) -> float:
    """A soup's accuracy less that of the member that was best on validation images."""
    best = str(arms["soup"]["soup"]["best_member"])
    return accuracy(arms, "soup", domain, made) - accuracy(arms, "soup", domain, best)


CLAIM = Claim(
    number=10,
    key="soups",
    paper="Wortsman et al., ICML 2022",
    sentence="The average of models tuned with different hyperparameters is more accurate than the best of them, and "
    "under shift too, without any cost when it answers.",
    setting="four tunings of one RigL ticket, its mask fixed; batch-norm recomputed; soups chosen on held-out images",
    arms={"soup": soup},
    contrasts=(
        Contrast("greedy − best member, clean", per_seed(lambda arms: above_best(arms, "greedy", "clean")), 0.002),
        Contrast(
            "uniform − best member, corrupted", per_seed(lambda arms: above_best(arms, "uniform", "corrupted")), 0.002
        ),
    ),
    note="The paper tunes models that were pre-trained on much more than they are tuned on; here both are the same "
    "images.",
)
