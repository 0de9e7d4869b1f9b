"""What a ResNet-18 card takes on the disk, by density, mask coding and kind of values; and how fast it is read.

Weights are random, kept ones spread evenly (the hardest mask of its density), every layer at the same density. Decoding
speed is in bytes of dense float32 weights: 4 for each weight, kept or not. `zlib_bitmap` is not a coding of ours: it is
what the lzma ones are compared with.
"""

from __future__ import annotations

import argparse
import math
import zlib
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.harness import Row, row, save, time_in_turns
from cards_deck.card import Card, CardRecord, card_bytes, card_from_bytes
from cards_deck.coding import CODINGS, decode, smallest
from cards_deck.registry import describe
from cards_deck.training.export import export_graph
from cards_deck.training.networks import Normalize
from cards_deck.training.networks.resnet import ResNet
from cards_deck.training.quantizers import QUANTIZERS
from cards_deck.training.quantizers.straight_through import on_grid

DENSITIES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
READ = 0.05  # density at which reading is timed
KINDS = ("none", "fp16", "int8", "ternary", "binary")
Masks = dict[str, NDArray[np.bool_]]


def main() -> None:
    """Measure and write benchmarks/results/storage.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=9, help="rounds (default 9)")
    repeats = parser.parse_args().repeats
    rows: list[Row] = []
    files: dict[str, bytes] = {}
    for density in DENSITIES:
        masks = random_masks(density)
        rows += mask_rows(masks, density)
        for kind in KINDS:
            files[f"{tag(density)}_{kind}"] = data = card_bytes(resnet18(masks, kind))
            rows.append(exact(f"{tag(density)}_{kind}_file", "bytes", len(data)))
    dense = 4 * sum(mask.size for mask in random_masks(READ).values())
    candidates = readers(random_masks(READ), files)
    seconds = time_in_turns(candidates, repeats=repeats)
    rows += [row(f"{tag(READ)}_{n}_read", "MB/s", [dense / s / 1e6 for s in times]) for n, times in seconds.items()]
    sizes = {name: len(data) / dense for name, data in files.items()}
    save("storage", rows, {f"{name}_vs_dense_fp32": share for name, share in sizes.items()})


def tag(density: float) -> str:
    """`rn18_d05` for 5 %."""
    return f"rn18_d{round(100 * density):02d}"


def exact(name: str, unit: str, value: float) -> Row:
    """A measurement without spread."""
    return Row(name, unit, value, value, value, 1)


def weights() -> tuple[torch.nn.Module, dict[str, NDArray[np.float32]]]:
    """The network and its tensors."""
    torch.manual_seed(0)
    network = ResNet().build(10, Normalize([0.5] * 3, [0.25] * 3)).eval()
    return network, {name: value.numpy() for name, value in network.state_dict().items()}


def random_masks(density: float) -> Masks:
    """Evenly random masks of each conv and linear weight."""
    network, tensors = weights()
    rng = np.random.default_rng(0)
    return {name: rng.random(tensors[name].shape) < density for name in export_graph(network).weight_names}


def resnet18(masks: Masks, kind: str) -> Card:
    """A card of random weights under `masks`, its values as the quantizer `kind` leaves them."""
    network, state = weights()
    graph, quantizer = export_graph(network), QUANTIZERS.build(kind)
    tensors = {name: state[name] for name in graph.parameter_names}
    tensors |= {name: tensors[name] * mask for name, mask in masks.items()}
    scales: dict[str, NDArray[np.float32]] = {}
    for name in quantizer.covers(graph.weight_names):
        values, scale = on_grid(torch.from_numpy(tensors[name]), torch.from_numpy(masks[name]), quantizer)
        tensors[name], scales[name] = values.numpy(), scale.numpy()
    density = sum(int(m.sum()) for m in masks.values()) / sum(m.size for m in masks.values())
    none = {"name": "none"}
    record = CardRecord(
        describe(ResNet()), none, describe(quantizer), none, density, quantizer.bits, none, {}, seed=0
    )  # fmt: skip
    return Card("resnet18", record, graph, tensors, masks, scales)


def mask_rows(masks: Masks, density: float) -> list[Row]:
    """Bytes of all masks in each coding, in the best for each tensor, and at the entropy of the density."""
    flat = [mask.ravel() for mask in masks.values()]
    coded = {name: sum(len(CODINGS.build(name).encode(mask)) for mask in flat) for name in CODINGS.names()}
    coded["zlib_bitmap"] = sum(len(zlib.compress(np.packbits(mask).tobytes(), 9)) for mask in flat)
    coded["smallest"] = sum(len(smallest(mask)[1]) for mask in flat)
    bits = -density * math.log2(density) - (1 - density) * math.log2(1 - density)
    coded["entropy"] = math.ceil(sum(mask.size for mask in flat) * bits / 8)
    return [exact(f"{tag(density)}_mask_{name}", "bytes", size) for name, size in coded.items()]


def readers(masks: Masks, files: dict[str, bytes]) -> dict[str, Callable[[], object]]:
    """What is timed: each coding of all masks, and whole cards, each tensor unpacked into dense float32 and checked."""
    found: dict[str, Callable[[], object]] = {}
    for name in CODINGS.names():
        coded = [(CODINGS.build(name).encode(m.ravel()), m.size, int(m.sum())) for m in masks.values()]
        found[f"mask_{name}"] = partial(_decode_all, name, coded)
    for kind in KINDS:
        found[kind] = partial(card_from_bytes, files[f"{tag(READ)}_{kind}"])
    return found


def _decode_all(name: str, coded: list[tuple[NDArray[np.uint8], int, int]]) -> None:
    for data, size, kept in coded:
        decode(name, data, size, kept)


if __name__ == "__main__":
    main()
