"""Run every card of a deck once on every cell, through the cache, several cells at a time, and hand the cells on."""

from __future__ import annotations

import functools
import hashlib
import inspect
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
import scipy
from numpy.typing import NDArray

from cards_deck import spectrum
from cards_deck.card import card_bytes
from cards_deck.data import Dataset
from cards_deck.errors import DeckError, InputError
from cards_deck.inference import engines
from cards_deck.inference.engines import EngineKind, available
from cards_deck.inference.gates import Decision, Gate, Routing, decide
from cards_deck.inference.predictor import Predictor
from cards_deck.machine import package_versions
from cards_deck.spectrum import Floats, log_amplitude
from eval.cache import Cache
from eval.cells import Cells, Images, Labels, imported
from eval.progress import Progress

Spectra = NDArray[np.float16]
T = TypeVar("T")

PREFERRED = (EngineKind.ONNX, EngineKind.SPARSE, EngineKind.OPENVINO, EngineKind.TORCH)
LIBRARIES = ("numpy", "onnx", "onnxruntime", "openvino", "torch")
BATCH = 250  # images transformed at once: bounds memory, changes no spectrum


@dataclass(frozen=True)
class Job:
    """One cell to measure: where its images come from, what is right, and its cache key.

    `labels` None where nobody knows them (images from outside the deck's classes); `count` is then needed. Spectra are
    kept in the cache only where `keep_spectra`: of many frames of few images they would fill it.
    """

    name: str
    images: Callable[[], Images]
    labels: Labels | None
    key: Callable[[], str]
    count: int | None = None
    keep_spectra: bool = True

    @property
    def size(self) -> int:
        """Number of images."""
        if self.labels is not None:
            return len(self.labels)
        if self.count is None:
            raise InputError(f"the cell {self.name!r} has no labels: say with `count` how many images it has")
        return self.count


def cell_job(cells: Cells, corruption: str, severity: int, *, prefix: str = "") -> Job:
    """The job of one cell of `cells`."""
    return Job(
        f"{prefix}{corruption} {severity}",
        lambda: cells.images(corruption, severity),
        cells.labels,
        lambda: cells.key(corruption, severity),
    )


def clean_job(data: Dataset, name: str = "clean") -> Job:
    """The job of the images of `data` as they are."""
    return Job(name, lambda: data.images, data.labels, lambda: f"{data.sha256[:16]}/clean")


@dataclass(frozen=True, eq=False)
class CellAnswers:
    """What every card says to one cell. Rows of the images are as in the job; k cards, n images, c classes.

    `logits` float32 [k, n, c]; `decision` of the deck's gate on them; `labels` int64 [n] or None; `spectra()` float32
    [n, h, h // 2 + 1] of log amplitudes rounded to float16, as they are kept; `cached`: no card ran.
    """

    name: str
    logits: Floats
    decision: Decision
    labels: Labels | None
    spectra: Callable[[], Floats]
    cached: bool

    @property
    def routing(self) -> Routing:
        """What the gate said before any card had answered."""
        return self.decision.routing

    @property
    def distances(self) -> Floats:
        """float32 [n, a] to the deck's references."""
        return self.routing.distances


def looked_up(gate: Gate, spectra: Floats, logits: Floats) -> Decision:
    """What a gate does with images of these spectra [n, h, h // 2 + 1]: cards' logits [k, n, c] are looked up."""
    return decide(gate, spectra, lambda card, rows: logits[card, rows])


def labels_of(cell: CellAnswers) -> Labels:
    """The labels of a cell that must have some."""
    if cell.labels is None:
        raise InputError(f"the cell {cell.name!r} has no labels: nothing can be right or wrong in it")
    return cell.labels


