"""WiSE-FT: between a robust model and its tuned version lies one that keeps the accuracy of the one and the other."""

from __future__ import annotations

from cards_deck.registry import describe
from cards_deck.training.augmentations import AUGMENTATIONS
from eval.tickets.cells import Cell
from eval.tickets.claims._base import Claim, Contrast, Measure, gain
from eval.tickets.scales import Scale, cell, described


def base(scale: Scale, seed: int) -> Cell:
    """A RigL ticket trained on AugMix."""
    method = described("rigl", density=scale.density, interval=scale.interval)
    augmix = describe(AUGMENTATIONS.build("augmix", jsd=False))
    return cell("rigl-augmix", scale, seed, method, setting=scale.setting(augmentation=augmix))


def tuned(scale: Scale, seed: int) -> Cell:
    """Tuned on clean images, its mask fixed."""
    sizes = ((0.5, 24),) if scale.name == "small" else ()
    schedule = scale.with_epochs(0.3, learning_rate=0.03, decay="cosine", warmup=0.0, sizes=sizes)
    return cell(
        "wise_ft", scale, seed, described("rigl", density=scale.density, interval=scale.interval),
        given=base(scale, seed), procedure="wise_ft", options={"statistics": "averaged"},
        setting=scale.setting(schedule),
    )  # fmt: skip


CLAIM = Claim(
    number=14,
    key="wise_ft",
    paper="Wortsman et al., CVPR 2022",
    sentence="Halfway between a robust model and the same model tuned, accuracy under shift is higher than that of the "
    "tuned model, and accuracy on what it was tuned for no lower.",
    setting="robust: AugMix; tuned: crop and flip; alpha = 1/2 as in the paper, batch-norm averaged like the weights",
    arms={"WiSE-FT": tuned},
    contrasts=(
        Contrast("half − tuned, corrupted", gain("WiSE-FT", "WiSE-FT", "corrupted", ("half", "tuned"))),
        Contrast("half − tuned, clean", gain("WiSE-FT", "WiSE-FT", "clean", ("half", "tuned")), 0.005, "no_worse"),
    ),
    note="Tuning on clean images is to cost robustness, which the middle then keeps.",
    measures=(Measure("robust − tuned, corrupted", gain("WiSE-FT", "WiSE-FT", "corrupted", ("base", "tuned")), 0.0),),
)
