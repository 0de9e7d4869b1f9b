"""CIFAR-10-P: does the answer change from one frame of a sequence to the next, and does the gate change its mind?

Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations", ICLR 2019,
section 3. The mean flip probability over the ten perturbations is compared as it is: the published flip rate divides by
AlexNet's on ImageNet, which has no counterpart here. Lower is steadier. A route that always gives one answer never
flips, so accuracy over the frames stands beside it.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from cards_deck.corruptions.sequences import PERTURBATIONS, frames_of
from cards_deck.data import Dataset
from eval.cells import balanced_subset, ranks_by_index, ranks_by_pixels
from eval.context import Context
from eval.measure import Job
from eval.routing import BestCard, Gated, Route, Uniform
from eval.suites._base import Json, register
from eval.suites._sequence_results import block_of, joined, sequence_results
from eval.suites._sequence_sources import RegeneratedSequences, Sequences, StoredSequences

IMAGES = 1000  # sequences measured unless a subset is asked for: each has 16 to 31 frames
BLOCK = 100  # sequences measured at once: bounds memory, changes no number


@dataclass(frozen=True)
class SequenceSuite:
    """Perturbation sequences of the test split of a data set.

    `data` is the data set it is named for; `folder` is where the public files of the benchmark lie under the data root.
    """

    kind: ClassVar[str] = "sequences"

    name: str
    title: str
    data: str
    folder: str
    perturbations: tuple[str, ...] = PERTURBATIONS

    def measure(self, context: Context) -> Json:
        """See `Suite`."""
        settings = context.settings
        test = context.dataset("test")
        found = self.sequences_of(context, test)
        choice = context.best_card
        uniform = Uniform(context.deck.originals)
        routes: dict[str, Route] = {"gated": Gated(), "uniform": uniform, "best_card": BestCard(choice.place)}
        jobs = {
            name: [_job(found, name, start) for start in range(0, len(found), BLOCK)] for name in self.perturbations
        }
        progress = context.progress(sum(job.size for some in jobs.values() for job in some), self.name)
        measured = {}
        for name, some in jobs.items():
            block = functools.partial(block_of, name, routes=routes)
            measured[name] = joined(
                list(context.measurer.map(block, some, threads=settings.threads, progress=progress))
            )
        return {
            "title": self.title_for(settings.name, found.source, settings.seed),
            "data": context.describe(test),
            "n": len(found),
            "source": found.source,
            "best_card": choice.as_dict(context.deck),
            **sequence_results(measured, seed=settings.seed, resamples=settings.resamples),
        }

    def title_for(self, data: str, source: str, seed: int) -> str:
        """What the numbers may be called: only official files on the suite's own data carry the plain name."""
        name = self.title if data == self.data else f"{self.title} perturbations on {data}"
        return name if source == "official" else f"{name} (regenerated, seed {seed})"

    def sequences_of(self, context: Context, test: Dataset) -> Sequences:
        """The public files where they lie under the data root, else regenerated sequences of the same images."""
        settings = context.settings
        size = IMAGES if settings.subset is None else settings.subset
        chosen = balanced_subset(test.labels, ranks_by_pixels(test.images, settings.seed), size)
        folder = settings.root / self.folder
        if settings.name != self.data or not folder.is_dir():
            return RegeneratedSequences(test.subset(chosen), settings.seed)
        stored = StoredSequences.open(folder, self.perturbations, context.deck.image_size)
        if len(stored) != len(test):
            chosen = np.sort(np.argsort(ranks_by_index(len(stored), settings.seed))[:size])
        return stored.subset(chosen, test)


def _job(found: Sequences, name: str, start: int) -> Job:
    stop, frames = min(start + BLOCK, len(found)), frames_of(name)
    return Job(
        f"{name} {start}",
        lambda: found.frames(name, start, stop),
        None if found.labels is None else np.repeat(found.labels[start:stop], frames),
        lambda: found.key(name, start, stop),
        (stop - start) * frames,
        keep_spectra=False,
    )


register(SequenceSuite("cifar10-p", "CIFAR-10-P", "cifar10", "CIFAR-10-P"))
