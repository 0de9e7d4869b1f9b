"""What a stream is made of, and the orders in which it comes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cards_deck.data import Dataset
from cards_deck.spectrum import Images
from eval.cells import Cells, Labels, balanced_subset, ranks_by_pixels

SEVERITY = 5
STREAM = 66  # images of each corruption in a stream: 990 in all
DIRICHLET = 0.1  # RoTTA's concentration: the smaller, the longer the runs of one label

Order = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Sample:
    """What streams are made of: `images` uint8 [s, h, h, 3], `labels` [s], `domains` [s] the corruption's place,
    `sources` [s] which clean image each one was made from."""

    images: Images
    labels: Labels
    domains: NDArray[np.intp]
    sources: NDArray[np.intp]


def clean_sample(test: Dataset, size: int, seed: int) -> Sample:
    """`size` class-balanced images as they are (all, of fewer)."""
    part = test.subset(balanced_subset(test.labels, ranks_by_pixels(test.images, seed), size))
    return Sample(part.images, part.labels, np.zeros(len(part), np.intp), np.arange(len(part)))


def stream_sample(cells: Cells, corruptions: tuple[str, ...], seed: int) -> Sample:
    """`STREAM` images of each corruption (all, of fewer), other ones for each corruption as far as there are enough."""
    count = len(cells.labels)
    size = min(STREAM, count)
    shuffled = np.random.default_rng([seed, 1]).permutation(count)
    images, sources = [], []
    for place, name in enumerate(corruptions):
        chosen = shuffled[np.arange(place * size, (place + 1) * size) % count]
        images.append(cells.images(name, SEVERITY)[chosen])
        sources.append(chosen)
    source = np.concatenate(sources)
    domains = np.repeat(np.arange(len(corruptions)), size)
    return Sample(np.concatenate(images), cells.labels[source], domains, source)


def stream_orders(sample: Sample, seed: int) -> dict[str, Order]:
    """Order -> places [s] of the sample, each once."""
    generator = np.random.default_rng([seed, 2])
    mixed = generator.permutation(len(sample.labels))
    continual = mixed[np.argsort(sample.domains[mixed], kind="stable")]
    runs = [
        members[correlated_order(sample.labels[members], generator)]
        for members in np.split(continual, np.flatnonzero(np.diff(sample.domains[continual])) + 1)
    ]
    return {"continual": continual, "mixed": mixed, "correlated": np.concatenate(runs)}


def correlated_order(labels: Labels, generator: np.random.Generator, concentration: float = DIRICHLET) -> Order:
    """Places [n] of `labels` [n] in an order with runs of one label (Yuan et al., CVPR 2023, section 4.1).

    Every label's images are dealt to as many slots as there are labels, in shares drawn from a Dirichlet distribution;
    the slots follow one another, and within a slot each label's images stay together.
    """
    classes = np.unique(labels)
    slots: list[list[Order]] = [[] for _ in classes]
    for label in classes:
        members = generator.permutation(np.flatnonzero(labels == label))
        shares = generator.dirichlet(np.full(len(slots), concentration))
        ends = np.rint(np.cumsum(shares)[:-1] * len(members)).astype(np.intp)
        for slot, part in zip(slots, np.split(members, ends), strict=True):
            slot.append(part)
    return np.concatenate([slot[place] for slot in slots for place in generator.permutation(len(slot))])
