"""What the gates share that weigh the cards by a linear function of what they see of the spectrum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from cards_deck.inference.gates._base import BaseGate, Reading, Routing, largest, shares
from cards_deck.inference.gates._profile import linear, normalised, ring_count, ring_means
from cards_deck.spectrum import Floats


@dataclass(frozen=True, eq=False)
class PreferenceGate(BaseGate):
    """`preference`: softmax over all cards of features @ `weights` [f, k] + `bias` [k]."""

    ARRAYS: ClassVar[tuple[str, ...]] = ("weights", "bias")

    def prepare(self) -> None:
        """Check the arrays' shapes."""
        self.array("weights", self.feature_count(), self.cards)
        self.array("bias", self.cards)

    def feature_count(self) -> int:
        """How many numbers are seen of a spectrum."""
        return ring_count(self.known.references.image_size)

    def features(self, spectra: Floats) -> Floats:
        """float32 [n, f]: what is seen of spectra [n, h, h//2+1]: the means of their rings."""
        return ring_means(spectra)

    def preference(self, spectra: Floats) -> Floats:
        """float32 [n, k], rows sum to 1."""
        return normalised(self.scores(spectra))

    def scores(self, spectra: Floats) -> Floats:
        """float32 [n, k], of which the preference is the softmax."""
        return linear(self.features(spectra), self.config.arrays["weights"], self.config.arrays["bias"])

    def first(self, preference: Floats) -> Floats:
        """Weights [n, k] of images whose spectrum is known."""
        raise NotImplementedError

    def widest(self, preference: Floats) -> Floats:
        """Weights [n, k] of images whose spectrum is unknown: equal shares of the `limit` preferred cards."""
        return shares(largest(preference, self.limit).astype(np.float32))

    def choose(self, reading: Reading) -> Routing:
        """See `BaseGate`."""
        found, preference = reading.distances, reading.preference
        weights = self.first(preference)
        unknown = self.unknown(found)
        if unknown.any():
            weights[unknown] = self.widest(preference[unknown])
        return Routing(weights, found, unknown, found.argmin(axis=1).astype(np.int64), preference)


def spent(preference: Floats, most: int, least: float) -> Floats:
    """Weights: the shares of the `most` preferred cards, without those below `least` of the first one's share."""
    kept = np.where(largest(preference, most), preference, np.float32(0))
    kept[kept < np.float32(least) * kept.max(axis=1, keepdims=True)] = 0
    return shares(kept)
