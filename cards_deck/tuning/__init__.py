"""Fitting a deck's gate to images without labels: what ordinary images look like here, and how freely to ask cards.

Without labels nobody can say which card is right. What can be fitted honestly: the reference spectra and the distance
beyond which a spectrum is unknown, from what these images look like under the deck's augmentations; and the gate's few
scalars, so that its answers agree best with the plain average of all cards at no more cards than before. Learned arrays
(routers, temperatures, reliabilities) stay as they are, since they were fitted to labels.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from cards_deck.deck import Deck
from cards_deck.errors import InputError
from cards_deck.gate_config import GateConfig
from cards_deck.inference.engines import EngineKind
from cards_deck.inference.gates import CLEAN, GATES, Known, Observed, build_gate, gate_for
from cards_deck.inference.pooling import combine
from cards_deck.inference.predictor import Predictor
from cards_deck.spectrum import Images, check_images, log_amplitude
from cards_deck.tuning._fit import fit
from cards_deck.tuning._measure import Measured, measure

__all__ = ["BLOCKS", "Augment", "Measured", "Tuned", "needed", "tune"]

Augment = Callable[[Images, Mapping[str, Any], int], Images]
BLOCKS = 20  # of neighbouring images, as of one scene: they are fitted on or measured on together


@dataclass(frozen=True, eq=False)
class Tuned:
    """The `deck` with its new gate; `before` and `after` on images not fitted on; `fitted` on so many; `references`:
    which were best, "thresholds" (the deck's spectra) or "images"; `left_out`: what was not refitted, and why."""

    deck: Deck
    before: Measured
    after: Measured
    fitted: int
    references: str
    left_out: tuple[str, ...]

    def record(self) -> dict[str, Any]:
        """JSON values of what was done and measured."""
        return {
            "fitted_on": self.fitted, "references": self.references, "left_out": list(self.left_out),
            "before": self.before.as_dict(), "after": self.after.as_dict(),
        }  # fmt: skip


def needed(config: GateConfig) -> int:
    """Images without which the gate is not tuned: in each half, so many that the unknown quantile lies among them."""
    inside = math.ceil(1 / max(1 - config.unknown_quantile, 1e-9) - 1e-9)
    return 2 * min(max(inside, 100), 1000)


def tune(
    deck: Deck,
    images: Images,
    *,
    augment: Augment | None = None,
    most_cards: float | None = None,
    limits: Mapping[str, Any] = MappingProxyType({}),
    engine: EngineKind = EngineKind.AUTO,
    threads: int = 1,
    seed: int = 0,
) -> Tuned:
    """Refit the deck's gate on half of the images, and measure it before and after on the other half.

    Args:
        deck: of any gate.
        images: uint8 [n, h, h, 3] of the deck's size, through `resize_square` as every served image; in the order in
            which they were taken, since neighbours are kept in the same half.
        augment: makes images under the augmentation that a card's record describes (with a seed). None: the reference
            spectra stay, and the unknown threshold can only rise.
        most_cards: mean cards per image that the gate may use (None: what it used before).
        limits: fields of `GateConfig` that the new gate has in the place of the deck's, such as `abstain_below`.
        engine: how cards run.
        threads: of each card's engine.
        seed: of the augmented images.

    InputError for fewer images than `needed`.
    """
    check_images(images, deck.image_size)
    if len(images) < needed(deck.gate):
        raise InputError(
            f"{needed(deck.gate)} images are needed to tune this gate and to measure it on others, not {len(images)}: "
            "add some"
        )
    block = np.arange(len(images)) * BLOCKS // len(images)
    half = block % 2 == 0
    cells = {CLEAN: images} | ({} if augment is None else _augmented(deck, images, augment, seed))
    predictor = Predictor(deck, engine=engine, threads=threads)
    whole = _observe(predictor, cells)
    rows = np.tile(half, len(cells))
    fit_on, held_out = whole.rows(rows), whole.rows(~rows)
    best = fit(deck, fit_on, most_cards)
    config = dataclasses.replace(best.gate.config, **limits)
    new = dataclasses.replace(deck, references=best.references, gate=config, folder=None)
    before, after = measure(predictor, (predictor.gate, gate_for(new)), held_out, images[~half])
    return Tuned(new, before, after, int(half.sum()), best.name, _left_out(deck, augment, limits))


def _left_out(deck: Deck, augment: Augment | None, limits: Mapping[str, Any]) -> tuple[str, ...]:
    found = []
    if augment is None:
        found.append("reference spectra: torch, which makes the augmentations, is not installed")
    if deck.gate.arrays:
        found.append(f"{', '.join(deck.gate.arrays)}: learned from labels")
    if unjudged := sorted(GATES[deck.gate.kind].FROM_LABELS):
        found.append(f"{', '.join(unjudged)}: cannot be judged without labels")
    if deck.gate.abstain_below is not None and "abstain_below" not in limits:
        found.append("abstain_below: needs labels")
    return tuple(found)


def _augmented(deck: Deck, images: Images, augment: Augment, seed: int) -> dict[str, Images]:
    described = {card.augmentation: card.record.augmentation for card in deck.cards if not card.averaged}
    return {name: augment(images, described[name], seed) for name in deck.references.augmentations if name in described}


def _observe(predictor: Predictor, cells: Mapping[str, Images]) -> Observed:
    """What every card says of every image; the labels are those of the plain average of all cards."""
    deck, everything = predictor.deck, np.concatenate(list(cells.values()))
    logits = np.stack([predictor.card_logits(everything, card) for card in range(len(deck.cards))])
    average = build_gate(GateConfig(kind="uniform"), Known.of(deck))
    spectra = log_amplitude(everything)
    labels = combine(logits, average.route(spectra).weights).argmax(axis=1).astype(np.int64)
    cell = np.repeat(np.arange(len(cells)), [len(images) for images in cells.values()])
    return Observed(spectra, logits, labels, cell, tuple(cells))
