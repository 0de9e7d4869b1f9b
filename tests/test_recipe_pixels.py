"""The released cards were trained on exactly these pixels: a change that moves one makes the recipe another recipe."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
import torch
from tiny_training import one_thread  # noqa: F401  (the fixture acts by being here)
from torch import Tensor

from cards_deck.training.augmentations import AUGMENTATIONS

PIXELS: tuple[tuple[str, dict[str, Any], str], ...] = (
    ("crop_flip", {}, "00ed533ad769d46e5a18ff5081d68fda2be73e10a60b7bc58b8e17e698608f5e"),
    (
        "gaussian",
        {"std": 0.1, "vary": True, "over": "augmix"},
        "376018f9e24be8ced60f8fa8c4a5a5968613ed66c4bbd8d1e790a650dc964bf1",
    ),
    ("augmix", {}, "a9e29e32108b5f16d7ded8ed3e17c7dd1b860f0c0db6f385636c0bc00fcaa09f"),
)


def batch() -> Tensor:
    """uint8 [64, 3, 32, 32] by integer arithmetic: ramps of several slopes, some of them wrapping, no two alike."""
    k, c = torch.arange(64).view(-1, 1, 1, 1), torch.arange(3).view(1, 3, 1, 1)
    y, x = torch.arange(32).view(1, 1, 32, 1), torch.arange(32).view(1, 1, 1, 32)
    return ((x * (1 + k % 5) + y * (1 + k % 3) + 40 * c + 3 * k + (x * y * (k % 4)) // 8) % 256).to(torch.uint8)


@pytest.mark.skipif(
    torch.backends.cpu.get_cpu_capability() not in ("AVX2", "AVX512"),
    reason="pinned on x86 with AVX2: another kind of processor sums in another order and may round a pixel differently",
)
@pytest.mark.parametrize(("name", "fields", "expected"), PIXELS, ids=[name for name, _, _ in PIXELS])
def test_the_pixels_of_the_released_recipe_are_pinned(name: str, fields: dict[str, Any], expected: str) -> None:
    pixels = AUGMENTATIONS.build(name, **fields)(batch(), torch.Generator().manual_seed(7))
    assert hashlib.sha256(pixels.contiguous().numpy().tobytes()).hexdigest() == expected
