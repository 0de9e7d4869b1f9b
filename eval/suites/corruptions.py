"""CIFAR-10-C, CIFAR-100-C and CIFAR-10-C-bar: every corruption at severities 1 to 5 on the test split of a data set.

Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations", ICLR 2019;
C-bar: Mintun, Kirillov and Xie, "On Interaction Between Augmentations and Corruptions in Natural Corruption
Robustness", NeurIPS 2021. C-bar was chosen to look unlike the 15, so a gate tuned on noise shows its worth there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cards_deck.corruptions import CBAR_CORRUPTIONS, CORRUPTIONS, NOISE, SEVERITIES
from cards_deck.data import Dataset
from eval.cells import Cells, RegeneratedCells, balanced_subset, ranks_by_pixels
from eval.context import Context
from eval.measure import cell_job, clean_job
from eval.pairs import write_pairs
from eval.results import Measured, headline_results
from eval.samples import samples, write_samples
from eval.stored_cells import StoredCells
from eval.studies import study_results
from eval.suites._base import Json, register
from eval.summary import summarise

CBAR_NOISE = ("blue_noise_sample", "brownish_noise")


@dataclass(frozen=True)
class CorruptionSuite:
    """Corruptions at severities 1 to 5 of the test split of a data set.

    `data` is the data set it is named for; `folder` is where the public files of the benchmark lie under the data root;
    `noise` names the corruptions that the "noise" headline averages.
    """

    kind: ClassVar[str] = "corruptions"

    name: str
    title: str
    data: str
    folder: str
    corruptions: tuple[str, ...] = CORRUPTIONS
    noise: tuple[str, ...] = NOISE

    @property
    def cells(self) -> tuple[tuple[str, int], ...]:
        """All (corruption, severity) pairs, corruption by corruption."""
        return tuple((corruption, severity) for corruption in self.corruptions for severity in SEVERITIES)

    def title_for(self, data: str, source: str, seed: int) -> str:
        """What the numbers may be called: only official files on the suite's own data carry the plain name."""
        name = self.title if data == self.data else f"{self.title} corruptions on {data}"
        return name if source == "official" else f"{name} (regenerated, seed {seed})"

    def measure(self, context: Context) -> Json:
        """See `Suite`."""
        settings = context.settings
        test = context.dataset("test")
        cells = self.cells_of(context, test)
        routes = context.routes
        jobs = [clean_job(test), *(cell_job(cells, *cell) for cell in self.cells)]
        clean, *corrupted = context.measurer.map(
            lambda cell: summarise(cell, routes, context.deck),
            jobs,
            threads=settings.threads,
            progress=context.progress(sum(job.size for job in jobs), self.name),
        )
        measured = Measured(clean, corrupted)
        if settings.samples is not None:
            write_samples(samples(context.deck, test, cells, self.cells, measured), settings.samples)
        return {
            "title": self.title_for(settings.name, cells.source, cells.seed),
            "data": context.describe(test),
            "n": len(cells.labels),
            "n_clean": len(test),
            "source": cells.source,
            "frost": cells.frost if "frost" in self.corruptions else None,
            "best_card": context.best_card.as_dict(context.deck),
            **context.validation_facts(),
            **headline_results(context.deck, measured, routes, self, seed=settings.seed, resamples=settings.resamples),
            **study_results(context.deck, measured, routes, self, settings.name, threads=settings.threads),
            "pairs": None if settings.pairs is None else write_pairs(measured, self, settings.pairs),
            "timing": context.timing(test),
        }

    def cells_of(self, context: Context, test: Dataset) -> Cells:
        """Files in the public layout where they lie under the data root, else regenerated cells; subsets are alike."""
        settings = context.settings
        folder = settings.root / self.folder
        if settings.name == self.data and folder.is_dir():
            return StoredCells.open(folder, self.corruptions, test, subset=settings.subset, seed=settings.seed)
        chosen = balanced_subset(test.labels, ranks_by_pixels(test.images, settings.seed), settings.subset)
        return RegeneratedCells(test.subset(chosen), settings.seed)


register(CorruptionSuite("cifar10-c", "CIFAR-10-C", "cifar10", "CIFAR-10-C"))
register(CorruptionSuite("cifar100-c", "CIFAR-100-C", "cifar100", "CIFAR-100-C"))
register(CorruptionSuite("cifar10-c-bar", "CIFAR-10-C-bar", "cifar10", "CIFAR-10-C-bar", CBAR_CORRUPTIONS, CBAR_NOISE))
