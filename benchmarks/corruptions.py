"""Milliseconds per corrupted image: ours on a batch, the published algorithms on one image at a time; one thread each.

Both make all five severities of a corruption in turns. The published ones (benchmarks/published.py) get a sample of the
images, because they are slow. `ratios.overall` weighs the 75 cells of the benchmark alike, as whoever makes them all
would: all published time / all of ours. With --full, the 75 cells are also written in the public layout by two
processes, into a folder that is removed afterwards.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from benchmarks.harness import Row, ratio, row, save, time_in_turns
from benchmarks.published import Published, published
from cards_deck import data
from cards_deck.corruptions import CORRUPTIONS, SEVERITIES, VALIDATION_CORRUPTIONS, corrupt
from cards_deck.corruptions._base import Images
from cards_deck.inference.fake_deck import fake_images
from eval.layout import write_layout
from eval.progress import Progress

PROCESSES = 2


def load(root: Path | None) -> Images:
    """The 10,000 CIFAR-10 test images, or as many generated ones where no data root is given."""
    return fake_images(10_000) if root is None else data.load(root, name="cifar10", split="test").images


def ours(images: Images, name: str) -> None:
    """All severities of a corruption."""
    for severity in SEVERITIES:
        corrupt(images, name, severity)


def theirs(images: Images, algorithm: Published, generator: np.random.Generator) -> None:
    """All severities by a published algorithm."""
    for severity in SEVERITIES:
        for image in images:
            algorithm(image, severity, generator)


def measure(images: Images, sample: int, repeats: int) -> dict[str, tuple[list[float], list[float]]]:
    """Name -> ms per image in each round, ours and published."""
    found = {}
    for name in (*CORRUPTIONS, *VALIDATION_CORRUPTIONS):
        candidates: dict[str, Callable[[], object]] = {
            "ours": partial(ours, images, name),
            "published": partial(theirs, images[:sample], published(name), np.random.default_rng(0)),
        }
        seconds = time_in_turns(candidates, repeats=repeats)
        per_image = [
            [1000 * s / (count * len(SEVERITIES)) for s in seconds[which]]
            for which, count in (("ours", len(images)), ("published", sample))
        ]
        found[name] = (per_image[0], per_image[1])
    return found


def rows_and_ratios(
    found: dict[str, tuple[list[float], list[float]]], batch: int, sample: int
) -> tuple[list[Row], dict[str, float]]:
    """One row per corruption and side, then the means over the 15, and published / ours."""
    rows, ratios = [], {}
    for name, (mine, other) in found.items():
        rows += [row(f"{name}, {batch} at once", "ms/image", mine), row(f"{name}, published", "ms/image", other)]
        ratios[name] = ratio(other, mine)
    means = [[statistics.mean(r) for r in zip(*(found[name][k] for name in CORRUPTIONS), strict=True)] for k in (0, 1)]
    rows.append(row(f"75 cells, {batch} at once", "ms/image", means[0]))
    rows.append(row(f"75 cells, published, {sample} images a cell", "ms/image", means[1]))
    return rows, {"overall": ratio(means[1], means[0]), **ratios}


def full(images: Images, scratch: Path | None) -> list[Row]:
    """Seconds to write all 75 cells, and a bound on the memory of all processes together."""
    cells = len(CORRUPTIONS) * len(SEVERITIES)
    progress = Progress(cells * len(images), "writing").add
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        labels, start = np.zeros(len(images), np.int64), time.perf_counter()
        write_layout(images, labels, Path(folder), CORRUPTIONS, seed=0, processes=PROCESSES, progress=progress)
        seconds = time.perf_counter() - start
    parent, child = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    memory = (parent + PROCESSES * child) / 1024
    name = f"{cells} cells x {len(images)} images written, {PROCESSES} processes"
    return [
        Row(name, "s", seconds, seconds, seconds, 1),
        Row(f"{name}, peak memory of all at most", "MiB", memory, memory, memory, 1),
    ]


def main() -> None:
    """Measure, print and save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="data root with CIFAR-10 (default: generated images)")
    parser.add_argument("--batch", type=int, default=512, help="images that ours gets at once (default 512)")
    parser.add_argument("--sample", type=int, default=64, help="images that the published get (default 64)")
    parser.add_argument("--repeats", type=int, default=5, help="rounds (default 5)")
    parser.add_argument("--full", action="store_true", help="also write all 75 cells of all images")
    parser.add_argument("--scratch", type=Path, help="where --full writes, 2.3 GB (default: the temporary folder)")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    images = load(options.data)
    written = full(images, options.scratch) if options.full else []
    found = measure(images[: options.batch], options.sample, options.repeats)
    rows, ratios = rows_and_ratios(found, options.batch, options.sample)
    save("corruptions", [*rows, *written], ratios, packages=("opencv-python-headless", "scikit-image"))


if __name__ == "__main__":
    main()
