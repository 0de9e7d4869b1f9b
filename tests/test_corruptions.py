"""What holds for every registered corruption, and pixels that must never change unnoticed."""

from __future__ import annotations

import hashlib
import itertools
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from published_corruptions import generator_for, pictures

from cards_deck.corruptions import (
    CBAR_CORRUPTIONS,
    CORRUPTIONS,
    NOISE,
    REGISTRY,
    RESERVE_CORRUPTIONS,
    SEVERITIES,
    VALIDATION_CORRUPTIONS,
    Draws,
    _textures,
    corrupt,
    frost_source,
)
from cards_deck.errors import InputError
from cards_deck.registry import describe

NAMES = REGISTRY.names()
PUBLISHED = (*CORRUPTIONS, *VALIDATION_CORRUPTIONS)
DETERMINISTIC = {
    *("defocus_blur", "zoom_blur", "brightness", "contrast", "pixelate", "jpeg_compression"),
    *("gaussian_blur", "saturate"),
}


@pytest.fixture(scope="module")
def images():
    return pictures(24, seed=7)


def digest(pixels):
    return hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest()[:16]


def test_the_published_sets():
    groups = (CORRUPTIONS, VALIDATION_CORRUPTIONS, CBAR_CORRUPTIONS, RESERVE_CORRUPTIONS)
    assert [len(names) for names in groups] == [15, 4, 10, 20]
    assert len({name for names in groups for name in names}) == 49
    assert set(PUBLISHED) <= set(NAMES)
    assert NOISE == ("gaussian_noise", "shot_noise", "impulse_noise")


@pytest.mark.parametrize("name", NAMES)
def test_fields_hold_five_severities_and_are_a_record(name):
    corruption = REGISTRY.build(name)
    tables = [value for value in vars(corruption).values() if isinstance(value, tuple)]
    assert all(len(table) == 5 for table in tables)
    assert REGISTRY.restore(describe(corruption)) == corruption


@pytest.mark.parametrize("size", [32, 48, 64, 96])
@pytest.mark.parametrize("name", NAMES)
def test_keeps_shape_type_and_input(name, size):
    images = pictures(2, size=size)
    before = images.copy()
    for severity in (1, 5):
        out = corrupt(images, name, severity)
        assert (out.shape, out.dtype) == (images.shape, np.uint8)
        assert not np.array_equal(out, images)
        assert not np.shares_memory(out, images)
    np.testing.assert_array_equal(images, before)


@pytest.mark.parametrize("name", NAMES)
def test_an_image_gets_the_same_pixels_in_any_subset_order_and_batch(name, monkeypatch):
    images = np.concatenate([pictures(20), pictures(20, seed=5)])
    whole = corrupt(images, name, 4, seed=1)
    np.testing.assert_array_equal(corrupt(images[7:8], name, 4, seed=1), whole[7:8])
    np.testing.assert_array_equal(corrupt(images[::-3], name, 4, seed=1), whole[::-3])
    np.testing.assert_array_equal(corrupt(np.asfortranarray(images), name, 4, seed=1), whole)
    monkeypatch.setattr("cards_deck.corruptions._CHUNK_PIXELS", 3 * 32 * 32)
    np.testing.assert_array_equal(corrupt(images, name, 4, seed=1), whole)


@pytest.mark.parametrize("name", NAMES)
def test_threads_make_the_same_pixels(name, images):
    jobs = [(start, severity) for severity in (2, 5) for start in range(0, len(images), 5)]
    with ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(lambda job: corrupt(images[job[0] : job[0] + 5], name, job[1]), jobs))
    whole = np.concatenate([corrupt(images, name, severity) for severity in (2, 5)])
    np.testing.assert_array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_seed_changes_the_pixels_of_random_ones_only(name, images):
    first, second = corrupt(images, name, 3, seed=0), corrupt(images, name, 3, seed=-1)
    unchanged = (first == second).all(axis=(1, 2, 3))
    # Two angles of a short motion may fall on the same pixels.
    assert unchanged.all() if name in DETERMINISTIC else unchanged.mean() < 0.2


