"""AugMix: the mixing against the published algorithm, replayed with Pillow's operations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from test_operations import Pixels, pillow
from tiny_training import one_thread, patterns, tensors  # noqa: F401  (the fixture acts by being here)
from torch import Tensor

from cards_deck.errors import InputError
from cards_deck.training.augmentations import augmix as module
from cards_deck.training.augmentations.augmix import AugMix
from cards_deck.training.augmentations.crop_flip import CropFlip
from cards_deck.training.augmentations.operations import OPERATIONS


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Draws:
    """The random numbers of one `mix`, drawn again in its order."""

    def __init__(self, augmix: AugMix, n: int, generator: torch.Generator) -> None:
        m = augmix.width * n
        self.length = torch.randint(1, augmix.depth + 1, (m,), generator=generator).numpy()
        self.steps: list[tuple[NDArray[Any], ...]] = []
        for _ in range(augmix.depth):
            operation = torch.randint(0, len(OPERATIONS), (m,), generator=generator).numpy()
            level = 0.1 + (augmix.severity - 0.1) * torch.rand(m, generator=generator).numpy()
            sign = np.where(torch.rand(m, generator=generator).numpy() < 0.5, -1.0, 1.0)
            self.steps.append((operation, level, sign))
        exponential = -np.log(torch.rand(augmix.width, n, generator=generator).double().numpy())
        self.weights = exponential / exponential.sum(0)
        self.share = torch.rand(n, generator=generator).double().numpy()


def published_augmix(images: Pixels, augmix: AugMix, generator: torch.Generator) -> Pixels:
    """`augment_and_mix` of google-research/augmix, image by image with Pillow, from the same random numbers."""
    n = len(images)
    draws, answers = Draws(augmix, n, generator), []
    for row, image in enumerate(images):
        mix = np.zeros(image.shape)
        for chain in range(augmix.width):
            augmented, index = image, chain * n + row
            for operation, level, sign in draws.steps[: draws.length[index]]:
                augmented = pillow(OPERATIONS[operation[index]], augmented, float(level[index]), float(sign[index]))
            mix += draws.weights[chain, row] * augmented
        answers.append((1 - draws.share[row]) * image + draws.share[row] * mix)
    return np.stack(answers).round().astype(np.uint8)


@pytest.mark.parametrize(
    "augmix", [AugMix(), AugMix(width=1, depth=1), AugMix(width=2, depth=4, severity=8.0)], ids=lambda a: f"{a.width}"
)
def test_mixing_is_the_published_algorithm(augmix: AugMix) -> None:
    """A chain's grey level off by one may fall on the other side of a threshold, so a few pixels may be off by more."""
    data = patterns(48)
    wanted = published_augmix(data.images, augmix, seeded(7)).astype(np.int64)
    found = augmix.mix(tensors(data)[0], seeded(7)).permute(0, 2, 3, 1).numpy()
    off = np.abs(found - wanted)
    assert (off > 1).mean() < 0.05
    assert off.mean() < 0.3


