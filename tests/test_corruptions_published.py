"""Each corruption against the published algorithm, run plainly on one image at a time with the same random draws."""

from __future__ import annotations

import cv2
import numpy as np
import published_corruptions as published
import published_corruptions_validation as validation
import pytest

from benchmarks.published import published as benchmarked
from cards_deck.corruptions import CORRUPTIONS, SEVERITIES, VALIDATION_CORRUPTIONS, _relief, _textures, corrupt
from cards_deck.corruptions._base import Draws
from cards_deck.corruptions._geometry import clipped_zoom
from cards_deck.corruptions._smoothing import gaussian
from cards_deck.corruptions.defocus_blur import disk
from cards_deck.corruptions.elastic_transform import ElasticTransform
from cards_deck.corruptions.glass_blur import GlassBlur
from cards_deck.corruptions.snow import Snow
from cards_deck.corruptions.spatter import Spatter
from cards_deck.corruptions.zoom_blur import ZoomBlur

# (largest difference in grey levels, largest share of values that may differ). Elementwise arithmetic is exact. Where
# the reference is cv2, scipy or skimage, whose sums run in another order, a value on a grey level's border may fall to
# its other side. libjpeg differs between builds.
EXACT = (0, 0.0)
TOLERANCE = {
    "defocus_blur": (1, 0.03),
    "glass_blur": (1, 0.01),
    "motion_blur": (1, 0.001),
    "zoom_blur": (1, 0.01),
    "snow": (1, 0.01),
    "elastic_transform": (1, 0.01),
    "jpeg_compression": (4, 0.5),
}


def _same(got, expected, tolerance):
    difference = np.abs(got.astype(int) - expected)
    most, share = tolerance
    assert difference.max() <= most
    assert (difference > 0).mean() <= share


def _reference(name):
    if name == "frost":
        textures = _textures._published() or _textures.procedural_textures()
        return lambda image, severity, generator: published.frost_with(image, severity, generator, textures)
    return getattr(validation if name in VALIDATION_CORRUPTIONS else published, name)


@pytest.fixture(scope="module")
def images():
    grain = np.random.default_rng(1).integers(0, 256, (1, 32, 32, 3), dtype=np.uint8)
    return np.concatenate([published.pictures(2), grain])


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("name", [*CORRUPTIONS, *VALIDATION_CORRUPTIONS])
def test_matches_the_published_algorithm(name, severity, images):
    generators = [published.generator_for(image, name, severity, seed=3) for image in images]
    reference = _reference(name)
    expected = np.stack([reference(x, severity, g) for x, g in zip(images, generators, strict=True)])
    assert expected.dtype == np.uint8
    assert not np.array_equal(expected, images)
    _same(corrupt(images, name, severity, seed=3), expected, TOLERANCE.get(name, EXACT))


@pytest.mark.parametrize("name", [*CORRUPTIONS, *VALIDATION_CORRUPTIONS])
def test_the_benchmark_times_the_published_algorithm(name, images):
    timed = benchmarked(name)
    expected = np.stack([timed(image, 5, published.generator_for(image, name, 5)) for image in images])
    # OpenCV 5 warps at exact coordinates; frost's textures went through a JPEG file.
    tolerance = {"elastic_transform": (24, 0.6), "frost": (16, 1.0)}.get(name) or TOLERANCE.get(name, EXACT)
    _same(corrupt(images, name, 5), expected, tolerance)


FLAT = ["brightness", "contrast", "fog", "zoom_blur", "defocus_blur", "glass_blur", "pixelate", "saturate"]


@pytest.mark.parametrize("name", FLAT)
@pytest.mark.parametrize("level", [0, 1, 128, 254, 255])
def test_matches_on_constant_images(name, level):
    """Flat areas sit on the truncation's border, where another order of the same arithmetic shows."""
    images = np.full((1, 32, 32, 3), level, np.uint8)
    expected = _reference(name)(images[0], 2, published.generator_for(images[0], name, 2))
    _same(corrupt(images, name, 2), expected[np.newaxis], (1, 1.0) if name in TOLERANCE else EXACT)


@pytest.mark.parametrize("name", ["brightness", "saturate"])
def test_matches_for_every_hue(name):
    """All ties between channels, greys, black and white."""
    levels = np.array([0, 1, 64, 127, 128, 200, 254, 255], np.uint8)
    cube = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(-1, 3)
    images = np.concatenate([cube, cube]).reshape(1, 32, 32, 3)
    for severity in SEVERITIES:
        _same(corrupt(images, name, severity), _reference(name)(images[0], severity, None)[np.newaxis], EXACT)


@pytest.mark.parametrize("severity", SEVERITIES)
def test_elastic_transform_near_this_opencv(severity, images):
    """OpenCV 5 interpolates at exact coordinates, OpenCV 4 at multiples of 1/32 pixel, as the published script did."""

    def warp(image, M):
        return cv2.warpAffine(image, M, (32, 32), borderMode=cv2.BORDER_REFLECT_101)

    image = cv2.GaussianBlur(images[0], (0, 0), 2)
    expected = published.elastic_transform(
        image, severity, published.generator_for(image, "elastic_transform", severity), warp
    )
    _same(corrupt(image[np.newaxis], "elastic_transform", severity), expected[np.newaxis], (2, 0.5))


