"""A temperature softmax over distances to the references, with learned weights of the frequencies."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from cards_deck.errors import InputError
from cards_deck.gate_config import GateConfig
from cards_deck.inference.gates._base import GATES, Known
from cards_deck.inference.gates._fit import LEAST, spending, tried
from cards_deck.inference.gates._likelihood import calibrated_right, minimised, mixture_loss
from cards_deck.inference.gates._observed import CHUNK, Doubles, Observed
from cards_deck.inference.gates._preference import PreferenceGate, spent
from cards_deck.inference.gates._profile import normalised, ring_count, ring_means
from cards_deck.spectrum import Floats

FAR = np.float32(-1e9)  # the score of a card that has no reference
LARGEST = 10.0  # such logarithm, either way: exp of it is far from overflowing
PENALTY = 1e-4  # of the squared logarithms that the fit moves, from equal weights per frequency


@GATES.register("softmax")
@dataclass(frozen=True, eq=False)
class SoftmaxGate(PreferenceGate):
    """Card k of augmentation a weighs exp(-d_a^2 / T_a + o_k), where d_a^2 = sum_r w_r D_ar and D_ar is the mean
    squared log ratio to the reference over ring r. The `max_cards` heaviest run, but for those
    below `least` of the first.

    `radial` [r]: w, at least 0, sum 1; `temperatures` [a]: T, above 0, which put the distances of all augmentations on
    one scale; `offsets` [k]: o, how good a card is whatever the spectrum. Averages of cards have no reference and do
    not take part.
    """

    PARAMETERS: ClassVar[Mapping[str, float]] = {"least": 0.0}
    ARRAYS: ClassVar[tuple[str, ...]] = ("radial", "temperatures", "offsets")

    _of: NDArray[np.intp] = field(init=False, repr=False)  # the augmentation of each original card

    def prepare(self) -> None:
        """Check the arrays."""
        radial = self.array("radial", ring_count(self.known.references.image_size))
        temperatures = self.array("temperatures", len(self.known.references.augmentations))
        self.array("offsets", self.cards)
        if (radial < 0).any() or (temperatures <= 0).any():
            raise InputError("the gate's radial weights must be at least 0 and its temperatures above 0")
        object.__setattr__(self, "_of", _augmentation_of(self.known))

    @property
    def limit(self) -> int:
        """Averages never run."""
        return min(self.config.max_cards, len(self.known.originals))

    def preference(self, spectra: Floats) -> Floats:
        """float32 [n, k], rows sum to 1, 0 for averages of cards."""
        arrays = self.config.arrays
        rings = ring_differences(spectra, self.known.references.log_amplitude)
        nearness = -(rings * arrays["radial"]).sum(axis=2) / arrays["temperatures"]
        scores = np.full((len(spectra), self.cards), FAR)
        originals = list(self.known.originals)
        scores[:, originals] = nearness[:, self._of] + arrays["offsets"][originals]
        return normalised(scores)

    def first(self, preference: Floats) -> Floats:
        """See `PreferenceGate`."""
        return spent(preference, self.limit, self.parameter("least"))

    @classmethod
    def fit(
        cls, observed: Observed, config: GateConfig, known: Known, *, budgets: Sequence[float] = (2.0,)
    ) -> tuple[Self, ...]:
        """All arrays together by the mixture's likelihood; `least` so that each budget is spent."""
        arrays = _fit_arrays(observed, known)
        fitted = dataclasses.replace(config, parameters={}, arrays=arrays)
        found = tried(lambda config: cls(config, known), fitted, "least", LEAST, observed)
        return tuple(spending(found, most_cards) for most_cards in budgets)


def _augmentation_of(known: Known) -> NDArray[np.intp]:
    known.cards_of()  # refuses a card without a reference
    names = known.references.augmentations
    return np.array([names.index(known.augmentations[card]) for card in known.originals], np.intp)


def ring_differences(spectra: Floats, references: Floats) -> Floats:
    """float32 [n, a, r]: mean over each ring of the squared difference of spectra to references [a, h, h//2+1]."""
    return np.stack([ring_means(np.square(spectra - reference)) for reference in references], axis=1)


def _fit_arrays(observed: Observed, known: Known) -> dict[str, Floats]:
    """radial, temperatures and offsets; the fit moves logarithms, so that weights and temperatures stay positive."""
    references, of = known.references.log_amplitude, _augmentation_of(known)
    parts = range(0, len(observed.labels), CHUNK)
    found = [ring_differences(observed.spectra[i : i + CHUNK].astype(np.float32), references) for i in parts]
    rings = np.concatenate(found).astype(np.float64)
    a, r, k = rings.shape[1], rings.shape[2], len(known.originals)
    right, share = calibrated_right(observed)[:, list(known.originals)], observed.share
    member = np.zeros((k, a))
    member[np.arange(k), of] = 1

    def loss(flat: Doubles) -> tuple[float, Doubles]:
        radial, cold, offsets = np.exp(flat[:r]), np.exp(flat[r : r + a]), flat[r + a :]
        weight = cold[:, None] * radial / r  # [a, r]: w_r / T_a
        scores = -np.einsum("mar,ar->ma", rings, weight)[:, of] + offsets
        value, slope = mixture_loss(scores, right, share)
        by_weight = -np.einsum("ma,mar->ar", slope @ member, rings) * weight
        penalty = PENALTY * float(np.square(flat).sum())
        gradient = np.concatenate([by_weight.sum(axis=0), by_weight.sum(axis=1), slope.sum(axis=0)])
        return value + penalty, gradient + 2 * PENALTY * flat

    flat = minimised(loss, np.zeros(r + a + k), [(-LARGEST, LARGEST)] * (r + a + k))
    radial, offsets = np.exp(flat[:r]), np.zeros(len(known.augmentations))
    offsets[list(known.originals)] = flat[r + a :] - flat[r + a :].max()
    return {
        "radial": (radial / radial.sum()).astype(np.float32),
        "temperatures": (r / radial.sum() * np.exp(-flat[r : r + a])).astype(np.float32),
        "offsets": offsets.astype(np.float32),
    }
