"""One evaluation from settings to the JSON of its report."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cards_deck import corruptions, data
from cards_deck.data import Dataset
from cards_deck.deck import Deck, size_on_disk
from cards_deck.errors import DataError, InputError
from cards_deck.inference.engines import EngineKind, available
from cards_deck.inference.predictor import Predictor
from eval.cache import Cache
from eval.cells import Cells, OfficialCells, RegeneratedCells, balanced_subset, generator_fingerprint, ranks_by_pixels
from eval.measure import Job, Measurer, cell_job
from eval.progress import Progress
from eval.provenance import provenance
from eval.results import results
from eval.suites import Suite
from eval.validation import Choice, first_in_deck, measured_choice, recorded_choice, validation_images

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Settings:
    """What to measure and how; nothing here but `cache` and `threads` may change without changing the numbers."""

    suite: Suite
    root: Path
    name: str
    subset: int | None = None
    seed: int = 0
    validation: int = 1000
    resamples: int = 10_000
    cache: Path | None = None
    threads: int = 1
    engine: EngineKind = EngineKind.AUTO

    def __post_init__(self) -> None:
        if self.threads < 1:
            raise InputError(f"threads must be at least 1, got {self.threads}")
        if not 0 <= self.seed < 2**63:
            raise InputError(f"seed must be from 0 to 2**63 - 1, got {self.seed}")
        if self.resamples < 2:
            raise InputError(f"resamples must be at least 2, got {self.resamples}")
        if self.validation < 1:
            raise InputError(f"validation must be at least 1 image, got {self.validation}")


def load_split(settings: Settings, deck: Deck, split: str) -> Dataset:
    """A split of the data set, checked against what the deck answers."""
    loaded = data.load(settings.root, name=settings.name, split=split, image_size=deck.image_size)
    if loaded.classes != deck.classes:
        raise DataError(
            f"the {split} split of {settings.name} under {settings.root} must have the deck's classes in the deck's "
            f"order {list(deck.classes)}, got {list(loaded.classes)}"
        )
    return loaded


def cells_of(settings: Settings, test: Dataset) -> Cells:
    """The official cells where they lie under the data root, else regenerated ones; both on the same kind of subset."""
    folder = settings.root / settings.suite.folder
    if settings.name == settings.suite.data and folder.is_dir():
        return OfficialCells.open(
            folder, settings.suite, classes=len(test.classes), subset=settings.subset, seed=settings.seed
        )
    chosen = balanced_subset(test.labels, ranks_by_pixels(test.images, settings.seed), settings.subset)
    return RegeneratedCells(test.subset(chosen), settings.seed, generator_fingerprint())


def best_card(deck: Deck, settings: Settings, measurer: Measurer) -> Choice:
    """The single card to compare with: from the deck's record, else measured on validation images, else the first."""
    recorded = recorded_choice(deck)
    if recorded is not None:
        return recorded
    try:
        train = load_split(settings, deck, "train")
    except DataError as error:
        print(f"no validation images ({error}): the best single card is the deck's first", file=sys.stderr)
        return first_in_deck()
    images = validation_images(train, settings.validation, settings.seed)
    return measured_choice(measurer, images, seed=settings.seed, threads=settings.threads)


def evaluate(deck: Deck, settings: Settings, *, command: list[str] | None = None) -> dict[str, Any]:
    """Measure `deck` and return the report's JSON; errors in the data are raised before the long part starts."""
    test = load_split(settings, deck, "test")
    cells = cells_of(settings, test)
    engine = resolved(settings.engine)
    measurer = Measurer(Predictor(deck, engine=engine), Cache(settings.cache), engine)
    choice = best_card(deck, settings, measurer)
    jobs = [Job("clean", lambda: test.images, test.labels, lambda: f"{test.sha256[:16]}/clean")]
    jobs += [cell_job(cells, corruption, severity) for corruption, severity in settings.suite.cells]
    progress = Progress(sum(len(job.labels) for job in jobs), settings.suite.name)
    clean, *corrupted = measurer.run(jobs, threads=settings.threads, progress=progress)
    measured = results(
        deck,
        clean,
        corrupted,
        settings.suite,
        best_card=choice.place,
        seed=settings.seed,
        resamples=settings.resamples,
    )
    return (
        _identity(deck, settings, test, cells)
        | {"best_card": choice.as_dict(deck)}
        | measured
        | {"provenance": provenance(command)}
    )


def resolved(engine: EngineKind) -> EngineKind:
    """The engine that AUTO stands for on this machine."""
    if engine is not EngineKind.AUTO:
        return engine
    return EngineKind.ONNX if available(EngineKind.ONNX) else EngineKind.TORCH


def _identity(deck: Deck, settings: Settings, test: Dataset, cells: Cells) -> dict[str, Any]:
    """Which deck was measured on what."""
    return {
        "schema_version": SCHEMA_VERSION,
        "deck": deck.name,
        "deck_version": deck.version,
        "deck_size_bytes": size_on_disk(deck.folder) if deck.folder is not None else None,
        "suite": settings.suite.name,
        "title": settings.suite.title_for(settings.name, cells.source, settings.seed),
        "data": {
            "name": settings.name,
            "split": "test",
            "classes": len(test.classes),
            "image_size": deck.image_size,
            "sha256": test.sha256,
        },
        "n": len(cells.labels),
        "n_clean": len(test),
        "seed": settings.seed,
        "source": cells.source,
        "frost": corruptions.frost_source() if cells.source == "regenerated" else "official",
        "engine": str(resolved(settings.engine)),
        "bootstrap": {"resamples": settings.resamples, "level": 0.95, "unit": "image", "seed": settings.seed},
    }
