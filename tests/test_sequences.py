"""The sequences of CIFAR-10-P against the published algorithms, and what holds for all of them."""

from __future__ import annotations

import itertools
import subprocess
import sys

import cv2
import numpy as np
import published_sequences as published
import pytest
from published_corruptions import pictures

from cards_deck.corruptions import Draws
from cards_deck.corruptions.sequences import NOISE, PERTURBATIONS, REGISTRY, frames_of, perturb
from cards_deck.corruptions.sequences.spatter import lowered
from cards_deck.corruptions.sequences.tilt import perspective
from cards_deck.errors import InputError
from cards_deck.registry import describe

DETERMINISTIC = set(PERTURBATIONS) - {"gaussian_noise", "shot_noise", "spatter"}

# (largest difference in grey levels, largest share of values that may differ). Pillow interpolates row by row, this by
# one sum of four, and a value on a grey level's border may fall to its other side: at scale 1.3 weights are 169ths, so
# that one value in 169 lies on one.
EXACT = (0, 0.0)
TOLERANCE = {
    "zoom_blur": (1, 0.005),
    "rotate": (1, 0.001),
    "scale": (1, 0.01),
}


def _same(got, expected, tolerance):
    difference = np.abs(got.astype(int) - expected)
    most, share = tolerance
    assert difference.max() <= most
    assert (difference > 0).mean() <= share


@pytest.fixture(scope="module")
def images():
    grain = np.random.default_rng(1).integers(0, 256, (1, 32, 32, 3), dtype=np.uint8)
    return np.concatenate([pictures(2), grain])


def test_the_ten_of_the_benchmark_and_their_frames():
    assert len(PERTURBATIONS) == 10
    assert REGISTRY.names() == tuple(sorted(PERTURBATIONS))
    assert NOISE == ("gaussian_noise", "shot_noise")
    assert {name: frames_of(name) for name in PERTURBATIONS if frames_of(name) != 31} == {
        "motion_blur": 21,
        "translate": 16,
    }
    for name in PERTURBATIONS:
        perturbation = REGISTRY.build(name)
        assert REGISTRY.restore(describe(perturbation)) == perturbation


@pytest.mark.parametrize("name", PERTURBATIONS)
def test_matches_the_published_algorithm(name, images):
    images = images[1:] if name in ("motion_blur", "tilt") else images
    got = perturb(images, name, seed=3)
    assert (got.dtype, got.shape) == (np.uint8, (len(images), frames_of(name), 32, 32, 3))
    for image, frames in zip(images, got, strict=True):
        expected = np.stack(getattr(published, name)(image, published.generator_for(image, name, seed=3)))
        assert expected.shape == frames.shape
        _same(frames, expected, TOLERANCE.get(name, EXACT))


@pytest.mark.parametrize("size", [33, 48, 64])
@pytest.mark.parametrize("name", sorted(set(PERTURBATIONS) - {"spatter", "motion_blur", "tilt"}))
def test_matches_at_other_sizes(name, size):
    image = pictures(1, size=size)[0]
    expected = np.stack(getattr(published, name)(image, published.generator_for(image, name)))
    _same(perturb(image[np.newaxis], name)[0], expected, TOLERANCE.get(name, EXACT))


@pytest.mark.parametrize("level", [0, 1, 128, 254, 255])
@pytest.mark.parametrize("name", ["zoom_blur", "rotate", "scale", "brightness"])
def test_matches_on_constant_images(name, level):
    """Flat areas sit on the truncation's border."""
    image = np.full((32, 32, 3), level, np.uint8)
    _same(perturb(image[np.newaxis], name)[0], np.stack(getattr(published, name)(image, None)), (1, 0.001))


@pytest.mark.parametrize("size", [32, 48])
def test_tilt_near_this_opencv(size):
    """OpenCV 5 interpolates at exact coordinates, OpenCV 4 at multiples of 1/32 pixel, as the published script did."""
    image = pictures(1, size=size)[0]

    def warp(picture, matrix):
        return cv2.warpPerspective(picture, matrix, (size, size))

    difference = np.abs(perturb(image[np.newaxis], "tilt")[0].astype(int) - published.tilt(image, None, warp))
    assert difference.mean() < 0.5
    assert np.quantile(difference, 0.99) <= 4


@pytest.mark.parametrize("step", range(-15, 16, 6))
def test_tilt_is_the_product_of_the_published_matrices(step):
    np.testing.assert_allclose(perspective(32, 0.75 * step), published.tilt_matrix(32, step), atol=1e-12)


@pytest.mark.parametrize("name", PERTURBATIONS)
def test_an_image_gets_the_same_frames_in_any_subset_order_and_batch(name, monkeypatch):
    images = np.concatenate([pictures(4), pictures(5, seed=5)])
    whole = perturb(images, name, seed=1)
    for count in (1, 2, 3):
        np.testing.assert_array_equal(perturb(images[2 : 2 + count], name, seed=1), whole[2 : 2 + count])
    np.testing.assert_array_equal(perturb(np.asfortranarray(images[::-2]), name, seed=1), whole[::-2])
    monkeypatch.setattr("cards_deck.corruptions.sequences._CHUNK_PIXELS", 2 * 32 * 32)
    np.testing.assert_array_equal(perturb(images, name, seed=1), whole)