class Measurer:
    """The cards and the gate of one predictor, with their answers kept in a cache."""

    def __init__(self, predictor: Predictor, cache: Cache) -> None:
        self.predictor = predictor
        self.cache = cache
        self.engines = tuple(map(str, predictor.engines))
        self.card_keys = [
            f"{card.id}-{hashlib.sha256(card_bytes(card)).hexdigest()[:12]}-{name}-{engine_fingerprint(name)}"
            for card, name in zip(predictor.deck.cards, self.engines, strict=True)
        ]
        self._spectra_key = f"spectra-{spectrum_fingerprint()}"

    def run(self, jobs: Sequence[Job], *, threads: int, progress: Progress) -> Iterator[CellAnswers]:
        """Answers in the order of `jobs`, `threads` cells at a time and no more than twice as many in memory.

        A run that is killed, or not iterated to its end, leaves its finished cells in the cache.
        """
        return self.map(lambda cell: cell, jobs, threads=threads, progress=progress)

    def map(
        self, function: Callable[[CellAnswers], T], jobs: Sequence[Job], *, threads: int, progress: Progress
    ) -> Iterator[T]:
        """As `run`, but `function` of each cell's answers, worked out on the same threads."""

        def measured(job: Job) -> T:
            answers = self._cell(job)
            found = function(answers)
            progress.add(job.size, job.name, cached=answers.cached)
            return found

        pool = ThreadPoolExecutor(threads)
        waiting: deque[Future[T]] = deque()
        rest = iter(jobs)
        try:
            while True:
                waiting.extend(pool.submit(measured, job) for job in islice(rest, 2 * threads - len(waiting)))
                if not waiting:
                    return
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)

    def _cell(self, job: Job) -> CellAnswers:
        key, make = job.key(), functools.cache(job.images)
        rounded = self._spectra(job, key, make)
        pairs = [self._card_logits(job, f"{key}/{name}", make, card) for card, name in enumerate(self.card_keys)]
        logits = np.stack([values for values, _ in pairs])
        return CellAnswers(
            name=job.name,
            logits=logits,
            decision=looked_up(self.predictor.gate, rounded.astype(np.float32), logits),
            labels=job.labels,
            spectra=lambda: rounded.astype(np.float32),
            cached=all(cached for _, cached in pairs),
        )

    def _card_logits(self, job: Job, key: str, images: Callable[[], Images], card: int) -> tuple[Floats, bool]:
        """Logits float32 [n, classes] of one card, and whether they came from the cache."""
        deck = self.predictor.deck
        stored = self.cache.load(key, (job.size, len(deck.classes)))
        if stored is not None:
            return stored.astype(np.float32, copy=False), True
        logits = self.predictor.card_logits(images(), card)
        if not np.isfinite(logits).all():
            name = deck.cards[card].name
            raise DeckError(f"card {name!r} must answer finite logits, got NaN or infinity on {job.name}")
        self.cache.save(key, logits)
        return logits, False

    def _spectra(self, job: Job, key: str, images: Callable[[], Images]) -> Spectra:
        """Log-amplitude spectra fp16 [n, h, h // 2 + 1]; rounded whether cached or not, so that both runs agree."""
        size = self.predictor.deck.image_size
        name = f"{key}/{self._spectra_key}"
        stored = self.cache.load(name, (job.size, size, size // 2 + 1))
        if stored is not None:
            return stored.astype(np.float16, copy=False)
        made = images()
        parts = [log_amplitude(made[i : i + BATCH]).astype(np.float16) for i in range(0, len(made), BATCH)]
        spectra = np.concatenate(parts)
        if job.keep_spectra:
            self.cache.save(name, spectra)
        return spectra


def resolved(engine: EngineKind) -> EngineKind:
    """The engine that AUTO stands for in an evaluation: the first of a fixed order that is there.

    The fastest one may differ between two runs, and engines agree to rounding only.
    """
    if engine is not EngineKind.AUTO:
        return engine
    return next((kind for kind in PREFERRED if available(kind)), EngineKind.ONNX)


@functools.cache
def engine_fingerprint(name: str) -> str:
    """Eight hex digits over the code of an engine, the modules beside it that it imports, and its libraries."""
    folder = Path(engines.__file__).parent
    digest = hashlib.sha256(repr(sorted(package_versions(LIBRARIES).items())).encode())
    for path in sorted({*imported(folder / f"{name}.py", "engines"), *folder.glob(f"_{name}/*.[chp]*")}):
        if path.suffix in (".py", ".c", ".h"):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:8]


@functools.cache
def spectrum_fingerprint() -> str:
    """Eight hex digits over the code of the log amplitude and the library that transforms."""
    digest = hashlib.sha256(f"{np.__version__} {scipy.__version__} {float(spectrum.FLOOR)!r}".encode())
    for function in (spectrum.log_amplitude, spectrum._log_amplitude):
        digest.update(inspect.getsource(function).encode())
    return digest.hexdigest()[:8]
