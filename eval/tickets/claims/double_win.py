"""Double-Win: tickets from robustly pre-trained networks keep accuracy and adversarial robustness."""

from __future__ import annotations

from functools import partial

from eval.tickets.cells import Cell
from eval.tickets.claims._base import Arms, Claim, Contrast, Effects, Measure, gain, per_seed
from eval.tickets.scales import Scale, cell, described


def ticket(scale: Scale, seed: int, pretraining: str, density: float) -> Cell:
    """Pre-trained, pruned and trained adversarially; a density of 1 is the dense network under the same protocol."""
    attack = scale.attack
    method = described(
        "double_win", density=density, rate=0.55 if scale.name == "small" else 0.2, pretraining=pretraining,
        training="adversarial", radius=float(attack["levels"]), attack_steps=attack["train_steps"],
        step_size=1.25 * attack["levels"] / max(attack["train_steps"] - 1, 1),
    )  # fmt: skip
    options = {"pgd": {key: attack[key] for key in ("levels", "steps", "images")}}
    setting = scale.setting(scale.with_epochs(0.5))
    return cell(f"double_win-{pretraining}-d{density:g}", scale, seed, method, options=options, setting=setting)


def under_attack(name: str) -> Effects:
    """Accuracy under PGD of one arm."""
    return per_seed(lambda arms: float(arms[name]["pgd"]["ticket"]))


def robust(one: str, other: str) -> Effects:
    """Difference of accuracy under PGD."""

    def effect(arms: Arms) -> float:
        return float(arms[one]["pgd"]["ticket"]) - float(arms[other]["pgd"]["ticket"])

    return per_seed(effect)


CLAIM = Claim(
    number=13,
    key="double_win",
    paper="Chen et al., ICML 2022",
    sentence="Tickets from a robustly pre-trained network match their dense network in accuracy and in adversarial "
    "robustness, and are more robust than tickets from a network pre-trained without attacks.",
    setting="density 0.2; pre-training on the same images, where the paper has ImageNet; PGD on some test images",
    arms={
        "dense, robust pre-training": partial(ticket, pretraining="adversarial", density=1.0),
        "ticket, robust pre-training": partial(ticket, pretraining="adversarial", density=0.2),
        "ticket, standard pre-training": partial(ticket, pretraining="standard", density=0.2),
    },
    contrasts=(
        Contrast(
            "ticket − dense, clean", gain("ticket, robust pre-training", "dense, robust pre-training"), 0.02, "no_worse"
        ),
        Contrast(
            "ticket − dense, PGD", robust("ticket, robust pre-training", "dense, robust pre-training"), 0.02, "no_worse"
        ),
        Contrast(
            "robust − standard pre-training, PGD",
            robust("ticket, robust pre-training", "ticket, standard pre-training"),
        ),
    ),
    measures=tuple(
        Measure(f"accuracy under PGD, {name}", under_attack(name))
        for name in ("dense, robust pre-training", "ticket, robust pre-training", "ticket, standard pre-training")
    ),
)
