"""Cards for the tests of the sparse engine: networks pruned at random, and graphs made by hand."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cards_deck.card import Card, CardRecord
from cards_deck.graph import Attr, Graph, Node
from cards_deck.inference.engines import EngineKind, load
from cards_deck.spectrum import Floats, Images

IMAGES = 33


class Net:
    """Collects a graph's nodes with random weights, a fraction `density` of them kept, per layer exactly.

    Each method adds a node and returns the name of its output. `signed`: all kept weights of a layer are +-1 times one
    scale, and the card is binary.
    """

    def __init__(self, seed: int = 0, density: float = 1.0, *, signed: bool = False) -> None:
        self.rng = np.random.default_rng([seed, round(1000 * density)])
        self.density, self.signed = density, signed
        self.nodes: list[Node] = []
        self.tensors: dict[str, Floats] = {}
        self.masks: dict[str, NDArray[np.bool_]] = {}
        self.scales: dict[str, Floats] = {}
        self.channels = {"images": 3}

    def op(self, op: str, *inputs: str, **attrs: Attr) -> str:
        """An operation without parameters."""
        return self._node(op, inputs, {}, attrs, self.channels[inputs[0]])

    def normalize(self, x: str = "images") -> str:
        return self.op("normalize", x, mean=[0.49, 0.48, 0.45], std=[0.25, 0.24, 0.26])

    def conv(
        self, x: str, out: int, kernel: int = 3, *, stride: int = 1, padding: int | None = None, bias: bool = False,
        groups: int = 1, density: float | None = None,
    ) -> str:  # fmt: skip
        """A convolution; `padding` None keeps the size."""
        weight = self._weights((out, self.channels[x] // groups, kernel, kernel), density)
        params = {"weight": weight} | ({"bias": self._tensor(self.rng.normal(0, 0.3, out))} if bias else {})
        padding = kernel // 2 if padding is None else padding
        attrs = {"stride": stride, "padding": padding, "groups": groups}
        return self._node("conv2d", (x,), params, attrs, out)

    def linear(self, x: str, inputs: int, outputs: int) -> str:
        params = {"weight": self._weights((outputs, inputs)), "bias": self._tensor(self.rng.normal(0, 0.3, outputs))}
        return self._node("linear", (x,), params, {}, outputs)

    def norm(self, x: str, *, affine: bool = True) -> str:
        count = self.channels[x]
        params = {
            "running_mean": self._tensor(self.rng.normal(0, 0.3, count)),
            "running_var": self._tensor(self.rng.uniform(0.5, 2, count)),
        }
        if affine:
            params["weight"] = self._tensor(self.rng.uniform(-1.3, 1.3, count))  # a negative one turns signs around
            params["bias"] = self._tensor(self.rng.normal(0, 0.3, count))
        return self._node("batch_norm", (x,), params, {"eps": 1e-3}, count)

    def card(self, x: str, classes: int = 10) -> Card:
        """The card, with a pooled linear head where `x` is an image and `x` itself as logits where classes is 0."""
        if classes:
            x = self.linear(self.op("global_avg_pool", x), self.channels[x], classes)
        return make_card(Graph("images", x, tuple(self.nodes)), self.tensors, self.masks, self.scales)

    def _node(
        self, op: str, inputs: tuple[str, ...], params: dict[str, str], attrs: dict[str, Attr], channels: int
    ) -> str:
        name = f"{op}{len(self.nodes)}"
        self.nodes.append(Node(op, inputs, name, params, attrs))
        self.channels[name] = channels
        return name

    def _tensor(self, values: NDArray[np.float64]) -> str:
        name = f"t{len(self.tensors)}"
        self.tensors[name] = values.astype(np.float32)
        return name

    def _weights(self, shape: tuple[int, ...], density: float | None = None) -> str:
        density = self.density if density is None else density
        mask = random_mask(self.rng, shape, density)
        spread = 1 / np.sqrt(max(1.0, mask.sum() / shape[0]))
        values = self.rng.normal(0, spread, shape)
        name = self._tensor(np.where(mask, np.sign(values) * np.float32(spread) if self.signed else values, 0))
        self.masks[name] = mask
        if self.signed:
            self.scales[name] = np.array([spread], np.float32)
        return name


def random_mask(rng: np.random.Generator, shape: tuple[int, ...], density: float) -> NDArray[np.bool_]:
    """Exactly round(density * size) places kept."""
    flat = np.zeros(int(np.prod(shape)), np.bool_)
    flat[rng.permutation(flat.size)[: round(density * flat.size)]] = True
    return flat.reshape(shape)


def make_card(
    graph: Graph,
    tensors: dict[str, Floats],
    masks: dict[str, NDArray[np.bool_]],
    scales: dict[str, Floats] | None = None,
    bits: int = 1,
) -> Card:
    """A card whose record fits: binary where it has scales, else of 32 bits."""
    kept = [masks[name].sum() if name in masks else tensors[name].size for name in graph.weight_names]
    density = float(sum(kept) / sum(tensors[name].size for name in graph.weight_names))
    record = CardRecord(
        {"name": "any"}, {}, {}, {"name": "any"}, density, bits if scales else 32, {}, {}, 0
    )  # fmt: skip
    return Card("card", record, graph, tensors, masks, scales or {})


def images(count: int, size: int, seed: int = 0) -> Images:
    """uint8 [count, size, size, 3] of noise: no pixel is like its neighbour, so a misplaced tap shows."""
    return np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), np.uint8)


def reference(card: Card, pixels: Images) -> Floats:
    """The PyTorch engine's logits."""
    return load(card, EngineKind.TORCH, image_size=pixels.shape[1])(pixels)


def error(found: Floats, expected: Floats) -> float:
    """Largest difference relative to the range of the expected logits, which must tell the classes apart."""
    assert found.shape == expected.shape
    assert found.dtype == np.float32
    spread = float(np.ptp(expected))
    assert spread > 1e-2, "logits that hardly differ would prove nothing"
    difference = float(np.abs(found - expected).max())
    assert np.isfinite(difference)
    return difference / spread