def test_chains_are_one_to_depth_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Count the operations that each image goes through."""
    counts = torch.zeros(3000, dtype=torch.int64)

    def count(images: Tensor, *rest: Tensor) -> Tensor:
        counts[images[:, 0, 0, 0].long() + 256 * images[:, 1, 0, 0].long()] += 1
        return images

    monkeypatch.setattr(module, "look_up_table", lambda images, operation, level: images)
    monkeypatch.setattr(module, "apply_table", count)
    monkeypatch.setattr(module, "affine", count)
    names = torch.arange(3000)
    images = torch.stack((names % 256, names // 256, names * 0), dim=1).to(torch.uint8)[:, :, None, None]
    AugMix(depth=3).run_chains(images, seeded())
    assert (torch.bincount(counts)[1:] / 3000).numpy() == pytest.approx(1 / 3, abs=0.03)
    assert counts.min() == 1
    assert counts.max() == 3


def test_severity_bounds_the_levels(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Tensor] = []

    def see(images: Tensor, operation: Tensor, level: Tensor, *rest: Tensor) -> Tensor:
        seen.append(level)
        return images

    monkeypatch.setattr(module, "affine", see)
    AugMix(severity=3.0, depth=1).run_chains(torch.zeros(4000, 3, 4, 4, dtype=torch.uint8), seeded())
    levels = torch.cat(seen)
    assert float(levels.min()) >= 0.1
    assert float(levels.max()) <= 3.0
    assert torch.quantile(levels, torch.tensor([0.25, 0.5, 0.75])).numpy() == pytest.approx(
        [0.825, 1.55, 2.275], abs=0.08
    )


def mixed_with(monkeypatch: pytest.MonkeyPatch, chains: list[Tensor], image: Tensor) -> NDArray[np.float64]:
    """`mix` where the chains are known."""
    monkeypatch.setattr(AugMix, "run_chains", lambda self, images, generator: torch.cat(chains))
    return AugMix(width=len(chains)).mix(image, seeded()).double().numpy()


def test_a_pixel_lies_between_the_image_and_its_chains(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = seeded(2)
    image, *chains = (torch.randint(0, 256, (50, 3, 8, 8), dtype=torch.uint8, generator=generator) for _ in range(4))
    mixed = mixed_with(monkeypatch, chains, image)
    corners = torch.stack((image, *chains)).double().numpy()
    assert (mixed >= corners.min(0) - 0.5).all()
    assert (mixed <= corners.max(0) + 0.5).all()


def test_weights_are_dirichlet_and_the_share_is_uniform(monkeypatch: pytest.MonkeyPatch) -> None:
    """On black, chains of one value v each: share * sum(w v). Dirichlet(1, 1, 1): mean 1/3, variance 1/18."""
    n = 20_000
    black = torch.zeros(n, 3, 1, 1, dtype=torch.uint8)
    chains = [torch.full_like(black, 0) for _ in range(3)]
    for channel, chain in enumerate(chains):
        chain[:, channel] = 255
    mixed = mixed_with(monkeypatch, chains, black)[:, :, 0, 0] / 255
    share = mixed.sum(1)
    assert np.quantile(share, [0.1, 0.5, 0.9]) == pytest.approx([0.1, 0.5, 0.9], abs=0.015)
    weights = mixed[share > 0.5] / share[share > 0.5, None]
    assert weights.mean(0) == pytest.approx(1 / 3, abs=0.01)
    assert weights.var(0) == pytest.approx(1 / 18, abs=0.003)
    assert np.corrcoef(weights.T)[0, 1] == pytest.approx(-0.5, abs=0.03)


def test_what_the_chains_leave_alone_stays() -> None:
    """Black has no darker neighbour outside: every operation of severity 3 maps it to itself."""
    black = torch.zeros(64, 3, 32, 32, dtype=torch.uint8)
    assert not AugMix().mix(black, seeded()).any()


def test_one_operation_on_a_flat_image() -> None:
    """160 is a multiple of 32 (posterize) and below 180 (solarize): only the black that moves in changes pixels."""
    grey = torch.full((256, 3, 32, 32), 160, dtype=torch.uint8)
    mixed = AugMix(depth=1).mix(grey, seeded())
    assert mixed.max() == 160
    assert mixed.min() < 160
    assert (mixed[:, :, 8:24, 8:24] == 160).all()


def test_a_call_crops_and_flips_first_and_views_share_the_clean_one() -> None:
    images, _ = tensors(patterns(16))
    generator = seeded(4)
    clean = CropFlip()(images, generator)
    wanted = AugMix().mix(clean, generator)
    assert torch.equal(AugMix()(images, seeded(4)), wanted)
    first, once, again = AugMix().views(images, seeded(4))
    assert torch.equal(first, clean)
    assert torch.equal(once, wanted)
    assert not torch.equal(again, once)


def test_mix_leaves_its_input_as_it_is() -> None:
    """The chains write in place, on copies."""
    for width in (1, 3):
        images, _ = tensors(patterns(16))
        before = images.clone()
        AugMix(width=width).mix(images, seeded())
        assert torch.equal(images, before)


@pytest.mark.parametrize("fields", [{"width": 0}, {"depth": 0}, {"severity": 0.0}, {"severity": 11.0}])
def test_impossible_settings_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="augmix: `width` and `depth`"):
        AugMix(**fields)
