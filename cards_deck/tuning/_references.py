"""What ordinary images look like here: references and thresholds from images without labels."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from cards_deck.inference.gates import CLEAN, Observed
from cards_deck.references import References
from cards_deck.spectrum import QUANTILE_LEVELS, Floats, distances, quantile_levels


def refitted(deck: References, observed: Observed) -> dict[str, References]:
    """The candidates: "images" with the mean spectra of these images, and "thresholds" with the deck's.

    Where the images were not observed under every augmentation there are no "images", and the deck's own unknown
    threshold is only raised as far as the images as they are ask for.
    """
    spectra = {name: observed.spectra[observed.cell == index] for index, name in enumerate(observed.names)}
    plain = np.asarray(spectra.pop(CLEAN), np.float32)
    if set(spectra) != set(deck.augmentations):
        near = quantile_levels(distances(plain, deck.log_amplitude).min(axis=1))
        levels = np.linspace(0, 1, QUANTILE_LEVELS)
        own = np.interp(levels, np.linspace(0, 1, len(deck.quantiles)), deck.quantiles).astype(np.float32)
        return {"thresholds": dataclasses.replace(deck, quantiles=np.maximum(near, own))}
    own_spectra = {name: np.asarray(spectra[name], np.float32) for name in deck.augmentations}
    means = np.stack([part.mean(axis=0, dtype=np.float64) for part in own_spectra.values()]).astype(np.float32)
    return {"images": _around(own_spectra, plain, means), "thresholds": _around(own_spectra, plain, deck.log_amplitude)}


def _around(spectra: Mapping[str, Floats], plain: Floats, means: Floats) -> References:
    """References with these mean spectra [a, h, h//2+1], and the distances of these images to them.

    Known is what lies no farther than the images under the augmentations do, or than the images as they are: cameras
    deliver those.
    """
    found = [distances(part, means) for part in spectra.values()]
    own = [part[:, index] for index, part in enumerate(found)]
    augmented = quantile_levels(np.concatenate([part.min(axis=1) for part in found]))
    scale = np.array([column.mean(dtype=np.float64) for column in own], np.float32)
    return References(
        augmentations=tuple(spectra),
        log_amplitude=means,
        scale=scale,
        quantiles=np.maximum(augmented, quantile_levels(distances(plain, means).min(axis=1))),
        tails=np.stack([quantile_levels(column) for column in own]),
    )
