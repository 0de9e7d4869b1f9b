"""What gates cost per 32x32 image, beside one card of a released deck in the sparse engine, on one thread.

The time is that of a whole answer but for the cards: spectrum, routing, and reconsidering what cards answered at no
cost. Gates and the card take turns in the same run at the same batch size. The deck's own gate is timed where the
answers are sure, so that it asks as few cards as it ever does, and where they are not, so that it asks as many as it
may: a cascade reconsiders once for every card. The other kinds are fitted to noise, under the same limit.
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
from cards_deck.inference.gates import GATES, BaseGate, Decision, Known, Observed, decide, fit_gate, gate_for
from cards_deck.spectrum import Floats, Images, log_amplitude

BATCHES = (1, 32)
ROWS = 64  # that a gate is fitted on
DECK = Path(__file__).resolve().parent.parent / "models" / "cifar10-medium"


def noise_gate(deck: Deck, kind: str, rng: np.random.Generator) -> BaseGate:
    """A gate of this kind, fitted to noise under the limits of the deck's own."""
    cards, classes = len(deck.cards), len(deck.classes)
    observed = Observed(
        log_amplitude(fake_images(ROWS, deck.image_size)),
        rng.normal(size=(cards, ROWS, classes)).astype(np.float32),
        rng.integers(0, classes, ROWS),
        np.arange(ROWS) % 2,
        ("clean", "other"),
    )
    return fit_gate(kind, observed, GateConfig(max_cards=deck.gate.max_cards), Known.of(deck))


def answering(gate: BaseGate, table: Floats) -> Callable[[Images], Decision]:
    """Everything that the gate does for a batch; cards answer from a table [k, n, c]."""
    return lambda images: decide(gate, log_amplitude(images), lambda card, rows: table[card, rows])


def own(deck: Deck, batch: int) -> dict[str, Callable[[Images], Decision]]:
    """The deck's own gate where answers are sure and where they are not, by the number of cards that it then asks."""
    gate, shape = gate_for(deck), (len(deck.cards), batch, len(deck.classes))
    sure = np.zeros(shape, np.float32)
    sure[:, :, 0] = 50
    images, ways = fake_images(batch, deck.image_size), {}
    for table in (sure, np.zeros(shape, np.float32)):
        way = answering(gate, table)
        ways[f"the deck's {deck.gate.kind} gate, {way(images).ran.sum(axis=1).mean():.3g} cards asked"] = way
    return ways


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
        table = rng.normal(size=(len(deck.cards), batch, len(deck.classes))).astype(np.float32)
        gates = own(deck, batch) | {
            f"{kind} gate": answering(noise_gate(deck, kind, rng), table) for kind in GATES.names()
        }
        ways: dict[str, Callable[[Images], object]] = {"one card": card, "spectrum alone": log_amplitude, **gates}
        # One reading of the clock covers some milliseconds of work, here and there alike.
        times = max(1, 32 // batch)
        for name, way in ways.items():
            calls[f"{name}, batch {batch}"] = partial(again, partial(way, images), times)
            images_per_call[f"{name}, batch {batch}"] = times * batch
    seconds = time_in_turns(calls, repeats=arguments.repeats)
    cost = {name: [1e6 * s / images_per_call[name] for s in values] for name, values in seconds.items()}
    ratios = {
        f"{gate} / one card, batch {batch}": ratio(values, cost[f"one card, batch {batch}"])
        for batch in BATCHES
        for name, values in cost.items()
        if (gate := name.removesuffix(f", batch {batch}")) != name and "gate" in gate
    }
    note = f"Of {deck.name} {deck.version}, {len(deck.cards)} cards; a card runs in the sparse engine; one thread."
    save("gate", [row(name, "us/image", values) for name, values in cost.items()], ratios, note=note)


if __name__ == "__main__":
    main()
