"""Every card on validation images: clean, as augmented in training, and under the corruptions set aside for tuning."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cards_deck.card import Card
from cards_deck.corruptions import RESERVE_CORRUPTIONS, SEVERITIES, VALIDATION_CORRUPTIONS, corrupt
from cards_deck.corruptions._base import PUBLISHED_SIZE
from cards_deck.data import Dataset
from cards_deck.errors import InputError
from cards_deck.inference.engines import EngineKind, load
from cards_deck.inference.gates import CLEAN, Observed
from cards_deck.machine import cores
from cards_deck.spectrum import Floats, Images, log_amplitude
from cards_deck.training.augmentations import AUGMENTATIONS

BATCH = 250  # images through a card or a transform at a time


def augmented(images: Images, description: Mapping[str, Any], seed: int) -> Images:
    """uint8 [n, h, w, 3] -> the same shape under the augmentation that a card's record describes."""
    augmentation = AUGMENTATIONS.restore(dict(description))
    generator = torch.Generator().manual_seed(seed)
    parts = []
    for start in range(0, len(images), 1000):
        batch = torch.from_numpy(np.ascontiguousarray(images[start : start + 1000].transpose(0, 3, 1, 2)))
        parts.append(augmentation(batch, generator).numpy().transpose(0, 2, 3, 1))
    return np.ascontiguousarray(np.concatenate(parts))


def augmentations_of(cards: Iterable[Card]) -> dict[str, dict[str, Any]]:
    """Each augmentation of the cards, by name and sorted; a name must mean one setting, since the gate routes by it."""
    found: dict[str, dict[str, Any]] = {}
    for card in cards:
        known = found.setdefault(card.augmentation, card.record.augmentation)
        if known != card.record.augmentation:
            raise InputError(
                f"two cards were trained under different settings of {card.augmentation!r}: {known} and "
                f"{card.record.augmentation}; a deck holds one setting of each augmentation"
            )
    return dict(sorted(found.items()))


@dataclass(frozen=True, eq=False)
class Domains:
    """The kinds of validation images that cards and gates are judged on; each is made when it is asked for.

    Attributes:
        validation: held-out images.
        augmentations: by name, as records describe them; each makes one domain of all images.
        seed: of augmented images and corruptions.
        corrupted: images under each corruption and severity, the first of `validation`.
        corruptions: by name, none of which any suite measures.
    """

    validation: Dataset
    augmentations: Mapping[str, dict[str, Any]]
    seed: int = 0
    corrupted: int = 2000
    corruptions: tuple[str, ...] = VALIDATION_CORRUPTIONS

    @property
    def names(self) -> tuple[str, ...]:
        """Clean first, then the augmentations, then corruptions; those are not defined below 32 pixels."""
        large = self.validation.images.shape[1] >= PUBLISHED_SIZE
        cells = [f"{name} {severity}" for name in self.corruptions for severity in SEVERITIES]
        return (CLEAN, *self.augmentations, *(cells if large and self.corrupted > 0 else ()))

    def images(self, name: str) -> Images:
        """uint8 [n, h, w, 3]; the i-th is made of the i-th validation image."""
        images = self.validation.images
        if name == CLEAN:
            return images
        if name in self.augmentations:
            return augmented(images, self.augmentations[name], self.seed + 1)
        corruption, severity = name.rsplit(" ", 1)
        return corrupt(images[: self.corrupted], corruption, int(severity), seed=self.seed)


def _reserved(domain: str) -> bool:
    return domain.rsplit(" ", 1)[0] in RESERVE_CORRUPTIONS


@dataclass(frozen=True, eq=False)
class Trial:
    """One card's `accuracy` in [0, 1] by domain, `n` clean images."""

    card: Card
    accuracy: Mapping[str, float]
    n: int

    @property
    def score(self) -> float:
        """Half clean accuracy, half the mean over the augmentations and the validation corruptions."""
        others = [value for name, value in self.accuracy.items() if name != CLEAN and not _reserved(name)]
        return float(np.mean([self.accuracy[CLEAN], np.mean(others)])) if others else self.accuracy[CLEAN]

    @property
    def record(self) -> dict[str, Any]:
        """What a deck keeps: clean accuracy, the mean over the validation corruptions, accuracy clean and on each
        augmentation, and the score that orders the deck."""
        cells = [value for name, value in self.accuracy.items() if " " in name and not _reserved(name)]
        found: dict[str, Any] = {"n": self.n, "accuracy": round(self.accuracy[CLEAN], 6)}
        if cells:
            found["corrupted"] = round(float(np.mean(cells)), 6)
        found["domains"] = {name: round(value, 6) for name, value in self.accuracy.items() if " " not in name}
        return found | {"score": round(self.score, 6)}


def measure(cards: Sequence[Card], domains: Domains) -> tuple[tuple[Trial, ...], Observed]:
    """(each card's trial, what a gate is fitted on): every card answers every domain once, cards side by side."""
    size, labels = domains.validation.images.shape[1], domains.validation.labels
    runners = [load(card, EngineKind.AUTO, image_size=size, threads=1) for card in cards]
    spectra: list[NDArray[np.float16]] = []
    answers: list[Floats] = []
    right: dict[str, NDArray[np.float64]] = {}
    with ThreadPoolExecutor(cores()) as pool:  # engines leave Python to others while they compute
        for name in domains.names:
            parts = _parts(domains.images(name))
            cards_answers = pool.map(lambda run, parts=parts: np.concatenate([run(part) for part in parts]), runners)
            spectra.append(np.concatenate([log_amplitude(part).astype(np.float16) for part in parts]))
            answers.append(np.stack(list(cards_answers)))
            right[name] = (answers[-1].argmax(axis=2) == labels[: answers[-1].shape[1]]).mean(axis=1)
    counts = [len(part) for part in spectra]
    observed = Observed(
        spectra=np.concatenate(spectra),
        logits=np.concatenate(answers, axis=1),
        labels=np.concatenate([labels[:count] for count in counts]),
        cell=np.repeat(np.arange(len(counts)), counts),
        names=domains.names,
    )
    trials = [
        Trial(card, {name: float(found[place]) for name, found in right.items()}, len(labels))
        for place, card in enumerate(cards)
    ]
    return tuple(trials), observed


def _parts(images: Images) -> list[Images]:
    return [images[start : start + BATCH] for start in range(0, len(images), BATCH)]
