"""The corruptions of CIFAR-10-C-bar and those in reserve against the published algorithms, run plainly with the same
random draws."""

from __future__ import annotations

import itertools

import numpy as np
import published_cbar
import published_reserve
import published_reserve_colours
import published_reserve_warps
import pytest
from published_corruptions import generator_for, pictures
from scipy import ndimage
from skimage.draw import line_aa

from cards_deck.corruptions import CBAR_CORRUPTIONS, REGISTRY, RESERVE_CORRUPTIONS, SEVERITIES, Draws, corrupt
from cards_deck.corruptions._cbar_noise import radius_squared, spectral_noise
from cards_deck.corruptions.circular_motion_blur import turns
from cards_deck.corruptions.lines import coverage

PUBLISHED = {
    name: module
    for module in (published_cbar, published_reserve, published_reserve_colours, published_reserve_warps)
    for name in module.LEVELS
}
LEVELS = {name: module.LEVELS[name] for name, module in PUBLISHED.items()}
NAMES = tuple(LEVELS)

# (largest difference in grey levels, largest share of values that may differ). The published code keeps float32 between
# the stars and between the turns, and a value on a grey level's border may then fall to its other side; in the zoom the
# channel that is not enlarged holds 36ths, so that one value in 36 is a tie, which the last bits of a sum decide; hues
# are float32 as published, and float64 here as in saturate.
EXACT = (0, 0.0)
TOLERANCE = {
    "sparkles": (1, 0.001),
    "circular_motion_blur": (1, 0.01),
    "transverse_chromatic_abberation": (1, 0.02),
    "hue_shift": (1, 0.35),
}


def _same(got, expected, tolerance):
    difference = np.abs(got.astype(int) - expected)
    most, share = tolerance
    assert difference.max() <= most
    assert (difference > 0).mean() <= share


def _expected(images, name, severity, seed):
    level, reference = LEVELS[name][severity - 1], getattr(PUBLISHED[name], name)
    made = [reference(image, level, generator_for(image, name, severity, seed)) for image in images]
    assert all(image.dtype == np.uint8 for image in made)
    return np.stack(made)


@pytest.fixture(scope="module")
def images():
    grain = np.random.default_rng(1).integers(0, 256, (1, 32, 32, 3), dtype=np.uint8)
    return np.concatenate([pictures(2), grain])


@pytest.mark.parametrize("name", NAMES)
def test_levels_are_the_published_ones(name):
    assert REGISTRY.build(name).level == LEVELS[name]


def test_every_one_is_checked_here():
    assert set(NAMES) == {*CBAR_CORRUPTIONS, *RESERVE_CORRUPTIONS}


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("name", NAMES)
def test_matches_the_published_algorithm(name, severity, images):
    expected = _expected(images, name, severity, seed=3)
    assert not np.array_equal(expected, images)
    _same(corrupt(images, name, severity, seed=3), expected, TOLERANCE.get(name, EXACT))


@pytest.mark.parametrize("size", [33, 48, 64])
@pytest.mark.parametrize("name", NAMES)
def test_matches_at_other_sizes(name, size):
    """The published code takes the side as a parameter."""
    images = pictures(1, size=size)
    _same(corrupt(images, name, 4), _expected(images, name, 4, seed=0), TOLERANCE.get(name, EXACT))


@pytest.mark.parametrize("level", [0, 1, 128, 254, 255])
@pytest.mark.parametrize("name", NAMES)
def test_matches_on_constant_images(name, level):
    """Flat areas sit on the truncation's border, where another order of the same arithmetic shows."""
    images = np.full((1, 32, 32, 3), level, np.uint8)
    tolerance = (1, 1.0) if name in TOLERANCE else (1, 0.01)
    _same(corrupt(images, name, 2), _expected(images, name, 2, seed=0), tolerance)


@pytest.mark.parametrize("name", NAMES)
def test_an_image_gets_the_same_pixels_in_any_subset_order_and_batch(name, monkeypatch):
    images = np.concatenate([pictures(10), pictures(15, seed=5)])
    whole = corrupt(images, name, 4, seed=1)
    for count in (1, 2, 3, 7):
        np.testing.assert_array_equal(corrupt(images[5 : 5 + count], name, 4, seed=1), whole[5 : 5 + count])
    np.testing.assert_array_equal(corrupt(images[::-3], name, 4, seed=1), whole[::-3])
    monkeypatch.setattr("cards_deck.corruptions._CHUNK_PIXELS", 3 * 32 * 32)
    np.testing.assert_array_equal(corrupt(images, name, 4, seed=1), whole)


