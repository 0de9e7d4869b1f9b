"""The sparse engine gives PyTorch's logits on the benchmark's networks, for every density, batch and thread count."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.engine_cards import NETWORKS, SIZE, card
from benchmarks.engines import BATCHES, DENSITIES
from cards_deck.inference.engines import EngineKind, available, load
from cards_deck.inference.fake_deck import fake_images

pytestmark = pytest.mark.skipif(not available(EngineKind.SPARSE), reason="the sparse engine is not compiled")
CARDS = [(density, "none") for density in DENSITIES] + [(0.05, "binary")]


@pytest.mark.parametrize(("density", "values"), CARDS)
@pytest.mark.parametrize("network", NETWORKS)
def test_logits_are_those_of_pytorch(network: str, density: float, values: str) -> None:
    """Within 1e-3 of their range; the last batch is one image more than go through side by side."""
    made, images = card(network, density, values), fake_images(max(BATCHES) + 1, SIZE)
    expected = load(made, EngineKind.TORCH, image_size=SIZE)(images)
    for threads in (1, 2):
        engine = load(made, EngineKind.SPARSE, image_size=SIZE, threads=threads)
        for batch in (*BATCHES, len(images)):
            off = np.abs(engine(images[:batch]) - expected[:batch]).max()
            assert off <= 1e-3 * np.ptp(expected[:batch])