def test_images_severities_and_corruptions_draw_their_own_numbers():
    """The noise that two images, or two severities, get must not be the same numbers."""
    grey = np.full((2, 32, 32, 3), 128, np.uint8)
    grey[1, 0, 0, 0] = 129
    noise = corrupt(grey, "gaussian_noise", 3).astype(float) - grey
    harder = corrupt(grey[:1], "gaussian_noise", 4).astype(float) - grey[:1]
    shot = corrupt(grey[:1], "shot_noise", 3).astype(float) - grey[:1]
    rows = np.stack([noise[0], noise[1], harder[0], shot[0]]).reshape(4, -1)
    assert np.abs(np.corrcoef(rows) - np.eye(4)).max() < 0.08


def test_the_streams_are_those_of_a_philox_key(images):
    draws = Draws(images[:2], "fog", 2, 7)
    expected = [generator_for(image, "fog", 2, seed=7).random(5) for image in images[:2]]
    np.testing.assert_array_equal(draws.random(5), expected)


# Published constants that do not grow with the severity: glass s1 to s3 shuffle alike, s5 repeats s4 with more blur;
# frost keeps less of the image while adding about as much; elastic's jitter shrinks while its ripples grow; saturate
# takes colour away at first and adds it later; spatter is water at first and mud later.
NOT_MONOTONE = {"glass_blur", "frost", "elastic_transform", "saturate", "spatter"}


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_higher_severity_changes_more(name, images):
    changes = [np.abs(corrupt(images, name, severity).astype(float) - images).mean() for severity in SEVERITIES]
    monotone = all(a < b for a, b in itertools.pairwise(changes))
    assert monotone or name in NOT_MONOTONE, changes


@pytest.mark.parametrize("name", ["defocus_blur", "zoom_blur", "brightness", "contrast", "elastic_transform"])
def test_lengths_scale_with_the_size(name):
    """A picture twice as large, every pixel four times, is changed as much as the small one."""
    small = pictures(4)
    large = small.repeat(2, axis=1).repeat(2, axis=2)
    change = np.abs(corrupt(small, name, 5).astype(float) - small).mean()
    change_of_large = np.abs(corrupt(large, name, 5).astype(float) - large).mean()
    assert change_of_large == pytest.approx(change, rel=0.3)


def test_no_images():
    assert corrupt(np.empty((0, 32, 32, 3), np.uint8), "fog", 1).shape == (0, 32, 32, 3)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("level", [0, 255])
def test_black_and_white_images(name, level):
    images = np.full((1, 32, 32, 3), level, np.uint8)
    assert corrupt(images, name, 5).shape == images.shape


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "rain"}, "unknown corruption 'rain'.*zoom_blur"),
        ({"severity": 0}, "severity must be 1, 2, 3, 4 or 5, not 0"),
        ({"severity": 6}, "not 6"),
        ({"severity": 2.5}, "severity must be an integer, not 2.5"),
        ({"severity": True}, "severity must be an integer, not True"),
        ({"seed": "a"}, "seed must be an integer, not 'a'"),
        ({"images": [[0]]}, "numpy array of uint8, not list"),
        ({"images": np.zeros((1, 32, 32, 3))}, "not an array of float64"),
        ({"images": np.zeros((32, 32, 3), np.uint8)}, "square RGB"),
        ({"images": np.zeros((1, 3, 32, 32), np.uint8)}, "square RGB"),
        ({"images": np.zeros((1, 32, 40, 3), np.uint8)}, r"not \[1, 32, 40, 3\]"),
        ({"images": np.zeros((1, 28, 28, 3), np.uint8)}, "at least 32 pixels wide, not 28"),
    ],
)
def test_refuses(change, message):
    arguments = {"images": np.zeros((1, 32, 32, 3), np.uint8), "name": "fog", "severity": 1, "seed": 0} | change
    seed = arguments.pop("seed")
    with pytest.raises(InputError, match=message):
        corrupt(**arguments, seed=seed)


def test_numpy_integers_are_integers(images):
    np.testing.assert_array_equal(
        corrupt(images, "fog", np.int64(2), seed=np.uint8(3)), corrupt(images, "fog", 2, seed=3)
    )