def test_defocus_kernel_is_the_published_one_cropped():
    for radius, alias in [(0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)]:
        kernel = disk(radius, alias, 1)
        whole = np.pad(kernel, 8 - len(kernel) // 2)
        np.testing.assert_allclose(whole, published.published_disk(radius, alias), atol=1e-7)


def test_glass_blur_scales_and_stays_sequential():
    """At 64 pixels max_delta is 2: a position may then read one that was already moved."""
    images = published.pictures(2, size=64)
    expected = [
        published.glass_blur_with(image, (0.8, 2, 2), published.generator_for(image, "glass_blur", 5))
        for image in images
    ]
    assert GlassBlur().sigma[4] == 0.4
    _same(corrupt(images, "glass_blur", 5), np.stack(expected), (1, 0.01))


def test_motion_blur_scales():
    images = published.pictures(1, size=64)
    angle = published.generator_for(images[0], "motion_blur", 1).uniform(-45, 45)
    expected = published.imagemagick_motion_blur(images[0], 12, 2, angle)
    _same(corrupt(images, "motion_blur", 1), expected[np.newaxis], (1, 0.001))


@pytest.mark.parametrize("scale", [0.2, 0.3, 0.4, 0.6])
def test_frost_textures_are_resized_as_by_cv2(scale):
    texture = _textures.procedural_textures()[0]
    expected = cv2.resize(texture, (0, 0), fx=scale, fy=scale)
    tolerance = EXACT if scale == 0.2 else (1, 0.5)
    _same(_textures.resized(texture, scale), expected, tolerance)


def test_elastic_transform_severity_1_is_affine_only():
    assert (ElasticTransform().alpha[0], ElasticTransform().sigma[0]) == (0, 0)


@pytest.mark.parametrize("size", [32, 33, 48, 64, 96, 100])
def test_clipped_zoom_matches_scipy(size):
    fields = np.random.default_rng(size).random((size, size, 2))
    for factor in [*np.arange(1, 1.26, 0.01), *(zoom * size / 32 for zoom in Snow().zoom)]:
        expected = [published.clipped_zoom(fields[..., [k]], factor)[..., 0].T for k in range(2)]
        np.testing.assert_allclose(clipped_zoom(fields, float(factor)), np.stack(expected, -1), rtol=0, atol=1e-12)


def test_zoom_blur_keeps_the_list_lengths_of_float_arange():
    zoom = ZoomBlur()
    assert [len(np.arange(1, stop, zoom.step)) for stop in zoom.stop] == [7, 12, 16, 21, 26]


@pytest.fixture(scope="module")
def fields():
    """Soft and steep bytes: uint8 [40, 48, 48]."""
    noise = np.random.default_rng(2).normal(0, 1, (40, 48, 48))
    return np.clip(128 + 700 * gaussian(noise, 1.2), 0, 255).astype(np.uint8)


@pytest.mark.parametrize(("low", "high"), [(50, 150), (100, 300), (200, 700)])
def test_canny_is_opencv_s(low, high, fields):
    expected = np.stack([cv2.Canny(field, low, high) > 0 for field in fields])
    assert 0.05 < expected.mean() < 0.5
    np.testing.assert_array_equal(_relief.canny(fields, low, high), expected)


@pytest.mark.parametrize("share", [0.001, 0.03])
def test_chamfer_distance_is_opencv_s(share):
    """OpenCV 5 counts in floats, OpenCV 4 and this in 1/65536 pixel."""
    edges = np.random.default_rng(3).random((30, 40, 40)) < share
    edges[:, 0, -1] = True
    expected = np.stack([cv2.distanceTransform(np.where(e, 0, 255).astype(np.uint8), cv2.DIST_L2, 5) for e in edges])
    np.testing.assert_allclose(_relief.chamfer_distance(edges), expected, rtol=0, atol=1e-3)


def test_relief_is_opencv_s(fields):
    single = np.concatenate([fields % 20, np.full((1, 48, 48), 7, np.uint8)])
    kernel = np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]], np.float32)
    for x in (single, fields):
        np.testing.assert_array_equal(_relief.equalized(x), np.stack([cv2.equalizeHist(field) for field in x]))
    embossed = np.stack([cv2.filter2D(field, cv2.CV_8U, kernel) for field in fields])
    np.testing.assert_array_equal(_relief.embossed(fields, 1), embossed)
    blurred = np.stack([cv2.blur(field, (3, 3)) for field in fields])
    np.testing.assert_array_equal(np.rint(_relief.box_mean(fields, 1)), blurred)


def test_an_image_that_catches_no_water_stays_as_it_is(images):
    np.testing.assert_array_equal(Spatter(threshold=(9,) * 5)(images, 1, Draws(images, "spatter", 1, 0)), images)


@pytest.mark.parametrize("severity", SEVERITIES)
def test_spatter_covers_the_same_share_of_a_larger_picture(severity):
    shares = []
    for size in (32, 96):
        grey = np.full((48, size, size, 3), 90, np.uint8) + np.arange(48, dtype=np.uint8).reshape(-1, 1, 1, 1)
        shares.append((corrupt(grey, "spatter", severity) != grey).any(axis=-1).mean())
    assert shares[1] == pytest.approx(shares[0], rel=0.35)
