"""What each kind of gate costs per 32x32 image, beside one card of a released deck in the sparse engine, on one thread.

The time is that of a whole answer but for the cards: spectrum, routing, and reconsidering what cards answered at no
cost. Gates and the card take turns in the same run at the same batch size. What a gate has learned does not change its
time, so the gates are fitted to noise.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.harness import ratio, row, save, time_in_turns
from cards_deck.deck import Deck, GateConfig, read_deck
from cards_deck.inference.engines import EngineKind, load
from cards_deck.inference.fake_deck import fake_images
from cards_deck.inference.gates import GATES, Known, Observed, decide, fit_gate
from cards_deck.spectrum import Images, log_amplitude

BATCHES = (1, 32)
ROWS = 64  # that a gate is fitted on
DECK = Path(__file__).resolve().parent.parent / "models" / "cifar10-starter"


def answering(deck: Deck, kind: str, batch: int, rng: np.random.Generator) -> Callable[[Images], object]:
    """Everything that a gate of this kind does for a batch; cards answer noise from a table."""
    cards, classes = len(deck.cards), len(deck.classes)
    observed = Observed(
        log_amplitude(fake_images(ROWS, deck.image_size)),
        rng.normal(size=(cards, ROWS, classes)).astype(np.float32),
        rng.integers(0, classes, ROWS),
        np.arange(ROWS) % 2,
        ("clean", "other"),
    )
    gate = fit_gate(kind, observed, GateConfig(max_cards=2), Known.of(deck))
    table = rng.normal(size=(cards, batch, classes)).astype(np.float32)
    return lambda images: decide(gate, log_amplitude(images), lambda card, rows: table[card, rows])


def again(call: Callable[[], object], times: int) -> None:
    """Call it `times` times."""
    for _ in range(times):
        call()


def main() -> None:
    """Measure, print and save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=31, help="rounds (default 31)")
    parser.add_argument("--deck", type=Path, default=DECK, help="the deck whose first card and references are used")
    arguments = parser.parse_args()
    deck, rng = read_deck(arguments.deck), np.random.default_rng(0)
    card = load(deck.cards[0], EngineKind.SPARSE, image_size=deck.image_size, threads=1)
    calls: dict[str, Callable[[], object]] = {}
    images_per_call: dict[str, int] = {}
    for batch in BATCHES:
        images = fake_images(batch, deck.image_size)
        ways: dict[str, Callable[[Images], object]] = {"one card": card, "spectrum alone": log_amplitude}
        ways |= {f"{kind} gate": answering(deck, kind, batch, rng) for kind in GATES.names()}
        # One reading of the clock covers some milliseconds of work, here and there alike.
        times = max(1, 32 // batch)
        for name, way in ways.items():
            calls[f"{name}, batch {batch}"] = partial(again, partial(way, images), times)
            images_per_call[f"{name}, batch {batch}"] = times * batch
    seconds = time_in_turns(calls, repeats=arguments.repeats)
    cost = {name: [1e6 * s / images_per_call[name] for s in values] for name, values in seconds.items()}
    ratios = {
        f"{kind} gate / one card, batch {batch}": ratio(
            cost[f"{kind} gate, batch {batch}"], cost[f"one card, batch {batch}"]
        )
        for batch in BATCHES
        for kind in GATES.names()
    }
    save("gate", [row(name, "us/image", values) for name, values in cost.items()], ratios)


if __name__ == "__main__":
    main()
