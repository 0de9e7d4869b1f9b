"""What the gate costs per 32x32 image, and what share that is of one ResNet-18 card in ONNX Runtime, on one thread.

Gate and card take turns in the same run at the same batch size. The card's weights are random and dense: the engine
multiplies by zeros as well, so pruning would not change its time.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial

import torch

from benchmarks.harness import ratio, row, save, time_in_turns
from cards_deck.card import Card, CardRecord
from cards_deck.inference.engines import EngineKind, load
from cards_deck.inference.fake_deck import fake_deck, fake_images
from cards_deck.inference.gates import SpectralGate
from cards_deck.registry import describe
from cards_deck.spectrum import Images, log_amplitude
from cards_deck.training.export import export_graph
from cards_deck.training.networks import Normalize
from cards_deck.training.networks.resnet import ResNet

SIZE, CLASSES = 32, 10
BATCHES = (1, 32)


def resnet18() -> Card:
    """A dense ResNet-18 card with random weights."""
    torch.manual_seed(0)
    network = ResNet().build(CLASSES, Normalize([0.5] * 3, [0.25] * 3)).eval()
    graph = export_graph(network)
    wanted = {tensor for node in graph.nodes for tensor in node.params.values()}
    tensors = {name: value.numpy() for name, value in network.state_dict().items() if name in wanted}
    record = CardRecord(
        describe(ResNet()), {"name": "none"}, {"name": "none"}, {"name": "none"}, 1.0, 32, {"name": "none"}, {}, seed=0
    )
    return Card("resnet18", record, graph, tensors, {})


def again(call: Callable[[], object], times: int) -> None:
    """Call it `times` times."""
    for _ in range(times):
        call()


def main() -> None:
    """Measure, print and save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=31, help="rounds (default 31)")
    repeats = parser.parse_args().repeats
    torch.set_num_threads(1)
    gate = SpectralGate.from_deck(fake_deck(SIZE, CLASSES))
    card = load(resnet18(), EngineKind.ONNX, image_size=SIZE, threads=1)

    def route(images: Images) -> object:
        return gate.route(log_amplitude(images))

    calls: dict[str, Callable[[], object]] = {}
    images_per_call: dict[str, int] = {}
    for batch in BATCHES:
        images = fake_images(batch, SIZE)
        # One reading of the clock covers some milliseconds of work, here and there alike.
        gates, cards = max(1, 320 // batch), max(1, 8 // batch)
        calls[f"gate, batch {batch}"] = partial(again, partial(route, images), gates)
        calls[f"ResNet-18 in ONNX Runtime, batch {batch}"] = partial(again, partial(card, images), cards)
        images_per_call[f"gate, batch {batch}"] = gates * batch
        images_per_call[f"ResNet-18 in ONNX Runtime, batch {batch}"] = cards * batch
    seconds = time_in_turns(calls, repeats=repeats)
    cost = {name: [1e6 * s / images_per_call[name] for s in values] for name, values in seconds.items()}
    ratios = {
        f"gate / ResNet-18, batch {batch}": ratio(
            cost[f"gate, batch {batch}"], cost[f"ResNet-18 in ONNX Runtime, batch {batch}"]
        )
        for batch in BATCHES
    }
    rows = [row(name, "us/image", values) for name, values in cost.items()]
    save("gate", rows, ratios, packages=("torch",))


if __name__ == "__main__":
    main()
