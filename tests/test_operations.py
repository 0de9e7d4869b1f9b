"""AugMix's operations against Pillow's."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from tiny_training import one_thread, patterns  # noqa: F401  (the fixture acts by being here)

from cards_deck.corruptions import CORRUPTIONS
from cards_deck.training.augmentations.operations import OPERATIONS, TABLES, affine, apply_table, look_up_table

LEVELS = (0.1, 0.5, 1.234, 2.2, 2.95, 3.0, 7.77, 9.99)
Pixels = NDArray[np.uint8]


def samples(size: int) -> Pixels:
    """uint8 [6, size, size, 3]: noise, photograph-like, low contrast, two values, one value, nearly empty."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (size, size, 3))
    smooth = patterns(1, size).images[0]
    low = 100 + smooth // 8
    two = np.where(noise > 127, 200, 31)
    one = np.full((size, size, 3), 77)
    one[..., 1] = noise[..., 1]
    nearly = np.zeros((size, size, 3))
    nearly[0, 0] = 255
    return np.stack([noise, smooth, low, two, one, nearly]).astype(np.uint8)


def pillow(operation: str, image: Pixels, level: float, sign: float) -> Pixels:
    """The operation as google-research/augmix `augmentations.py` has it, `level` being what `sample_level` draws."""
    picture, side = Image.fromarray(image), image.shape[0]

    def moved(*matrix: float) -> Image.Image:
        return picture.transform((side, side), Image.Transform.AFFINE, matrix, resample=Image.Resampling.BILINEAR)

    shear, shift = sign * level * 0.3 / 10, sign * int(level * (side / 3) / 10)
    match operation:
        case "autocontrast":
            answer = ImageOps.autocontrast(picture)
        case "equalize":
            answer = ImageOps.equalize(picture)
        case "posterize":
            answer = ImageOps.posterize(picture, 4 - int(level * 4 / 10))
        case "solarize":
            answer = ImageOps.solarize(picture, 256 - int(level * 256 / 10))
        case "rotate":
            answer = picture.rotate(sign * int(level * 30 / 10), resample=Image.Resampling.BILINEAR)
        case "shear_x":
            answer = moved(1, shear, 0, 0, 1, 0)
        case "shear_y":
            answer = moved(1, 0, 0, shear, 1, 0)
        case "translate_x":
            answer = moved(1, 0, shift, 0, 1, 0)
        case _:
            answer = moved(1, 0, 0, 0, 1, shift)
    return np.asarray(answer)


def ours(operation: str, images: Pixels, level: float, sign: float) -> Pixels:
    """The batched operation, every image with the same level and sign."""
    batch = torch.from_numpy(images.transpose(0, 3, 1, 2).copy())
    which = torch.full((len(batch),), OPERATIONS.index(operation))
    levels, signs = torch.full((len(batch),), level), torch.full((len(batch),), sign)
    if OPERATIONS.index(operation) < TABLES:
        answer = apply_table(batch, look_up_table(batch, which, levels))
    else:
        answer = affine(batch, which, levels, signs)
    return answer.permute(0, 2, 3, 1).numpy()


def differences(operation: str, size: int) -> NDArray[np.int64]:
    """ours - Pillow's, over all samples, levels and signs."""
    images, found = samples(size), []
    for level in LEVELS:
        for sign in (-1.0, 1.0):
            wanted = np.stack([pillow(operation, image, level, sign) for image in images])
            found.append(ours(operation, images, level, sign).astype(np.int64) - wanted)
    return np.stack(found)


@pytest.mark.parametrize("size", [32, 47])
@pytest.mark.parametrize("operation", ["equalize", "posterize", "solarize", "translate_x", "translate_y"])
def test_operations_that_equal_pillows(operation: str, size: int) -> None:
    assert not differences(operation, size).any()


@pytest.mark.parametrize("size", [32, 47])
@pytest.mark.parametrize("operation", ["rotate", "shear_x", "shear_y"])
def test_operations_within_one_of_pillows(operation: str, size: int) -> None:
    """Pillow cuts the interpolated value off where ours rounds it: one grey level."""
    found = differences(operation, size)
    assert np.abs(found).max() == 1
    assert (found != 0).mean() < 0.5


