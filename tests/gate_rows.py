"""Made-up validation answers of four cards that differ in what they know, for fitting gates in a moment."""

from __future__ import annotations

import numpy as np

from cards_deck.inference.gates import Known, Observed
from cards_deck.references import References

SIZE, IMAGES, CLASSES = 8, 60, 3
CELLS = ("clean", "rough", "dull")
# Card 0 knows clean images, 1 rough ones, 2 the same a little worse, 3 is an average of 0 and 1: fair everywhere.
SKILL = np.array([[3.0, 0.0, 1.5], [0.5, 3.0, 1.5], [0.3, 2.6, 1.4], [2.0, 2.0, 2.0]])
LEVEL = (0.0, 1.0, -0.6)


def known(cards: int = 4) -> Known:
    base = np.zeros((SIZE, SIZE // 2 + 1))
    references = References(
        ("plain", "noise"),
        np.stack([base, base + 1.0]).astype(np.float32),
        np.ones(2, np.float32),
        np.linspace(0, 3, 11, dtype=np.float32),
    )
    parts = np.eye(4)
    parts[3] = (0.5, 0.5, 0, 0)
    augmentations = ("plain", "noise", "noise", "mixed")[:cards]
    return Known(references, augmentations, tuple(range(min(cards, 3))), as_parts(parts[:cards, :cards]))


def as_parts(shares: np.ndarray) -> tuple[tuple[float, ...], ...]:
    """What cards are made of, as a gate is told."""
    return tuple(map(tuple, shares.tolist()))


def observed(seed: int = 0, skill: np.ndarray = SKILL, cells: tuple[str, ...] = CELLS) -> Observed:
    rng = np.random.default_rng(seed)
    label = rng.integers(0, CLASSES, IMAGES)
    spectra, logits = [], []
    for place in range(len(cells)):
        noise = 0.3 * rng.normal(size=(IMAGES, SIZE, SIZE // 2 + 1))
        spectra.append(LEVEL[place % len(LEVEL)] * (np.arange(SIZE // 2 + 1) > 1) + noise)
        answer = rng.normal(size=(len(skill), IMAGES, CLASSES))
        answer[:, np.arange(IMAGES), label] += skill[:, place, None]
        logits.append(answer)
    return Observed(
        np.concatenate(spectra).astype(np.float16),
        np.concatenate(logits, axis=1).astype(np.float32),
        np.tile(label, len(cells)),
        np.repeat(np.arange(len(cells)), IMAGES),
        cells,
    )
