"""Gates: which cards answer an image, and with what weight. An image is routed by its own pixels alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cards_deck.deck import Deck, GateConfig
from cards_deck.errors import InputError
from cards_deck.spectrum import Floats, Images, References, check_images, distances, log_amplitude


@dataclass(frozen=True, eq=False)
class Routing:
    """Rows are images. `weights` float32 [n, k] over the deck's cards, rows sum to 1, 0 = the card does not run.

    `distances` float32 [n, a] to the references; `unknown` bool [n]: farther from all of them than the training images
    are; `choice` int64 [n]: index of the nearest augmentation, -1 where the gate does not choose.
    """

    weights: Floats
    distances: Floats
    unknown: NDArray[np.bool_]
    choice: NDArray[np.int64]


class Gate(Protocol):
    """Anything that routes images."""

    def route(self, images: Images) -> Routing:
        """Routing of uint8 [n, h, h, 3], each row independent of the others."""


class SpectralGate:
    """Routes to the cards of the augmentation whose reference spectrum is nearest (CARD-Decks, Diffenderfer et al.,
    NeurIPS 2021, for one image at a time and with log-ratio distances).

    The first `max_cards` cards of the nearest augmentation, in deck order, share the answer equally. Where the relative
    margin (d2 - d1) / d1 is below `margin`, the first card of the second nearest augmentation takes one of the
    `max_cards` places (the last one, if all are taken), again with equal weights; never with `max_cards` 1.
    `augmentations` names the augmentation of each card.
    """

    def __init__(self, references: References, augmentations: Sequence[str], config: GateConfig) -> None:
        self.references = references
        self.config = config
        self.unknown_distance = references.distance_at(config.unknown_quantile)
        self._tables(tuple(augmentations))

    @classmethod
    def from_deck(cls, deck: Deck) -> SpectralGate:
        """The gate with the deck's references and parameters."""
        return cls(deck.references, [card.augmentation for card in deck.cards], deck.gate)

    def _tables(self, augmentations: tuple[str, ...]) -> None:
        """Rows of weights for each nearest augmentation, alone and with each second one: routing is then a look-up."""
        names, most = self.references.augmentations, self.config.max_cards
        cards = [[k for k, name in enumerate(augmentations) if name == wanted] for wanted in names]
        for name, found in zip(names, cards, strict=True):
            if not found:
                raise InputError(f"no card was trained under {name!r}: the gate could choose none")
        shape = (len(names), len(augmentations))
        self._alone = np.zeros(shape, np.float32)
        self._mixed = np.zeros((len(names), *shape), np.float32)
        for first in range(len(names)):
            self._alone[first] = _equal(cards[first][:most], len(augmentations))
            for second in range(len(names)):
                chosen = cards[first][:most]
                if most > 1 and second != first:
                    chosen = [*cards[first][: most - 1], cards[second][0]]
                self._mixed[first, second] = _equal(chosen, len(augmentations))

    def route(self, images: Images) -> Routing:
        """Routing of uint8 [n, h, h, 3]; InputError for another size than the references'."""
        check_images(images, self.references.image_size)
        return self.route_distances(distances(log_amplitude(images), self.references.log_amplitude))

    def route_distances(self, found: Floats) -> Routing:
        """Routing from distances [n, a]: studies of gates need no images."""
        order = np.argsort(found, axis=1, kind="stable")
        first, second = order[:, 0], order[:, min(1, found.shape[1] - 1)]
        rows = np.arange(len(found))
        nearest, next_one = found[rows, first], found[rows, second]
        close = (next_one - nearest) < self.config.margin * nearest
        weights = np.where(close[:, None], self._mixed[first, second], self._alone[first])
        return Routing(weights, found, nearest > self.unknown_distance, first.astype(np.int64))


def _equal(chosen: list[int], cards: int) -> Floats:
    row = np.zeros(cards, np.float32)
    row[chosen] = 1 / len(chosen)
    return row


class UniformGate:
    """Every card answers every image with the same weight: the plain average of all. Distances are given as zeros."""

    def __init__(self, cards: int, augmentations: int) -> None:
        self.cards, self.augmentations = cards, augmentations

    def route(self, images: Images) -> Routing:
        """Equal weights for each image of uint8 [n, h, h, 3]."""
        count = len(images)
        weights = np.full((count, self.cards), 1 / self.cards, np.float32)
        nothing = np.zeros((count, self.augmentations), np.float32)
        return Routing(weights, nothing, np.zeros(count, np.bool_), np.full(count, -1, np.int64))


def gate_for(deck: Deck) -> Gate:
    """The gate that the deck asks for by `deck.gate.kind`."""
    if deck.gate.kind == "uniform":
        return UniformGate(len(deck.cards), len(deck.references.augmentations))
    return SpectralGate.from_deck(deck)
