"""Wrong labels on purpose: symmetric label noise, for studies such as sparse double descent (He et al., ICML 2022)."""

from __future__ import annotations

import numpy as np

from cards_deck.data.dataset import Dataset
from cards_deck.errors import InputError


def with_label_noise(dataset: Dataset, share: float, seed: int = 0) -> Dataset:
    """`dataset` with `share` of its labels replaced by another class, each other class as likely; the images stay.

    A label is never replaced by itself, as with the transition matrix of that paper; other code draws from all classes,
    which gives one in ten of CIFAR-10's labels back. Exactly round(share * n) labels change, and what a larger share
    changes contains, wrong label for wrong label, what a smaller one does with the same seed. Only training images are
    meant to get it: split validation images off first, and they stay clean.

    Its name gets `-noise<share>` behind it, and with its labels its checksum changes.
    """
    if not 0 <= share <= 1:
        raise InputError(f"the share of noisy labels must lie in [0, 1], got {share}")
    classes = len(dataset.classes)
    if classes < 2:
        raise InputError(f"a noisy label needs another class to go to: the data has {classes}")
    rng = np.random.default_rng(seed)
    order, steps = rng.permutation(len(dataset)), rng.integers(1, classes, len(dataset))
    rows = order[: round(share * len(dataset))]
    labels = dataset.labels.copy()
    labels[rows] = (labels[rows] + steps[rows]) % classes
    return Dataset(dataset.images, labels, dataset.classes, f"{dataset.name}-noise{share:g}", dataset.split)
