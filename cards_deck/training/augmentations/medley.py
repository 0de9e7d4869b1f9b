"""Three augmentations in turns, for a card that should know several kinds of shift: AugMix (Hendrycks
et al., ICLR 2020), Gaussian noise over it, PRIME (Modas et al., ECCV 2022)."""

from __future__ import annotations

from dataclasses import dataclass, field

from cards_deck.training.augmentations import AUGMENTATIONS, Augmentation
from cards_deck.training.augmentations.augmix import AugMix
from cards_deck.training.augmentations.gaussian import Gaussian
from cards_deck.training.augmentations.mixed import Mixed
from cards_deck.training.augmentations.prime import Prime


def _three() -> tuple[Augmentation, ...]:
    return AugMix(), Gaussian(vary=True, over="augmix"), Prime()


@AUGMENTATIONS.register("medley")
@dataclass(frozen=True)
class Medley(Mixed):
    """Each image under one of AugMix, Gaussian noise over AugMix, and PRIME, in turns: `mixed` with a name of its own,
    by which a gate can tell its cards from averages of cards, which are `mixed` too.

    Attributes:
        of: the augmentations; a deck holds one setting, since its gate goes by the name.
    """

    of: tuple[Augmentation, ...] = field(default_factory=_three)
