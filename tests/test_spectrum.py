"""Spectra: against a plain numpy transform, finite everywhere, and bit for bit the same in any batch."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from numpy.typing import NDArray

from cards_deck.errors import InputError
from cards_deck.inference.fake_deck import fake_images
from cards_deck.references import References, references_bytes, references_from_bytes
from cards_deck.spectrum import (
    build_references,
    check_images,
    distances,
    log_amplitude,
    mean_log_amplitude,
    radial_weight,
)

SIZES = (32, 33, 64)


def _plain(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The published definition, on the whole plane and in float64."""
    planes = np.fft.fft2(image / 255.0, axes=(0, 1), norm="ortho")
    amplitude = np.sqrt((np.abs(planes) ** 2).mean(axis=2))
    return np.asarray(np.log(amplitude + 1 / (255 * np.sqrt(12))))


def _whole_weight(size: int) -> NDArray[np.float64]:
    frequency = np.fft.fftfreq(size)
    weight = np.hypot(frequency[:, None], frequency)
    return np.asarray(weight / weight.sum())


@pytest.mark.parametrize("size", SIZES)
def test_spectra_agree_with_the_plain_definition(size: int) -> None:
    images = fake_images(3, size)
    found = log_amplitude(images)
    assert found.dtype == np.float32
    assert found.shape == (3, size, size // 2 + 1)
    for image, spectrum in zip(images, found, strict=True):
        np.testing.assert_allclose(spectrum, _plain(image)[:, : size // 2 + 1], atol=2e-4)


@pytest.mark.parametrize("size", SIZES)
def test_distances_agree_with_the_whole_plane(size: int) -> None:
    images = fake_images(4, size)
    whole = np.stack([_plain(image) for image in images])
    expected = np.sqrt((_whole_weight(size) * (whole[:2, None] - whole[None, 2:]) ** 2).sum(axis=(2, 3)))
    spectra = log_amplitude(images)
    np.testing.assert_allclose(distances(spectra[:2], spectra[2:]), expected, rtol=1e-4)


@pytest.mark.parametrize("size", SIZES)
def test_the_weight_is_radial_and_sums_to_one(size: int) -> None:
    weight = radial_weight(size)
    assert weight.shape == (size, size // 2 + 1)
    assert weight[0, 0] == 0
    assert weight.sum() == pytest.approx(1)
    whole = _whole_weight(size)
    np.testing.assert_allclose(weight[:, 0], whole[:, 0], rtol=1e-5)
    np.testing.assert_allclose(weight[:, 1], 2 * whole[:, 1], rtol=1e-5)


def test_a_distance_to_itself_is_zero_and_small_ones_do_not_cancel() -> None:
    spectra = log_amplitude(fake_images(2)) + np.float32(10)
    near = spectra.copy()
    near[0, 3, 3] += np.float32(1e-3)
    found = distances(near, spectra)
    assert found[1, 1] == 0
    assert found[0, 0] == pytest.approx(np.sqrt(radial_weight(32)[3, 3]) * 1e-3, rel=1e-3)


def test_rows_do_not_depend_on_the_batch() -> None:
    images = fake_images(70)
    together = log_amplitude(images)
    found = distances(together, together[:3])
    for start, stop in ((0, 1), (7, 40), (69, 70)):
        part = log_amplitude(images[start:stop])
        np.testing.assert_array_equal(part, together[start:stop])
        np.testing.assert_array_equal(distances(part, together[:3]), found[start:stop])


@pytest.mark.parametrize("value", [0, 1, 255])
def test_constant_images_give_finite_spectra(value: int) -> None:
    images = np.full((2, 32, 32, 3), value, np.uint8)
    spectra = log_amplitude(images)
    assert np.isfinite(spectra).all()
    assert np.isfinite(distances(spectra, log_amplitude(fake_images(2)))).all()


def test_a_view_gives_the_same_as_its_copy() -> None:
    images = fake_images(4)
    turned = np.rot90(images, axes=(1, 2))[::-1]
    np.testing.assert_array_equal(log_amplitude(turned), log_amplitude(np.ascontiguousarray(turned)))


def test_the_mean_is_the_mean_of_all() -> None:
    images = fake_images(50)
    expected = log_amplitude(images).mean(axis=0, dtype=np.float64)
    np.testing.assert_allclose(mean_log_amplitude(images, batch=7), expected, atol=1e-6)


def test_references_tell_each_augmentation_and_the_tail_of_distances() -> None:
    clean = fake_images(200)
    noisy = np.clip(clean + np.random.default_rng(0).normal(0, 26, clean.shape), 0, 255).astype(np.uint8)
    references = build_references({"clean": clean, "noise": noisy}, batch=64)
    both = np.concatenate([clean, noisy])
    found = distances(log_amplitude(both), references.log_amplitude)
    np.testing.assert_array_equal(found.argmin(axis=1), [0] * 200 + [1] * 200)
    assert references.scale == pytest.approx([found[:200, 0].mean(), found[200:, 1].mean()], rel=1e-5)
    assert references.distance_at(1.0) == pytest.approx(found.min(axis=1).max())
    assert (found.min(axis=1) > references.distance_at(0.9)).mean() == pytest.approx(0.1, abs=0.01)


@pytest.mark.parametrize(
    ("images", "says"),
    [
        ([[1]], "uint8 array"),
        (np.zeros((1, 32, 32, 3), np.float32), "not float32"),
        (np.zeros((32, 32, 3), np.uint8), "square"),
        (np.zeros((1, 32, 31, 3), np.uint8), "square"),
        (np.zeros((1, 3, 32, 32), np.uint8), "square"),
        (np.zeros((1, 0, 0, 3), np.uint8), "square"),
        (np.zeros((1, 16, 16, 3), np.uint8), "32 pixels wide and high, not 16"),
    ],
)
def test_other_arrays_are_refused(images: object, says: str) -> None:
    with pytest.raises(InputError, match=says):
        check_images(images, 32)


def test_no_images_have_no_mean() -> None:
    nothing = np.zeros((0, 32, 32, 3), np.uint8)
    assert log_amplitude(nothing).shape == (0, 32, 17)
    with pytest.raises(InputError, match="at least one"):
        mean_log_amplitude(nothing)
    with pytest.raises(InputError, match="one image size"):
        build_references({"a": fake_images(1), "b": fake_images(1, 16)})
    with pytest.raises(InputError, match="at least one augmentation"):
        build_references({})


def test_a_calibrated_distance_is_a_share_of_the_augmentations_own_images() -> None:
    clean = fake_images(200)
    noisy = np.clip(clean + np.random.default_rng(0).normal(0, 26, clean.shape), 0, 255).astype(np.uint8)
    references = build_references({"clean": clean, "noise": noisy})
    found = distances(log_amplitude(np.concatenate([clean, noisy])), references.log_amplitude)
    shares = references.calibrated(found)
    assert shares.dtype == np.float32
    for column, own in ((0, slice(0, 200)), (1, slice(200, 400))):
        nearer = [(found[own, column] < one).mean() for one in found[:, column]]
        np.testing.assert_allclose(shares[:, column], nearer, atol=0.011)
    assert (shares[200:, 0] == 1).all(), "noise is farther from clean than every clean image"


def test_references_without_tails_stretch_the_pooled_ones() -> None:
    """Version 1: distances to an augmentation that are twice as large on average count for half."""
    old = References(
        ("a", "b"),
        np.zeros((2, 8, 5), np.float32),
        np.array([1, 2], np.float32),
        np.linspace(0, 2, 21, dtype=np.float32),
    )
    assert old.tails is None
    found = old.calibrated(np.array([[0, 0], [1, 2], [0.5, 1], [9, 3]], np.float32))
    np.testing.assert_allclose(found, [[0, 0], [0.5, 0.5], [0.25, 0.25], [1, 0.75]], atol=1e-6)
    again = references_from_bytes(references_bytes(old))
    assert again.tails is None
    new = dataclasses.replace(old, tails=np.stack([old.quantiles, 2 * old.quantiles]))
    assert np.array_equal(references_from_bytes(references_bytes(new)).tails, new.tails)
    for wrong in (
        new.tails[:1],
        new.tails[:, :1],
        -new.tails,
        new.tails.astype(float),
        np.full_like(new.tails, np.nan),
    ):
        with pytest.raises(InputError):
            dataclasses.replace(old, tails=wrong)