@pytest.mark.parametrize("name", NAMES)
def test_a_higher_severity_changes_more(name):
    """With the same draws at every severity: the levels of ripple are so close that other draws would hide them."""
    images, corruption = pictures(24, seed=7), REGISTRY.build(name)
    made = [corruption(images, severity, Draws(images, name, 0, 0)) for severity in SEVERITIES]
    changes = [np.abs(out.astype(float) - images).mean() for out in made]
    assert all(a < b for a, b in itertools.pairwise(changes)), changes


@pytest.mark.parametrize("name", ["blue_noise_sample", "brownish_noise", "checkerboard_cutout", "lines", "ripple"])
def test_large_and_small_pictures_are_changed_as_much(name):
    """A picture twice as large, every pixel four times."""
    small = pictures(40)
    large = small.repeat(2, axis=1).repeat(2, axis=2)
    change = np.abs(corrupt(small, name, 5).astype(float) - small).mean()
    change_of_large = np.abs(corrupt(large, name, 5).astype(float) - large).mean()
    assert change_of_large == pytest.approx(change, rel=0.25)


def test_blue_noise_drops_the_pixels_that_a_normal_field_would():
    """Phases of many frequencies add up to about a normal field: P(z <= 0.3 * level - 2.5) of the pixels go black."""
    white = np.full((40, 32, 32, 3), 255, np.uint8)
    white[:, 0, 0, 0] = np.arange(40) + 200
    for severity, share in zip(SEVERITIES, (0.0110, 0.0188, 0.0307, 0.0735, 0.1075), strict=True):
        out = corrupt(white, "blue_noise_sample", severity)
        assert (out[..., 1] == 0).mean() == pytest.approx(share, rel=0.2)
        assert set(np.unique(out[..., 1])) == {0, 255}


@pytest.mark.parametrize("size", [32, 33])
def test_spectral_noise_has_its_spectrum(size):
    """Averaged over many fields, blue noise has a power that grows with the square of the frequency."""
    generator = np.random.default_rng(0)
    amplitude = np.sqrt(radius_squared(size))
    fields = [spectral_noise(generator, amplitude) for _ in range(300)]
    assert np.std(fields[0]) == pytest.approx(1)
    power = np.mean([np.abs(np.fft.fft2(field)) ** 2 for field in fields], axis=0)
    assert power[0, 8] / power[0, 4] == pytest.approx(4, rel=0.5 if size % 2 else 0.35)
    assert power[0, 0] < 0.01 * power.mean()


def test_coverage_is_what_line_aa_draws():
    generator = np.random.default_rng(0)
    ends = generator.integers(-40, 70, (200, 2, 2))
    ends[0, 1] = ends[0, 0] = 5
    for (start, end), drawn in zip(ends, coverage(ends[:, 0], ends[:, 1], 32), strict=True):
        expected = np.zeros((32, 32))
        for row, column, share in zip(*line_aa(*start, *end), strict=True):
            if 0 <= row < 32 and 0 <= column < 32:
                expected[row, column] = share
        np.testing.assert_allclose(drawn, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("size", [32, 45])
def test_turns_are_scipys_rotations(size):
    image = np.random.default_rng(size).random((size, size))
    coefficients = ndimage.spline_filter(image, mode="mirror")
    shares = np.linspace(-1, 1, 21)
    weights = np.exp(-2 * shares**2)
    turned = [ndimage.rotate(image, share * 8.0, reshape=False) for share in shares]
    expected = np.tensordot(weights / weights.sum(), turned, axes=1)
    np.testing.assert_allclose((turns(size, 8.0) @ coefficients.ravel()).reshape(size, size), expected, atol=1e-12)


def test_ripple_and_turned_corners_are_black_outside():
    white = np.full((1, 32, 32, 3), 255, np.uint8)
    assert corrupt(white, "circular_motion_blur", 5)[0, 0, 0].max() < 200
    assert corrupt(white, "ripple", 5)[0, [0, -1]].min() < 200


def test_checkerboard_squares_are_grey_or_untouched():
    images = pictures(16)
    out = corrupt(images, "checkerboard_cutout", 5)
    changed = (out != images).any(axis=-1)
    assert (out[changed] == 128).all()
    assert 0.1 < changed.mean() < 0.4  # half the squares are dark, half of those are chosen


def test_chromatic_aberration_moves_two_channels_only():
    """A grey picture: one channel is smoothed in place, the other two are enlarged, and which is random."""
    grey = np.repeat(pictures(12)[..., :1], 3, axis=-1)
    out = corrupt(grey, "transverse_chromatic_abberation", 5).astype(float)
    nearest = np.abs(out - grey).mean(axis=(1, 2)).argmin(axis=1)
    assert set(nearest) == {0, 1, 2}


def test_draws_are_those_of_the_name_and_level(images):
    """Two severities with the same number of draws must not share them."""
    first, second = (Draws(images, "ripple", severity, 0).random(4) for severity in (1, 2))
    assert np.abs(first - second).min() > 0
