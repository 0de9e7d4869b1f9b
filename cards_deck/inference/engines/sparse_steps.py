"""A card's graph as fused steps: batch norms folded, activations and sums done while a layer's result is stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cards_deck.card import Card
from cards_deck.errors import InputError
from cards_deck.graph import Attr, Node
from cards_deck.spectrum import Floats

Doubles = NDArray[np.float64]
ACTIVATIONS = {"": 0, "relu": 1, "silu": 2}


@dataclass
class Step:
    """One pass over a value: `op`, then x * scale + shift per channel, `pre`, plus `other`, `post`.

    `op` is a graph's operation, or "pointwise" where there is only the rest. `place` orders the steps.
    """

    op: str
    input: str
    output: str
    place: int
    params: Mapping[str, str] = field(default_factory=dict)
    attrs: Mapping[str, Attr] = field(default_factory=dict)
    scale: Doubles | None = None
    shift: Doubles | None = None
    pre: str = ""
    other: str | None = None
    post: str = ""

    def affine(self, scale: Doubles, shift: Doubles) -> None:
        """Append x * scale + shift."""
        self.shift = shift if self.shift is None else self.shift * scale + shift
        self.scale = scale if self.scale is None else self.scale * scale


def fused_steps(card: Card) -> list[Step]:
    """The card's nodes as steps in an order that can run."""
    return _Fuser(card).steps()


def scale_shift(node: Node, params: Mapping[str, Floats]) -> tuple[Doubles, Doubles]:
    """A batch norm at inference as x * scale + shift, in float64."""
    spread = np.sqrt(params["running_var"].astype(np.float64) + float(_number(node, "eps")))
    scale = params["weight"] / spread if "weight" in params else 1 / spread
    shift = -params["running_mean"] * scale
    return scale, shift + params["bias"] if "bias" in params else shift


def _number(node: Node, name: str) -> float:
    value = node.attrs[name]
    assert isinstance(value, int | float)  # checked when the node was made
    return value


def whole(step: Step, name: str) -> int:
    """An attribute that is a whole number, 0 where the node has none."""
    value = step.attrs.get(name, 0)
    assert isinstance(value, int)  # checked when the node was made
    return value


class _Fuser:
    def __init__(self, card: Card) -> None:
        self.card = card
        self.nodes = card.graph.nodes
        self.readers: dict[str, list[int]] = {}
        for index, node in enumerate(self.nodes):
            for name in node.inputs:
                self.readers.setdefault(name, []).append(index)
        self.made = {node.output: index for index, node in enumerate(self.nodes)}
        self.taken: set[int] = set()

    def steps(self) -> list[Step]:
        graph = self.card.graph
        image = Step("input", graph.input, graph.input, -1)
        self._into_image(image)
        steps = [image]
        for index, node in enumerate(self.nodes):
            if index not in self.taken:
                steps.append(self._step(index, node))
        return sorted(steps, key=lambda step: step.place)

    def _into_image(self, image: Step) -> None:
        """Bytes to [0, 1], and a normalize that alone reads the images."""
        image.affine(np.full(3, 1 / 255), np.zeros(3))
        index = self._only_reader(image.output)
        if index is not None and self.nodes[index].op == "normalize":
            image.affine(*_normalize(self.nodes[index]))
            self._take(image, index)

    def _step(self, index: int, node: Node) -> Step:
        self.taken.add(index)
        step = Step(node.op, node.inputs[0], node.output, index, node.params, node.attrs)
        match node.op:
            case "conv2d" | "linear":
                if "bias" in node.params:
                    step.affine(np.ones(1), self.card.tensors[node.params["bias"]].astype(np.float64))
            case "batch_norm" | "normalize":
                step.op = "pointwise"
                step.affine(*(_normalize(node) if node.op == "normalize" else self._scale_shift(node)))
            case "relu" | "silu":
                step.op, step.pre = "pointwise", node.op
            case "add":
                step.op, step.other = "pointwise", node.inputs[1]
            case _:
                return step
        self._absorb(step)
        return step

    def _absorb(self, step: Step) -> None:
        while (index := self._only_reader(step.output)) is not None:
            node = self.nodes[index]
            if node.op == "batch_norm" and not step.pre and step.other is None:
                step.affine(*self._scale_shift(node))
            elif step.op == "linear":
                return  # its kernel has no activation and no sum: they follow as a step of their own
            elif node.op in ("relu", "silu") and step.other is None and not step.pre:
                step.pre = node.op
            elif node.op == "add" and step.other is None:
                step.other = next(name for name in node.inputs if name != step.output)
            elif node.op in ("relu", "silu") and step.other is not None and not step.post:
                step.post = node.op
            else:
                return
            self._take(step, index)

    def _take(self, step: Step, index: int) -> None:
        self.taken.add(index)
        step.output, step.place = self.nodes[index].output, index

    def _only_reader(self, value: str) -> int | None:
        """Index of the node that alone reads `value`, unless another step has it."""
        readers = self.readers.get(value, [])
        if len(readers) != 1 or value == self.card.graph.output:
            return None
        index = readers[0]
        return None if index in self.taken else index

    def _scale_shift(self, node: Node) -> tuple[Doubles, Doubles]:
        return scale_shift(node, {role: self.card.tensors[name] for role, name in node.params.items()})


def _normalize(node: Node) -> tuple[Doubles, Doubles]:
    mean, std = (np.asarray(node.attrs[key], np.float64) for key in ("mean", "std"))
    return 1 / std, -mean / std


def checked(card: Card) -> None:
    """InputError unless the engine has all of the card's operations."""
    known = {"normalize", "conv2d", "batch_norm", "relu", "silu", "add", "max_pool", "avg_pool", "global_avg_pool",
             "flatten", "linear"}  # fmt: skip
    if missing := sorted({node.op for node in card.graph.nodes} - known):
        raise InputError(f"the sparse engine has no {', '.join(missing)}: choose the onnx engine")