@pytest.mark.parametrize("name", PERTURBATIONS)
def test_fewer_frames_are_the_first_ones(name, images):
    np.testing.assert_array_equal(perturb(images, name, frames=4), perturb(images, name)[:, :4])


@pytest.mark.parametrize("name", PERTURBATIONS)
def test_the_seed_changes_random_ones_only(name, images):
    first, second = perturb(images, name, frames=3, seed=0), perturb(images, name, frames=3, seed=1)
    assert np.array_equal(first, second) == (name in DETERMINISTIC)


def test_noise_sequences_begin_clean_and_draw_every_frame_anew():
    grey = np.full((1, 32, 32, 3), 128, np.uint8)
    for name in NOISE:
        frames = perturb(grey, name)[0].astype(float)
        np.testing.assert_array_equal(frames[0], grey[0])
        noise = (frames[1:] - 128).reshape(30, -1)
        assert np.abs(np.corrcoef(noise) - np.eye(30)).max() < 0.08
        assert noise.std() == pytest.approx(
            255 * (0.02 if name == "gaussian_noise" else (128 / 255 / 700) ** 0.5), rel=0.05
        )


@pytest.mark.parametrize("name", sorted(set(PERTURBATIONS) - set(NOISE)))
def test_other_sequences_move_by_small_steps(name):
    """Neighbouring frames are more alike than the first and the last."""
    frames = perturb(pictures(6), name).astype(float)
    steps = [np.abs(a - b).mean() for a, b in itertools.pairwise(np.moveaxis(frames, 1, 0))]
    assert max(steps) < np.abs(frames[:, 0] - frames[:, -1]).mean()


@pytest.mark.parametrize(("name", "frame"), [("translate", 7), ("rotate", 15), ("scale", 15)])
def test_the_middle_frame_is_the_image(name, frame, images):
    np.testing.assert_array_equal(perturb(images, name)[:, frame], images)


def test_water_runs_down():
    field = np.zeros((1, 6, 2))
    field[0, 1] = 10
    np.testing.assert_allclose(lowered(field, 0.8)[0, :, 0], [0, 2, 8, 0, 0, 0])
    np.testing.assert_allclose(lowered(field, 2.25)[0, :, 0], [0, 0, 0, 7.5, 2.5, 0])


def test_an_image_that_catches_no_water_stays():
    image = pictures(1)
    dry = REGISTRY.build("spatter", threshold=2.0)
    frames = dry(image, 2, Draws(image, "spatter sequence", 0, 0))
    np.testing.assert_array_equal(frames, np.stack([image, image], axis=1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "shear"}, "unknown perturbation 'shear'.*zoom_blur"),
        ({"frames": 0}, "frames must be 1 to 31 for tilt, not 0"),
        ({"frames": 32}, "not 32"),
        ({"frames": 2.5}, "frames must be an integer, not 2.5"),
        ({"seed": None}, "seed must be an integer, not None"),
        ({"images": np.zeros((1, 32, 32, 3))}, "not an array of float64"),
        ({"images": np.zeros((1, 28, 28, 3), np.uint8)}, "at least 32 pixels wide, not 28"),
        ({"images": np.zeros((32, 32, 3), np.uint8)}, "square RGB"),
    ],
)
def test_refuses(change, message):
    arguments = {"images": np.zeros((1, 32, 32, 3), np.uint8), "name": "tilt", "frames": None, "seed": 0} | change
    images, name = arguments.pop("images"), arguments.pop("name")
    with pytest.raises(InputError, match=message):
        perturb(images, name, **arguments)


def test_no_images():
    assert perturb(np.empty((0, 32, 32, 3), np.uint8), "scale", frames=2).shape == (0, 2, 32, 32, 3)


_IN_A_NEW_PROCESS = """
import hashlib, sys
import numpy as np
from cards_deck.corruptions.sequences import PERTURBATIONS, perturb
x, y, c = np.ogrid[:32, :32, :3]
image = ((7 * x + 5 * y * (c + 1) + x * y // 4) % 256).astype(np.uint8)[np.newaxis]
print(*(hashlib.sha256(perturb(image, name).tobytes()).hexdigest()[:16] for name in PERTURBATIONS))
print(*sorted({"torch", "cv2", "skimage"} & set(sys.modules)))
"""

# Seed 0, all frames of an image of integer arithmetic. Whoever changes one changes every regenerated sequence.
PINNED = {
    "brightness": "73a804356ed56353",
    "gaussian_noise": "060e520558b0c3b1",
    "motion_blur": "ae22ce6d6e14a35f",
    "rotate": "389910d66ca0df96",
    "scale": "c8c112638a5ae698",
    "shot_noise": "d1843b9c114ec43f",
    "spatter": "54dfd2e7f91e8747",
    "tilt": "0e7aea2181550858",
    "translate": "03fb9ca29be43d9a",
    "zoom_blur": "b931bde692eb1b3c",
}


def test_another_process_makes_the_pinned_frames_and_imports_nothing_large():
    command = [sys.executable, "-c", _IN_A_NEW_PROCESS]
    digests, imported = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    assert dict(zip(PERTURBATIONS, digests.split(), strict=True)) == PINNED
    assert imported == ""
