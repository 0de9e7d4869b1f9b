"""An engine that answers from pixel statistics at once: for tests of everything around a card."""

from __future__ import annotations

import numpy as np

from cards_deck.card import Card
from cards_deck.shapes import output_classes
from cards_deck.spectrum import Floats, Images


class FakeRunner:
    """Logits = a fixed random matrix, drawn from the card's id, times each channel's mean, spread and corner pixel."""

    def __init__(self, card: Card, classes: int) -> None:
        rng = np.random.default_rng(int(card.id, 16))
        self._matrix = rng.normal(0, 4, (9, classes)).astype(np.float32)

    def __call__(self, images: Images) -> Floats:
        """Logits float32 [n, classes] of uint8 [n, h, h, 3]."""
        pixels = np.ascontiguousarray(images, np.float32) / 255
        statistics = np.concatenate([pixels.mean((1, 2)), pixels.std((1, 2)), pixels[:, 0, 0]], axis=1)
        # A sum per row instead of a matrix product: rounding does not depend on the batch.
        return np.asarray((statistics[:, :, None] * self._matrix).sum(axis=1), np.float32)


def load(card: Card, *, image_size: int, threads: int) -> FakeRunner:
    """A runner with the card's number of classes; its weights are not used."""
    return FakeRunner(card, output_classes(card.graph, card.shapes, image_size))