def test_autocontrast_is_within_one_of_pillows() -> None:
    """Every fourth of the 32,640 pairs of darkest and brightest value, and every value between them.

    PyTorch divides a number by a tensor as number * (1 / tensor), which rounds twice, so that a product that should be
    a whole number may fall just below it. No entry is off by more than one, and one in 300 is off at all.
    """
    low, high = (side[np.triu_indices(256, 1)][::4] for side in np.meshgrid(range(256), range(256), indexing="ij"))
    ends = torch.from_numpy(np.stack([low, high], axis=1).astype(np.uint8)).view(-1, 3, 1, 2)  # a pair a channel
    which = torch.zeros(len(ends), dtype=torch.int64)
    table = look_up_table(ends, which, torch.ones(len(ends))).view(-1, 256).long().numpy()
    values = np.arange(256)
    between = (values >= low[:, None]) & (values <= high[:, None])

    def stretched(scale: NDArray[np.float64]) -> NDArray[np.int64]:
        return (values * scale[:, None] + (-low * scale)[:, None]).astype(np.int64).clip(0, 255)

    off = np.abs(table - stretched(255.0 / (high - low)))[between]  # ImageOps.autocontrast
    assert off.max() <= 1
    assert off.mean() < 1 / 300
    assert np.abs(differences("autocontrast", 32)).max() <= 1


def test_a_channel_of_one_value_is_left_alone() -> None:
    grey = np.full((1, 32, 32, 3), 77, np.uint8)
    for operation in ("autocontrast", "equalize"):
        assert np.array_equal(ours(operation, grey, 3.0, 1.0), grey)


def test_each_image_has_its_own_operation_and_level() -> None:
    """A batch of everything gives what each image gives alone."""
    images = samples(32)[np.arange(24) % 6]
    batch = torch.from_numpy(images.transpose(0, 3, 1, 2).copy())
    generator = torch.Generator().manual_seed(3)
    level = 0.1 + 9 * torch.rand(24, generator=generator)
    sign = torch.where(torch.rand(24, generator=generator) < 0.5, -1.0, 1.0)
    for low, high in ((0, TABLES), (TABLES, len(OPERATIONS))):
        operation = torch.randint(low, high, (24,), generator=generator)
        if low:
            together = affine(batch, operation, level, sign)
        else:
            together = apply_table(batch, look_up_table(batch, operation, level))
        for row in range(24):
            alone = ours(OPERATIONS[operation[row]], images[row : row + 1], float(level[row]), float(sign[row]))
            assert np.array_equal(together[row].permute(1, 2, 0).numpy(), alone[0])


def test_the_list_is_the_published_one_and_shares_nothing_with_the_corruptions() -> None:
    published = {"autocontrast", "equalize", "posterize", "rotate", "solarize"}
    published |= {"shear_x", "shear_y", "translate_x", "translate_y"}
    assert set(OPERATIONS) == published
    assert not set(OPERATIONS) & set(CORRUPTIONS)
    # What `augmentations_all` adds overlaps with CIFAR-10-C's brightness, contrast, saturate and blur-like sharpness.
    assert not set(OPERATIONS) & {"color", "contrast", "brightness", "sharpness"}


def test_rotation_is_about_the_middle() -> None:
    """A dot in the middle of an odd side stays where it is, and a dot to its right goes up when turned left."""
    image = np.zeros((1, 33, 33, 3), np.uint8)
    image[0, 16, 16] = 255
    assert ours("rotate", image, 3.0, 1.0)[0, 16, 16, 0] == 255
    aside = np.zeros((1, 33, 33, 3), np.uint8)
    aside[0, 16, 26] = 255
    where = np.unravel_index(ours("rotate", aside, 9.99, 1.0)[0, ..., 0].argmax(), (33, 33))
    angle = math.radians(29)
    assert tuple(int(i) for i in where) == (round(16 - 10 * math.sin(angle)), round(16 + 10 * math.cos(angle)))
