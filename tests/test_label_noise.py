"""Symmetric label noise: how many labels change, to what, and that a seed says which."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cards_deck.data import Dataset, with_label_noise
from cards_deck.errors import InputError


def labelled(n: int, classes: int = 10) -> Dataset:
    labels = np.arange(n, dtype=np.int64) % classes
    names = tuple(f"class {index}" for index in range(classes))
    return Dataset(np.zeros((n, 2, 2, 3), np.uint8), labels, names, "numbers", "train")


@given(n=st.integers(0, 60), classes=st.integers(2, 7), share=st.floats(0, 1), seed=st.integers(0, 2**32))
def test_exactly_the_share_changes_and_never_to_itself(n: int, classes: int, share: float, seed: int) -> None:
    clean = labelled(n, classes)
    noisy = with_label_noise(clean, share, seed)
    assert int((noisy.labels != clean.labels).sum()) == round(share * n)
    assert noisy.labels.dtype == np.int64
    assert not n or 0 <= noisy.labels.min() <= noisy.labels.max() < classes
    assert np.array_equal(clean.labels, np.arange(n) % classes), "the given data stays as it is"


def test_all_other_classes_are_as_likely() -> None:
    """45,000 of 50,000 labels: each of the 90 pairs (true, noisy) is expected 500 times."""
    clean = labelled(50_000)
    noisy = with_label_noise(clean, 0.9, seed=3)
    counts = np.zeros((10, 10), int)
    np.add.at(counts, (clean.labels, noisy.labels), 1)
    pairs = counts[~np.eye(10, dtype=bool)]
    chi_squared = float(((pairs - 500) ** 2 / 500).sum())
    assert 40 < chi_squared < 150, "about 81 degrees of freedom"
    assert abs(int(np.diag(counts).sum()) - 5000) == 0


def test_the_seed_says_which() -> None:
    clean = labelled(200)
    one, again, other = (with_label_noise(clean, 0.4, seed) for seed in (1, 1, 2))
    assert np.array_equal(one.labels, again.labels)
    assert one.sha256 == again.sha256 != clean.sha256
    assert not np.array_equal(one.labels, other.labels)


def test_more_noise_contains_less() -> None:
    clean = labelled(200)
    less, more = with_label_noise(clean, 0.2), with_label_noise(clean, 0.5)
    changed = less.labels != clean.labels
    assert np.array_equal(less.labels[changed], more.labels[changed])


def test_the_name_says_it() -> None:
    noisy = with_label_noise(labelled(10), 0.2)
    assert (noisy.name, noisy.split, noisy.classes) == ("numbers-noise0.2", "train", labelled(10).classes)


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_impossible_shares_are_refused(share: float) -> None:
    with pytest.raises(InputError, match="share of noisy labels"):
        with_label_noise(labelled(10), share)


def test_one_class_is_refused() -> None:
    with pytest.raises(InputError, match="another class"):
        with_label_noise(labelled(10, 1), 0.2)
