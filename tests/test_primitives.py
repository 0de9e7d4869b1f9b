"""PRIME's three transformations, each replayed with SciPy and plain loops from the same random numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage
from tiny_training import one_thread, patterns, tensors  # noqa: F401  (the fixture acts by being here)
from torch import Tensor

from cards_deck.training.augmentations.primitives import filtered, recoloured, warped

Doubles = NDArray[np.float64]


def seeded(seed: int = 3) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(n: int = 12, size: int = 32) -> Tensor:
    return tensors(patterns(n, size))[0]


def uniform(*shape: int, generator: torch.Generator) -> Doubles:
    return torch.rand(*shape, generator=generator).double().numpy()


def normal(*shape: int, generator: torch.Generator) -> Doubles:
    return torch.randn(*shape, generator=generator).double().numpy()


def close(found: Tensor, wanted: Doubles) -> None:
    """Equal after rounding, but for the few values that lie at a half."""
    off = np.abs(found.numpy().astype(np.float64) - wanted.clip(0, 255).round())
    assert off.max() <= 1
    assert (off > 0).mean() < 0.01


def test_filters_are_the_identity_and_normal_weights() -> None:
    data, generator = images(), seeded()
    deviation, weights = uniform(12, generator=generator), normal(12, 3, 3, generator=generator)
    kernels = deviation[:, None, None] * 0.5 * weights + np.eye(3)[1][:, None] * np.eye(3)[1]
    wanted = [
        [ndimage.correlate(channel.astype(np.float64), kernel, mode="constant") for channel in image]
        for image, kernel in zip(data.numpy(), kernels, strict=True)
    ]
    close(filtered(data, 0.5, seeded()), np.array(wanted))


def test_values_are_moved_by_sines() -> None:
    data, generator, waves, strength = images(), seeded(), 9, 0.02
    most = torch.randint(1, waves + 1, (12,), generator=generator).numpy()
    variance, weights = strength * uniform(12, generator=generator), normal(12, 3, waves, generator=generator)
    wanted = np.zeros(data.shape)
    for row in range(12):
        for channel in range(3):
            value = data[row, channel].double().numpy() / 255
            moved = value.copy()
            for k in range(1, most[row] + 1):
                moved += np.sqrt(variance[row]) * weights[row, channel, k - 1] * np.sin(np.pi * k * value)
            wanted[row, channel] = 255 * moved
    close(recoloured(data, strength, waves, seeded()), wanted)
    assert set(most) > {1, waves} or len(set(most)) > 4, "several orders were drawn"


@pytest.mark.parametrize(("waves", "size"), [(6, 32), (40, 32), (12, 48)])
def test_pixels_are_moved_along_a_field_of_sines(waves: int, size: int) -> None:
    n = 8
    data, generator = images(n, size), seeded()
    bound = torch.randint(3, waves + 1, (n,), generator=generator).numpy()
    cuts = np.sin(np.pi / 2 * uniform(n, generator=generator)) ** 2
    cut = np.minimum(2 + np.floor(cuts * (bound - 1)), bound)
    heat = np.sin(np.pi / 2 * uniform(n, generator=generator)) ** 2
    weights = normal(n, 2, waves, waves, generator=generator)
    place = np.arange(size) / (size - 1)
    wanted = np.zeros(data.shape)
    for row in range(n):
        least = 1 / (np.pi * size**2 * np.log(cut[row]))
        most = max(least, 4 / (np.pi**3 * cut[row] ** 2 * np.log(cut[row])))
        field = np.zeros((2, size, size))
        for j in range(1, waves + 1):
            for i in range(1, waves + 1):
                if (length := np.hypot(i, j)) <= cut[row] + 0.5:
                    wave = np.outer(np.sin(np.pi * j * place), np.sin(np.pi * i * place))
                    field += weights[row, :, j - 1, i - 1][:, None, None] * wave / length
        shift = np.sqrt(least + heat[row] * (most - least)) * size * field
        source = [np.arange(size)[:, None] - shift[1], np.arange(size) - shift[0]]
        for channel in range(3):
            pixels = data[row, channel].double().numpy()
            wanted[row, channel] = ndimage.map_coordinates(pixels, source, order=1, mode="nearest")
    found = warped(data, waves, seeded())
    close(found, wanted)
    assert not torch.equal(found, data)


def test_no_strength_changes_nothing_and_warps_leave_the_border_alone() -> None:
    data = images(40)
    assert torch.equal(filtered(data, 0.0, seeded()), data)
    assert torch.equal(recoloured(data, 0.0, 50, seeded()), data)
    found = warped(data, 100, seeded())
    for edge in (0, -1):
        assert torch.equal(found[:, :, edge], data[:, :, edge])
        assert torch.equal(found[..., edge], data[..., edge])


@pytest.mark.parametrize("transform", ["filtered", "recoloured", "warped"])
def test_images_draw_for_themselves_and_an_empty_batch_is_no_error(transform: str) -> None:
    def apply(batch: Tensor) -> Tensor:
        if transform == "filtered":
            return filtered(batch, 0.2, seeded())
        return recoloured(batch, 0.01, 100, seeded()) if transform == "recoloured" else warped(batch, 100, seeded())

    same = images(1).expand(30, -1, -1, -1)
    assert len({row.numpy().tobytes() for row in apply(same)}) == 30
    assert apply(images()[:0]).shape == (0, 3, 32, 32)
