"""Run every card of a deck once on every cell, through the cache, several cells at a time."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cards_deck.card import card_bytes
from cards_deck.errors import DeckError
from cards_deck.inference.gate import Routing, SpectralGate, UniformGate
from cards_deck.inference.predictor import Predictor
from cards_deck.spectrum import distances, log_amplitude
from eval.cache import Cache
from eval.cells import Cells, Images, Labels
from eval.progress import Progress
from eval.routes import Floats32, Outcome, outcome

Spectra = NDArray[np.float16]

BATCH = 250  # images transformed at once: bounds memory, changes no spectrum


@dataclass(frozen=True)
class Job:
    """One cell to measure: where its images come from, what is right, and its cache key."""

    name: str
    images: Callable[[], Images]
    labels: Labels
    key: Callable[[], str]


def cell_job(cells: Cells, corruption: str, severity: int, *, prefix: str = "") -> Job:
    """The job of one cell of `cells`."""
    return Job(
        f"{prefix}{corruption} {severity}",
        lambda: cells.images(corruption, severity),
        cells.labels,
        lambda: cells.key(corruption, severity),
    )


class Measurer:
    """The cards and the gate of one predictor, with their answers kept in a cache."""

    def __init__(self, predictor: Predictor, cache: Cache, engine: str) -> None:
        self.predictor = predictor
        self.cache = cache
        self.card_keys = [
            f"{card.id}-{hashlib.sha256(card_bytes(card)).hexdigest()[:12]}-{engine}" for card in predictor.deck.cards
        ]

    def run(self, jobs: Sequence[Job], *, threads: int, progress: Progress) -> list[Outcome]:
        """Outcomes in the order of `jobs`; a run that is killed leaves its finished cells in the cache."""
        pool = ThreadPoolExecutor(threads)
        try:
            futures = {pool.submit(self._cell, job): place for place, job in enumerate(jobs)}
            outcomes: dict[int, Outcome] = {}
            for future in as_completed(futures):
                job = jobs[futures[future]]
                outcomes[futures[future]], cached = future.result()
                progress.add(len(job.labels), job.name, cached=cached)
        finally:
            pool.shutdown(cancel_futures=True)
        return [outcomes[place] for place in range(len(jobs))]

    def _cell(self, job: Job) -> tuple[Outcome, bool]:
        """The outcome of one cell, and whether every card's answers came from the cache."""
        key, make = job.key(), functools.cache(job.images)
        spectra = self._spectra(job, key, make)
        pairs = [self._card_logits(job, f"{key}/{name}", make, card) for card, name in enumerate(self.card_keys)]
        logits = np.stack([values for values, _ in pairs])
        return outcome(logits, self._routing(spectra, make), job.labels), all(cached for _, cached in pairs)

    def _routing(self, spectra: Spectra, images: Callable[[], Images]) -> Routing:
        """The gate's routing, from the spectra where it reads nothing else, so that a new gate needs no images."""
        gate = self.predictor.gate
        if isinstance(gate, SpectralGate):
            return gate.route_distances(distances(spectra.astype(np.float32), gate.references.log_amplitude))
        if isinstance(gate, UniformGate):
            return gate.route(np.empty((len(spectra), 0, 0, 3), np.uint8))  # it reads the number of images only
        return gate.route(images())

    def _card_logits(self, job: Job, key: str, images: Callable[[], Images], card: int) -> tuple[Floats32, bool]:
        """Logits float32 [n, classes] of one card, and whether they came from the cache."""
        deck = self.predictor.deck
        stored = self.cache.load(key, (len(job.labels), len(deck.classes)))
        if stored is not None:
            return stored.astype(np.float32), True
        logits = self.predictor.card_logits(images(), card)
        if not np.isfinite(logits).all():
            name = deck.cards[card].name
            raise DeckError(f"card {name!r} must answer finite logits, got NaN or infinity on {job.name}")
        self.cache.save(key, logits)
        return logits, False

    def _spectra(self, job: Job, key: str, images: Callable[[], Images]) -> Spectra:
        """Log-amplitude spectra fp16 [n, h, h // 2 + 1]; rounded whether cached or not, so that both runs agree."""
        size = self.predictor.deck.image_size
        stored = self.cache.load(f"{key}/spectra", (len(job.labels), size, size // 2 + 1))
        if stored is not None:
            return stored.astype(np.float16)
        made = images()
        parts = [log_amplitude(made[i : i + BATCH]).astype(np.float16) for i in range(0, len(made), BATCH)]
        spectra = np.concatenate(parts)
        self.cache.save(f"{key}/spectra", spectra)
        return spectra
