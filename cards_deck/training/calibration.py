"""Ranges of activations, found by running a card on images: what int8 engines round to."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from cards_deck.card import Card
from cards_deck.inference.engines.torch import TorchNetwork
from cards_deck.spectrum import Floats, Images

READERS = ("conv2d", "add", "max_pool", "avg_pool", "global_avg_pool", "flatten")
BATCH, SAMPLE = 100, 50_000  # images at a time, values looked at of each activation and batch


def activation_ranges(card: Card, images: Images, share: float = 1.0) -> dict[str, tuple[float, float]]:
    """(lowest, highest) of each value of the graph that a convolution, a sum or a pool reads, over `images`.

    Args:
        card: computes in float, with its own (quantized) weights.
        images: uint8 [n, h, h, 3].
        share: share of the values inside the range; half of the others lie beyond each end. Values that are never
            negative (after ReLU) have the range's low end at 0 exactly. The range holds 0 always, the padding's value.
    """
    network = TorchNetwork(card)
    wanted = dict.fromkeys(name for node in card.graph.nodes if node.op in READERS for name in node.inputs)
    seen: dict[str, list[Floats]] = {name: [] for name in wanted}
    generator = np.random.default_rng(0)
    with torch.inference_mode():
        for start in range(0, len(images), BATCH):
            planes = torch.from_numpy(np.array(images[start : start + BATCH])).permute(0, 3, 1, 2).float().div(255)
            for name, value in network.values(planes).items():
                if name in seen:
                    flat = value.flatten().numpy()
                    seen[name].append(_extremes(flat[generator.integers(0, len(flat), SAMPLE)], flat))
    return {name: _range(np.concatenate(found), share) for name, found in seen.items()}


def _extremes(sample: Floats, values: Floats) -> Floats:
    """A sample with the true ends, so that a share of 1 misses nothing."""
    return np.concatenate([sample, [values.min(), values.max()]]).astype(np.float32)


def _range(values: NDArray[np.float32], share: float) -> tuple[float, float]:
    low, high = np.quantile(values, [(1 - share) / 2, (1 + share) / 2])
    return float(min(low, 0.0)), float(max(high, 0.0))
