"""Every augmentation by its registration; crop and flip, and Gaussian noise, in detail."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from tiny_training import one_thread, patterns, tensors  # noqa: F401  (the fixture acts by being here)
from torch import Tensor

from cards_deck.errors import InputError
from cards_deck.registry import describe
from cards_deck.training.augmentations import AUGMENTATIONS
from cards_deck.training.augmentations.augmix import AugMix
from cards_deck.training.augmentations.crop_flip import CropFlip
from cards_deck.training.augmentations.gaussian import Gaussian
from cards_deck.training.augmentations.medley import Medley
from cards_deck.training.augmentations.mixed import Mixed
from cards_deck.training.augmentations.prime import Prime


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def flat(value: int, n: int = 64, size: int = 32) -> Tensor:
    return torch.full((n, 3, size, size), value, dtype=torch.uint8)


@pytest.mark.parametrize("name", AUGMENTATIONS.names())
@pytest.mark.parametrize("size", [32, 50])
def test_every_augmentation_keeps_shape_and_type_and_its_input(name: str, size: int) -> None:
    images, _ = tensors(patterns(6, size))
    before = images.clone()
    answer = AUGMENTATIONS.build(name)(images, seeded())
    assert answer.dtype == torch.uint8
    assert answer.shape == images.shape
    assert not torch.equal(answer, images)
    assert torch.equal(images, before), "the training set itself must stay as it is"


@pytest.mark.parametrize("name", AUGMENTATIONS.names())
def test_every_augmentation_draws_from_its_generator_alone(name: str) -> None:
    images, _ = tensors(patterns(6))
    augmentation = AUGMENTATIONS.build(name)
    torch.manual_seed(1)
    first = augmentation(images, seeded(5))
    torch.manual_seed(2)
    assert torch.equal(first, augmentation(images, seeded(5)))
    assert not torch.equal(first, augmentation(images, seeded(6)))


@pytest.mark.parametrize("name", AUGMENTATIONS.names())
def test_every_augmentation_differs_from_image_to_image(name: str) -> None:
    image, _ = tensors(patterns(1))
    answer = AUGMENTATIONS.build(name)(image.expand(16, -1, -1, -1), seeded())
    assert len({row.numpy().tobytes() for row in answer}) > 8


@pytest.mark.parametrize("name", AUGMENTATIONS.names())
def test_every_augmentation_is_restored_from_its_record(name: str) -> None:
    augmentation = AUGMENTATIONS.build(name)
    assert AUGMENTATIONS.restore(describe(augmentation)) == augmentation


def crops(image: np.ndarray[Any, Any], pad: int) -> set[bytes]:
    """All crops of the image in a border that mirrors it (the edge itself not doubled), and their mirror images."""
    height, width, _ = image.shape
    padded = np.pad(image, ((pad, pad), (pad, pad), (0, 0)), mode="reflect")
    windows = [padded[i : i + height, j : j + width] for i in range(2 * pad + 1) for j in range(2 * pad + 1)]
    return {view.tobytes() for window in windows for view in (window, window[:, ::-1])}


@pytest.mark.parametrize(("size", "border", "pad"), [(32, 0.125, 4), (48, 0.125, 6), (32, 0.0, 0), (33, 0.07, 2)])
def test_crop_flip_gives_crops_of_the_mirrored_border(size: int, border: float, pad: int) -> None:
    data = patterns(1, size)
    images, _ = tensors(data)
    answers = CropFlip(border)(images.expand(400, -1, -1, -1), seeded()).permute(0, 2, 3, 1)
    found = {np.ascontiguousarray(answer).tobytes() for answer in answers}
    possible = crops(data.images[0], pad)
    assert found <= possible
    # 400 draws: of 162 crops nearly all come up, and both of two.
    assert len(found) > 0.85 * min(len(possible), 162)


def test_crop_flip_flips_half_and_shifts_evenly() -> None:
    ramp = torch.arange(32, dtype=torch.uint8).expand(4000, 3, 32, 32)
    answer = CropFlip()(ramp, seeded())
    flipped = answer[:, 0, 0, 15] > answer[:, 0, 0, 16]
    assert float(flipped.float().mean()) == pytest.approx(0.5, abs=0.03)
    middle = torch.where(flipped, answer[:, 0, 0, 15], answer[:, 0, 0, 16]).long() - 16
    shares = torch.bincount(middle + 4) / 4000
    assert len(shares) == 9
    assert shares.numpy() == pytest.approx(1 / 9, abs=0.025)


def noise_of(augmentation: Gaussian, value: int = 128, n: int = 64) -> np.ndarray[Any, Any]:
    """Noise in units of [0, 1] pixels on flat images, which crop and flip leave alone: [n, pixels]."""
    answer = augmentation(flat(value, n), seeded()).double().numpy().reshape(n, -1)
    return (answer - value) / 255


def test_gaussian_noise_has_the_standard_deviation_it_says() -> None:
    noise = noise_of(Gaussian(std=0.1))
    assert noise.std() == pytest.approx(0.1, rel=0.01)  # a variance of 0.1 would give 0.316
    assert noise.mean() == pytest.approx(0, abs=0.002)
    third, fourth = ((noise / noise.std()) ** 3).mean(), ((noise / noise.std()) ** 4).mean()
    assert third == pytest.approx(0, abs=0.05)
    assert fourth == pytest.approx(3, abs=0.1)
    assert np.abs(np.corrcoef(noise[0, :3072].reshape(3, 1024))[0, 1:]).max() < 0.15  # channels have their own


def test_gaussian_noise_is_clamped_where_pixels_end() -> None:
    """Half of the noise on black is cut off: a half-normal of mean std / sqrt(2 pi)."""
    for value, sign in ((0, 1), (255, -1)):
        noise = sign * noise_of(Gaussian(std=0.1), value)
        assert noise.min() == 0
        assert (noise == 0).mean() == pytest.approx(0.5, abs=0.02)
        assert noise.mean() == pytest.approx(0.1 / np.sqrt(2 * np.pi), rel=0.02)


def test_gaussian_noise_is_rounded_to_the_nearest_value() -> None:
    """With a standard deviation of half a grey level, |noise| < 1/2 level leaves 68 % of the pixels as they are."""
    noise = noise_of(Gaussian(std=0.5 / 255))
    assert (noise == 0).mean() == pytest.approx(0.6827, abs=0.01)  # rounding down would leave 95 % / 2
    assert noise.mean() == pytest.approx(0, abs=0.01 / 255)


def test_gaussian_noise_may_vary_from_image_to_image() -> None:
    """std ~ U(0, 0.1): mean 0.05, and the quartiles where they should be."""
    stds = noise_of(Gaussian(std=0.1, vary=True), n=400).std(axis=1)
    assert stds.max() <= 0.103
    assert np.quantile(stds, [0.25, 0.5, 0.75]) == pytest.approx([0.025, 0.05, 0.075], abs=0.009)
    assert noise_of(Gaussian(std=0.1)).std(axis=1).min() > 0.095


@pytest.mark.parametrize("over", [name for name in AUGMENTATIONS.names() if name not in ("gaussian", "noisymix")])
def test_gaussian_noise_goes_over_another_augmentation(over: str) -> None:
    images, _ = tensors(patterns(8))
    assert torch.equal(Gaussian(std=0, over=over)(images, seeded()), AUGMENTATIONS.build(over)(images, seeded()))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Gaussian(std=1.5), "`std` is in units of"),
        (lambda: Gaussian(std=-0.1), "`std` is in units of"),
        (lambda: Gaussian(over="gaussian"), "another augmentation"),
        (lambda: Gaussian(over="fog"), "another augmentation"),
        (lambda: CropFlip(border=-0.1), "`border`"),
        (lambda: CropFlip(border=1.0), "`border`"),
    ],
)
def test_impossible_settings_are_refused(make: Callable[[], object], says: str) -> None:
    with pytest.raises(InputError, match=says):
        make()


def test_mixed_takes_turns() -> None:
    images, _ = tensors(patterns(6))
    noise, crop = Gaussian(std=0.2), CropFlip()
    answer = Mixed((crop, noise))(images, seeded(3))
    generator = seeded(3)
    assert torch.equal(answer[::2], crop(images[::2], generator))
    assert torch.equal(answer[1::2], noise(images[1::2], generator))
    assert AUGMENTATIONS.restore({"name": "mixed", "of": [describe(crop), describe(noise)]}) == Mixed((crop, noise))
    assert Mixed((crop, noise))(images[:1], seeded(3)).shape == images[:1].shape
    with pytest.raises(InputError, match="two or more"):
        Mixed((crop,))


def test_a_medley_is_augmix_noise_and_prime_in_turns() -> None:
    images, generator = tensors(patterns(9))[0], seeded(3)
    found = Medley()(images, seeded(3))
    for turn, each in enumerate((AugMix(), Gaussian(vary=True, over="augmix"), Prime())):
        assert torch.equal(found[turn::3], each(images[turn::3], generator))
    assert describe(Medley())["name"] == "medley"
