"""Training and validation, decided by what each image is rather than by where it stands."""

from __future__ import annotations

import numpy as np

from cards_deck.data.dataset import Dataset, image_digests
from cards_deck.errors import DataError, InputError


def split_train_validation(
    dataset: Dataset, validation: int | None = None, *, fraction: float = 0.1
) -> tuple[Dataset, Dataset]:
    """(training part, validation part), disjoint; together they are `dataset`.

    The images whose pixels have the smallest SHA-256 are the validation part: `validation` of them, by default the
    `fraction` of the data set (5,000 of CIFAR-10's 50,000). So the parts depend neither on the order of the images nor
    on their layout on disk. Both parts come in the order of the digests (then of the labels), which makes the arrays
    themselves, and a training run on them, the same for every layout.

    Identical images land on the same side. Where the boundary falls inside a group of m identical images, the whole
    group is validation, which then holds up to m - 1 images more than asked; without duplicates the sizes are exact.

    Raises InputError for an impossible size, DataError where duplicates leave nothing to train on.
    """
    count = _count(len(dataset), validation, fraction)
    digests = image_digests(dataset.images)
    labels = dataset.labels.tolist()
    order = sorted(range(len(digests)), key=lambda i: (digests[i], labels[i]))
    while count < len(order) and digests[order[count]] == digests[order[count - 1]]:
        count += 1
    if count == len(order):
        raise DataError(
            f"data set {dataset.name!r} ({dataset.split}): too many of its {len(order)} images are identical to leave "
            "both training and validation images; remove the duplicates"
        )
    rows = np.array(order, dtype=np.int64)
    return dataset.subset(rows[count:], "train"), dataset.subset(rows[:count], "validation")


def _count(total: int, validation: int | None, fraction: float) -> int:
    if validation is None and not 0 < fraction < 1:
        raise InputError(f"the validation fraction must lie between 0 and 1, not {fraction}")
    count = max(1, round(fraction * total)) if validation is None else validation
    if not 0 < count < total:
        raise InputError(
            f"the validation part must hold at least 1 and fewer than all {total} images, not {count}; "
            "choose another size"
        )
    return count
