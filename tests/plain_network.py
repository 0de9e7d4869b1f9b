"""Cards computed in float64 from the definitions of their layers, and random cards of every shape to compare."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from cards_deck.card import Card
from cards_deck.graph import Graph, Node
from cards_deck.inference.fake_deck import fake_card

Doubles = NDArray[np.float64]
Singles = NDArray[np.float32]


def _conv(x: Doubles, weight: Doubles, bias: Doubles | None, stride: int, padding: int, groups: int) -> Doubles:
    x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    windows = sliding_window_view(x, weight.shape[2:], axis=(2, 3))[:, :, ::stride, ::stride]
    parts = zip(np.split(windows, groups, axis=1), np.split(weight, groups), strict=True)
    out = np.concatenate([np.einsum("nchwij,ocij->nohw", part, kernel) for part, kernel in parts], axis=1)
    return np.asarray(out if bias is None else out + bias[:, None, None])


def _pooled(x: Doubles, kernel: int, stride: int, padding: int, fill: float) -> Doubles:
    x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)), constant_values=fill)
    return sliding_window_view(x, (kernel, kernel), axis=(2, 3))[:, :, ::stride, ::stride]


def plain(card: Card, images: NDArray[np.uint8]) -> Doubles:
    """The card in float64, from the definitions of its layers."""
    values: dict[str, Doubles] = {card.graph.input: images.transpose(0, 3, 1, 2) / 255.0}
    for node in card.graph.nodes:
        attrs: Any = node.attrs
        p = {role: card.tensors[name].astype(np.float64) for role, name in node.params.items()}
        x = values[node.inputs[0]]
        along = (slice(None), *[None] * (x.ndim - 2))
        match node.op:
            case "normalize":
                x = (x - np.reshape(attrs["mean"], (3, 1, 1))) / np.reshape(attrs["std"], (3, 1, 1))
            case "conv2d":
                x = _conv(x, p["weight"], p.get("bias"), **attrs)
            case "batch_norm":
                x = (x - p["running_mean"][along]) / np.sqrt(p["running_var"][along] + attrs["eps"])
                x = x * p.get("weight", np.ones(x.shape[1]))[along] + p.get("bias", np.zeros(x.shape[1]))[along]
            case "relu":
                x = np.maximum(x, 0)
            case "silu":
                x = x / (1 + np.exp(-x))
            case "add":
                x = x + values[node.inputs[1]]
            case "max_pool":
                x = _pooled(x, **attrs, fill=-np.inf).max(axis=(4, 5))
            case "avg_pool":
                x = _pooled(x, **attrs, padding=0, fill=0).mean(axis=(4, 5))
            case "global_avg_pool":
                x = x.mean(axis=(2, 3))
            case "flatten":
                x = x.reshape(len(x), -1)
            case "linear":
                x = x @ p["weight"].T + p.get("bias", 0)
        values[node.output] = x
    return values[card.graph.output]


@dataclasses.dataclass(frozen=True)
class Layer:
    """One convolution of a random card and what follows it."""

    outputs: int
    kernel: tuple[int, int] = (3, 3)
    stride: int = 1
    padding: int = 1
    groups: int = 1
    norm: bool = True
    activation: str = ""
    residual: bool = False  # where the shapes agree
    binary: bool = False
    pool: str = ""


def random_card(layers: list[Layer], *, size: int, density: float, pooled: bool = True, seed: int = 0) -> Card:
    """A card of these layers with random masks, a global pooling or flattening, and a linear head of 7 classes."""
    rng = np.random.default_rng(seed)
    tensors: dict[str, Singles] = {}
    masks: dict[str, NDArray[np.bool_]] = {}
    nodes = [Node("normalize", ("images",), "x", {}, {"mean": [0.4, 0.5, 0.6], "std": [0.2, 0.25, 0.3]})]

    def kept(name: str, shape: tuple[int, ...], binary: bool = False) -> str:
        masks[name] = rng.random(shape) < density
        masks[name].flat[0] |= name == "head.weight"  # a card must keep something
        scale = 1 / np.sqrt(max(1.0, density * np.prod(shape[1:])))
        drawn = rng.normal(size=shape)
        values = np.sign(drawn) * rng.uniform(0.5, 1.5, (shape[0], *[1] * (len(shape) - 1))) if binary else drawn
        tensors[name] = np.where(masks[name], values * scale, 0).astype(np.float32)
        return name

    def norm(name: str, channels: int) -> dict[str, str]:
        for role in ("weight", "bias", "running_mean", "running_var"):
            tensors[f"{name}.{role}"] = rng.uniform(0.5, 1.5, channels).astype(np.float32)
        tensors[f"{name}.bias"] -= 1
        return {role: f"{name}.{role}" for role in ("weight", "bias", "running_mean", "running_var")}

    channels, side, value = 3, (size, size), "x"
    for index, layer in enumerate(layers):
        outputs = layer.outputs * layer.groups if channels % layer.groups == 0 else layer.outputs
        groups = layer.groups if channels % layer.groups == 0 else 1
        name, before = f"n{index}", (channels, side, value)
        weight = kept(f"c{index}.weight", (outputs, channels // groups, *layer.kernel), layer.binary)
        attrs = {"stride": layer.stride, "padding": layer.padding, "groups": groups}
        nodes.append(Node("conv2d", (value,), name, {"weight": weight}, attrs))
        side = tuple((s + 2 * layer.padding - k) // layer.stride + 1 for s, k in zip(side, layer.kernel, strict=True))
        channels = outputs
        if layer.norm:
            nodes.append(Node("batch_norm", (name,), name + "b", norm(f"b{index}", channels)))
            name += "b"
        if layer.residual and (channels, side) == before[:2]:
            nodes.append(Node("add", (name, before[2]), name + "s"))
            name += "s"
        if layer.activation:
            nodes.append(Node(layer.activation, (name,), name + "a"))
            name += "a"
        if layer.pool and min(side) > 2:
            window = {"kernel": 2, "stride": 2, **({"padding": 1} if layer.pool == "max_pool" else {})}
            nodes.append(Node(layer.pool, (name,), name + "p", {}, window))
            name, grown = name + "p", 2 * window.get("padding", 0)
            side = (side[0] + grown - 2) // 2 + 1, (side[1] + grown - 2) // 2 + 1
        value = name
    nodes.append(Node("global_avg_pool" if pooled else "flatten", (value,), "features"))
    features = channels if pooled else channels * side[0] * side[1]
    tensors["head.bias"] = rng.normal(size=7).astype(np.float32)
    head = {"weight": kept("head.weight", (7, features)), "bias": "head.bias"}
    nodes.append(Node("linear", ("features",), "logits", head))
    total = sum(mask.size for mask in masks.values())
    found = sum(int(mask.sum()) for mask in masks.values()) / total
    record = dataclasses.replace(fake_card("x").record, density=found, bits=32, seed=seed)
    return Card("random", record, Graph("images", "logits", tuple(nodes)), tensors, masks)


def large_then_small() -> Card:
    """Planes that are worked on image by image, then weights that all images go through together."""
    layer = Layer(16, activation="relu", residual=True)
    small = Layer(48, activation="relu", residual=True)
    return random_card([Layer(40), layer, Layer(24, stride=2), layer, Layer(48, stride=4), small], size=32, density=0.8)
