"""How strange an image is: the Mahalanobis distance of its ring means, against scipy, and what is made of it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import scipy.optimize
import scipy.spatial.distance
from gate_rows import SKILL, known, observed

from cards_deck.inference.gates import Observed
from cards_deck.inference.gates._likelihood import PENALTY, profiles
from cards_deck.inference.gates._profile import normalised, ring_means
from cards_deck.inference.gates._strange import SMALLEST, fit_ordinary, fit_shares, strangeness
from cards_deck.inference.pooling import softmax

ROWS = observed(seed=1)


def test_it_is_the_mahalanobis_distance_to_clean_images_whose_rings_are_taken_to_vary_by_themselves_too() -> None:
    ordinary, whitening = fit_ordinary(ROWS)
    rings = profiles(ROWS).astype(np.float64)
    clean = rings[ROWS.cell == 0]
    count, more = clean.shape
    spread = np.cov(clean.T, bias=True)
    spread = (count * spread + more * np.diag(np.diag(spread) + SMALLEST)) / (count + more)
    inverse = np.linalg.inv(spread)
    wanted = [scipy.spatial.distance.mahalanobis(row, clean.mean(axis=0), inverse) for row in rings]
    np.testing.assert_allclose(strangeness(rings.astype(np.float32), ordinary, whitening), wanted, rtol=1e-3)
    np.testing.assert_allclose(ordinary, clean.mean(axis=0), rtol=1e-5)


def test_shifted_images_are_stranger_than_clean_ones_also_of_a_shift_that_was_not_fitted() -> None:
    ordinary, whitening = fit_ordinary(ROWS.rows(ROWS.cell == 0))
    strange = strangeness(profiles(ROWS), ordinary, whitening)
    clean, rough, dull = (strange[ROWS.cell == cell] for cell in range(3))
    assert np.median(rough) > np.quantile(clean, 0.95)
    assert np.median(dull) > np.quantile(clean, 0.95)


def test_a_row_does_not_depend_on_the_others() -> None:
    ordinary, whitening = fit_ordinary(ROWS)
    rings = profiles(ROWS)
    whole = strangeness(rings, ordinary, whitening)
    alone = [strangeness(rings[place : place + 1], ordinary, whitening)[0] for place in range(len(rings))]
    np.testing.assert_array_equal(whole, alone)


def test_few_images_and_rings_that_never_vary_give_a_distance() -> None:
    """Fewer images than rings; and a ring that is the same in all."""
    few = ROWS.rows((ROWS.cell == 0) & (ROWS.image < 2))
    flat = dataclasses.replace(ROWS, spectra=np.zeros_like(ROWS.spectra))
    for rows in (few, flat):
        found = strangeness(profiles(ROWS), *fit_ordinary(rows))
        assert np.isfinite(found).all()


def test_without_clean_images_all_are_ordinary() -> None:
    shifted = dataclasses.replace(ROWS, names=("fog 1", "fog 2", "fog 3"))
    ordinary, _ = fit_ordinary(shifted)
    np.testing.assert_allclose(ordinary, profiles(ROWS).mean(axis=0), rtol=1e-4, atol=1e-6)


def _loss(flat: np.ndarray, rows: Observed, strange: np.ndarray) -> float:
    """The penalised negative log-likelihood of two augmentations' answers mixed by a logistic function."""
    probabilities = [softmax(card)[np.arange(len(rows.labels)), rows.labels] for card in rows.logits]
    plain, noise = probabilities[0], (probabilities[1] + probabilities[2]) / 2
    middle = rows.share @ strange
    unit = (strange - middle) / (np.sqrt(rows.share @ (strange - middle) ** 2) + 1e-6)
    first, second = flat[0] * unit + flat[2], flat[1] * unit + flat[3]
    share = 1 / (1 + np.exp(second - first))
    return float(-rows.share @ np.log(share * plain + (1 - share) * noise) + PENALTY * (flat[:2] ** 2).sum())


def test_shares_are_those_with_which_the_augmentations_answers_mix_best() -> None:
    """Card 0 is plain, 1 and 2 are of noise, 3 is an average and has none of its own."""
    strange = strangeness(profiles(ROWS), *fit_ordinary(ROWS))
    weights, bias = fit_shares(ROWS, known(), strange)
    scores = strange[:, None] * weights + bias
    shares = normalised(scores[:, :3].astype(np.float32))
    np.testing.assert_array_equal(weights[:, 3], 0)
    np.testing.assert_allclose(shares[:, 1], shares[:, 2], rtol=1e-6)
    best = scipy.optimize.minimize(_loss, np.zeros(4), args=(ROWS, strange.astype(np.float64)))
    middle = ROWS.share @ strange
    unit = (strange - middle) / np.sqrt(ROWS.share @ (strange - middle) ** 2)
    wanted = 1 / (1 + np.exp((best.x[1] - best.x[0]) * unit + best.x[3] - best.x[2]))
    np.testing.assert_allclose(shares[:, 0], wanted, atol=0.005)
    assert shares[ROWS.cell == 0, 0].mean() > 0.6 > 0.4 > shares[ROWS.cell == 1, 0].mean()


def test_equal_cards_share_alike() -> None:
    rows = observed(skill=np.repeat(SKILL[:1], 4, axis=0))
    same = dataclasses.replace(rows, logits=np.repeat(rows.logits[:1], 4, axis=0))
    strange = strangeness(ring_means(same.spectra.astype(np.float32)), *fit_ordinary(same))
    weights, bias = fit_shares(same, known(), strange)
    shares = normalised((strange[:, None] * weights + bias)[:, :3].astype(np.float32))
    np.testing.assert_allclose(shares[:, 0], 0.5, atol=1e-3)
    assert shares[:, 1:].sum(axis=1) == pytest.approx(0.5, abs=1e-3)