_IN_A_NEW_PROCESS = """
import hashlib, sys
import numpy as np
from cards_deck.corruptions import CORRUPTIONS, VALIDATION_CORRUPTIONS, corrupt
x, y, c = np.ogrid[:32, :32, :3]
image = ((7 * x + 5 * y * (c + 1) + x * y // 4) % 256).astype(np.uint8)[np.newaxis]
names = (*CORRUPTIONS, *VALIDATION_CORRUPTIONS)
print(*(hashlib.sha256(corrupt(image, name, 3).tobytes()).hexdigest()[:16] for name in names))
print(*sorted({"torch", "cv2", "skimage", "imagecorruptions", "numba", "pkg_resources"} & set(sys.modules)))
"""


def pinned_image():
    """[1, 32, 32, 3] of integer arithmetic alone: the same on every machine."""
    x, y, c = np.ogrid[:32, :32, :3]
    return ((7 * x + 5 * y * (c + 1) + x * y // 4) % 256).astype(np.uint8)[np.newaxis]


def test_another_process_makes_the_same_pixels_and_imports_nothing_large():
    command = [sys.executable, "-c", _IN_A_NEW_PROCESS]
    digests, imported = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    assert digests.split() == [digest(corrupt(pinned_image(), name, 3)) for name in PUBLISHED]
    assert imported == ""


@pytest.mark.parametrize("source", ["published", "procedural"])
def test_frost_source(source, monkeypatch, images):
    if source == "published" and frost_source() == "procedural":
        pytest.skip("the published frost textures are not installed: pip install --no-deps imagecorruptions")
    _textures.frost_textures.cache_clear()
    if source == "procedural":
        monkeypatch.setattr(_textures, "_published", tuple)
    try:
        assert frost_source() == source
        assert digest(corrupt(pinned_image(), "frost", 3)) == PINNED[f"frost, {source}"]
        assert len(_textures.frost_textures(32)) == 5
    finally:
        monkeypatch.undo()
        _textures.frost_textures.cache_clear()


def test_other_files_are_not_taken_for_the_published_textures(tmp_path, monkeypatch):
    (tmp_path / "imagecorruptions" / "frost").mkdir(parents=True)
    (tmp_path / "imagecorruptions" / "__init__.py").write_text("raise RuntimeError('must not be imported')")
    for name in _textures._PUBLISHED:
        (tmp_path / "imagecorruptions" / "frost" / name).write_bytes(b"not the picture")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    _textures._published.cache_clear()
    try:
        assert frost_source() == "procedural"
    finally:
        _textures._published.cache_clear()


# Severity 3, seed 0, `pinned_image`. Whoever changes one of these changes every regenerated benchmark made so far.
PINNED = {
    "brightness": "51bdb9c07d1aa64a",
    "contrast": "641bcd6767896ad4",
    "defocus_blur": "e331cf05329dbbae",
    "elastic_transform": "68fc0990812b6a7d",
    "fog": "02e4a8d9b1d5738e",
    "gaussian_noise": "cf039d2a50004ff6",
    "glass_blur": "d8c9cf310c4a36e8",
    "impulse_noise": "a3f85d4252dd1372",
    "motion_blur": "1c2df728cd925263",
    "pixelate": "f0f47a9f8c5dea96",
    "shot_noise": "2e2eb189967eeec0",
    "snow": "6723a433d2deb468",
    "zoom_blur": "9cdeae8877ac10ce",
    "speckle_noise": "4d711747d40ceed0",
    "gaussian_blur": "061a5b03f8a44fdb",
    "spatter": "9db217341ce6496b",
    "saturate": "80a95566b2cff5a6",
    "frost, published": "aec42e17f73c99d4",
    "frost, procedural": "04ee67718e1bdb14",
}
PINNED_JPEG = [
    [62.98, 135.02, 128.92, 142.39],
    [123.73, 150.4, 134.12, 113.15],
    [171.35, 108.72, 122.18, 131.05],
    [138.64, 118.18, 133.21, 127.52],
]


@pytest.mark.parametrize("name", sorted(set(PUBLISHED) - {"frost", "jpeg_compression"}))
def test_pinned_pixels(name):
    assert digest(corrupt(pinned_image(), name, 3)) == PINNED[name]


def test_pinned_jpeg():
    """Blocks of 8 x 8 pixels, mean levels: builds of libjpeg may differ in single pixels."""
    out = corrupt(pinned_image(), "jpeg_compression", 3).astype(float)
    means = out.reshape(4, 8, 4, 8, 3).mean(axis=(1, 3, 4))
    np.testing.assert_allclose(means, PINNED_JPEG, atol=1.0)
