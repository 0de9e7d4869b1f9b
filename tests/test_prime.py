"""PRIME: which transformations the chains hold, and that views are AugMix's; the mixing itself is in test_augmix."""

from __future__ import annotations

import re

import pytest
import torch
from tiny_training import one_thread, patterns, tensors  # noqa: F401  (the fixture acts by being here)
from torch import Tensor

from cards_deck.errors import InputError
from cards_deck.training.augmentations.crop_flip import CropFlip
from cards_deck.training.augmentations.prime import Prime
from cards_deck.training.augmentations.primitives import filtered, recoloured, warped


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Counted(Prime):
    """Transforms nothing and counts what each image, known by its first pixel, would have gone through."""

    counts = torch.zeros(3, 65536, dtype=torch.int64)

    def _transform(self, index: int, images: Tensor, generator: torch.Generator) -> Tensor:
        self.counts[index, images[:, 0, 0, 0].long() + 256 * images[:, 1, 0, 0].long()] += 1
        return images


def test_chains_are_one_to_depth_long_and_of_all_three_transformations() -> None:
    images = torch.zeros(3000, 3, 32, 32, dtype=torch.uint8)
    images[:, 0, 0, 0], images[:, 1, 0, 0] = torch.arange(3000) % 256, torch.arange(3000) // 256
    prime = Counted(depth=3)
    prime.counts.zero_()
    prime.run_chains(images.clone(), seeded())
    lengths = torch.bincount(prime.counts[:, :3000].sum(0), minlength=4) / 3000
    assert lengths.numpy() == pytest.approx([0, 1 / 3, 1 / 3, 1 / 3], abs=0.03)
    assert (prime.counts.sum(1) / prime.counts.sum()).numpy() == pytest.approx([1 / 3] * 3, abs=0.02)


def test_without_transformations_the_mixture_is_the_image() -> None:
    images = tensors(patterns(16))[0]
    prime = Counted(width=2)
    assert (prime.mix(images, seeded()).int() - images.int()).abs().max() <= 1
    assert torch.equal(prime(images, seeded(1)), prime.mix(CropFlip()(images, (same := seeded(1))), same))


def test_views_are_the_clean_one_and_two_mixtures() -> None:
    images = tensors(patterns(16))[0]
    clean, once, again = Prime(jsd=True).views(images, seeded(2))
    assert torch.equal(clean, CropFlip()(images, seeded(2)))
    assert len({view.numpy().tobytes() for view in (clean, once, again)}) == 3


def test_each_transformation_is_a_primitive_at_the_strength_that_was_asked_for() -> None:
    images, prime = tensors(patterns(8))[0], Prime(filter_strength=0.3, color_strength=0.02, waves=7)
    assert torch.equal(prime._transform(0, images, seeded(3)), filtered(images, 0.3, seeded(3)))
    assert torch.equal(prime._transform(1, images, seeded(3)), recoloured(images, 0.02, 7, seeded(3)))
    assert torch.equal(prime._transform(2, images, seeded(3)), warped(images, 7, seeded(3)))


def test_defaults_are_the_published_ones_for_cifar() -> None:
    """`config/cifar10_cfg.py` of the public code; the consistency loss has to be asked for."""
    assert Prime() == Prime(width=3, depth=3, filter_strength=4.0, color_strength=0.01, waves=100, jsd=False)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"width": 0}, "`width` and `depth` must be at least 1"),
        ({"waves": 2}, "`waves` at least 3, got 3, 3, 2"),
        ({"filter_strength": -1.0}, "`filter_strength` must lie in [0, 100]"),
        ({"color_strength": 2.0}, "`color_strength` in [0, 1]"),
    ],
)
def test_settings_out_of_range_are_refused(fields: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        Prime(**fields)  # type: ignore[arg-type]
