"""What a suite measures with: the deck, its answers through the cache, the data, and what validation data chose."""

from __future__ import annotations

import functools
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cards_deck import data
from cards_deck.data import Dataset
from cards_deck.deck import Deck
from cards_deck.errors import DataError, InputError
from cards_deck.inference.engines import EngineKind
from cards_deck.inference.predictor import Predictor
from eval.cache import Cache
from eval.measure import Measurer, resolved
from eval.progress import Progress
from eval.routes import Routes, fit_routes
from eval.timing import timing
from eval.validation import Choice, Validation, first_in_deck, measure_validation, recorded_choice, validation_images

if TYPE_CHECKING:
    from eval.suites._base import Suite


@dataclass(frozen=True)
class Settings:
    """What to measure and how. No number depends on `cache`, `threads`, `timing`, `samples` and `pairs`.

    `name` is the data set under `root`; `validation` the number of validation images that fit temperatures and
    gates; `samples` is where sample images go, None for none, and `pairs` where answers to single images go, which
    decks are compared by; `ood` names folders or arrays of images of no class.
    """

    suite: Suite
    root: Path
    name: str
    subset: int | None = None
    seed: int = 0
    validation: int = 500
    resamples: int = 10_000
    cache: Path | None = None
    threads: int = 1
    engine: EngineKind = EngineKind.AUTO
    timing: bool = True
    samples: Path | None = None
    pairs: Path | None = None
    ood: tuple[tuple[str, Path], ...] = ()

    def __post_init__(self) -> None:
        if self.threads < 1:
            raise InputError(f"threads must be at least 1, got {self.threads}")
        if not 0 <= self.seed < 2**63:
            raise InputError(f"seed must be from 0 to 2**63 - 1, got {self.seed}")
        if self.resamples < 2:
            raise InputError(f"resamples must be at least 2, got {self.resamples}")
        if self.validation < 2:
            raise InputError(f"validation must be at least 2 images, got {self.validation}")


class Context:
    """Handed to `Suite.measure`. What costs time is made when it is first asked for, and kept.

    `engine` runs the cards; None is what the settings' engine stands for in an evaluation, the same for all cards.
    """

    def __init__(self, deck: Deck, settings: Settings, *, engine: EngineKind | None = None) -> None:
        self.deck = deck
        self.settings = settings
        self.engine = resolved(settings.engine) if engine is None else engine
        self.validation_reason: str | None = None  # why `validation` is None

    @functools.cached_property
    def predictor(self) -> Predictor:
        """The served path: deck, gate and engines."""
        return Predictor(self.deck, engine=self.engine)

    @functools.cached_property
    def measurer(self) -> Measurer:
        """Every card's answers, spectra and distances of a cell, through the cache."""
        cache = Cache(self.settings.cache)
        cache.check()
        return Measurer(self.predictor, cache)

    def progress(self, total: int, label: str) -> Progress:
        """A progress line on stderr over `total` images."""
        return Progress(total, label)

    def dataset(self, split: str = "test", *, name: str | None = None) -> Dataset:
        """A split of the data set `name` (None: the one that the settings name), checked against the deck's classes."""
        return load_split(self.settings, self.deck, split, name=name)

    def describe(self, dataset: Dataset, *, name: str | None = None) -> dict[str, Any]:
        """The "data" field of the JSON."""
        return {
            "name": name or self.settings.name,
            "split": dataset.split,
            "classes": len(dataset.classes),
            "image_size": self.deck.image_size,
            "sha256": dataset.sha256,
        }

    @functools.cached_property
    def validation(self) -> Validation | None:
        """Held-out training images, clean and under corruptions of no suite, measured on every card; None where
        there is no training split, with `validation_reason` and a line on stderr."""
        try:
            train = self.dataset("train")
        except DataError as error:
            self.validation_reason = f"no training split: {error}".replace(str(self.settings.root), "DATA")
            print(f"no validation images ({error}): temperatures stay 1, no gate is fitted", file=sys.stderr)
            return None
        settings = self.settings
        images = validation_images(train, settings.validation, settings.seed)
        return measure_validation(self.measurer, images, seed=settings.seed, threads=settings.threads)

    @functools.cached_property
    def best_card(self) -> Choice:
        """The single card to compare with: from the deck's record, else measured on validation, else the first."""
        recorded = recorded_choice(self.deck)
        if recorded is not None:
            return recorded
        return first_in_deck() if self.validation is None else self.validation.choice(self.deck)

    @functools.cached_property
    def routes(self) -> Routes:
        """Every route of this deck, fitted on the validation images."""
        seed, threads = self.settings.seed, self.settings.threads
        return fit_routes(self.deck, self.best_card.place, self.validation, seed=seed, threads=threads)

    def validation_facts(self) -> dict[str, Any]:
        """The "validation" field of the JSON, and where it is null the reason."""
        if self.validation is None:
            return {"validation": None, "validation_reason": self.validation_reason}
        return {"validation": self.validation.as_dict() | self.routes.as_dict(self.deck)}

    def timing(self, images: Dataset) -> dict[str, Any] | None:
        """The "timing" field of the JSON: milliseconds per batch on this machine; None where they are not asked for."""
        if not self.settings.timing:
            return None
        place, engines = self.best_card.place, self.measurer.engines
        return timing(self.predictor, images.images, best_card=place, engines=engines)


def load_split(settings: Settings, deck: Deck, split: str, *, name: str | None = None) -> Dataset:
    """A split of a data set, checked against what the deck answers."""
    name = name or settings.name
    loaded = data.load(settings.root, name=name, split=split, image_size=deck.image_size)
    if loaded.classes != deck.classes:
        raise DataError(
            f"the {split} split of {name} under {settings.root} must have the deck's classes in the deck's order, "
            f"{_few(deck.classes)}, got {_few(loaded.classes)}: name another data set with --name, or another deck"
        )
    return loaded


def _few(classes: tuple[str, ...]) -> str:
    """Their names where they are few, else how many and how they begin."""
    return ", ".join(classes) if len(classes) <= 10 else f"{len(classes)} ({', '.join(classes[:5])}, ...)"
