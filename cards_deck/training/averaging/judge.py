"""Accuracy on validation images, clean and under the validation corruptions: what averages are chosen by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from cards_deck.card import Card
from cards_deck.corruptions import SEVERITIES, VALIDATION_CORRUPTIONS, corrupt
from cards_deck.data import Dataset
from cards_deck.inference.engines import EngineKind, available, load, supports
from cards_deck.inference.gates import CLEAN

BATCH = 250
Images = NDArray[np.uint8]
Labels = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Judge:
    """Held-out images by domain, each with its labels; "clean" is one of them.

    What is chosen on it never sees test images nor the corruptions that decks are reported on.
    """

    domains: Mapping[str, tuple[Images, Labels]]

    @classmethod
    def of(cls, validation: Dataset, *, corrupted: int = 2000, seed: int = 0) -> Self:
        """All validation images clean and, under each validation corruption, `corrupted` of them in severities 1 to 5.

        Corruptions need images of 32 px or more: smaller ones are judged clean alone.
        """
        domains = {CLEAN: (validation.images, validation.labels)}
        if corrupted and validation.image_size >= 32:
            few = slice(0, corrupted)
            for name in VALIDATION_CORRUPTIONS:
                domains[name] = (_corrupted(validation.images[few], name, seed), validation.labels[few])
        return cls(domains)

    def accuracies(self, card: Card) -> dict[str, float]:
        """Share of right answers on each domain."""
        size = self.domains[CLEAN][0].shape[1]
        runner = load(card, _engine(card), image_size=size)
        found = {}
        for domain, (images, labels) in self.domains.items():
            parts = [runner(images[start : start + BATCH]).argmax(1) for start in range(0, len(images), BATCH)]
            found[domain] = float((np.concatenate(parts) == labels).mean())
        return found

    def clean(self) -> Judge:
        """The same judge with nothing but clean images."""
        return Judge({CLEAN: self.domains[CLEAN]})


def score(accuracies: Mapping[str, float]) -> float:
    """Half the clean accuracy, half the mean of the others; the clean one where there are no others."""
    others = [value for domain, value in accuracies.items() if domain != CLEAN]
    return (accuracies[CLEAN] + float(np.mean(others))) / 2 if others else accuracies[CLEAN]


def _corrupted(images: Images, name: str, seed: int) -> Images:
    found = np.empty_like(images)
    for severity in SEVERITIES:
        rows = slice(severity - 1, None, len(SEVERITIES))
        found[rows] = corrupt(images[rows], name, severity, seed=seed)
    return found


def _engine(card: Card) -> EngineKind:
    """Without the trials of AUTO, which would take longer than a candidate's few thousand images."""
    sparse = available(EngineKind.SPARSE) and supports(card, EngineKind.SPARSE)
    return EngineKind.SPARSE if sparse else EngineKind.TORCH
