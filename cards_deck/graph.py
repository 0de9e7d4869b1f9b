"""How a card computes: a list of layers in order, without weights and without any framework.

A graph takes float32 [n, 3, h, w] in [0, 1] and gives logits [n, classes]. The names in a node's `params` say which of
the card's tensors play which role. Engines put uint8 [n, h, w, 3] -> float / 255 -> [n, 3, h, w] in front.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from cards_deck.checks import is_number, is_text, is_whole
from cards_deck.errors import InputError

Attr = int | float | list[float]
MAX_NODES = 10_000
MAX_NAME = 200


@dataclass(frozen=True)
class IntAttr:
    """A whole number between `low` and `high`; `default` None means that the node must give it."""

    low: int
    high: int
    default: int | None = None

    def check(self, value: object) -> Attr:
        """The value, or InputError."""
        if not is_whole(value, self.low, self.high):
            raise InputError(f"must be a whole number from {self.low} to {self.high}, not {value!r:.80}")
        return cast(int, value)


@dataclass(frozen=True)
class FloatAttr:
    """A positive, finite number."""

    default: float | None = None

    def check(self, value: object) -> Attr:
        """The value as a float, or InputError."""
        if not is_number(value, 0) or value == 0:
            raise InputError(f"must be a positive number, not {value!r:.80}")
        return float(cast(float, value))


@dataclass(frozen=True)
class ChannelsAttr:
    """Three finite numbers, one per colour channel; all positive where `positive`."""

    positive: bool
    default: None = None

    def check(self, value: object) -> Attr:
        """The values as a list of floats, or InputError."""
        listed = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else []
        numbers = len(listed) == 3 and all(is_number(v) for v in listed)
        if not numbers or (self.positive and min(listed) <= 0):
            raise InputError(f"must be three {'positive ' if self.positive else ''}numbers, not {value!r:.80}")
        return [float(v) for v in listed]


@dataclass(frozen=True)
class OpSpec:
    """What an operation takes: how many inputs, which parameters, which attributes."""

    inputs: int = 1
    params: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    attrs: Mapping[str, IntAttr | FloatAttr | ChannelsAttr] = field(default_factory=dict)


# Bounds are far above any real network and keep a hostile file from asking for unbounded work.
_STRIDE, _PADDING, _KERNEL = IntAttr(1, 64, 1), IntAttr(0, 64, 0), IntAttr(1, 512)
OPS: Mapping[str, OpSpec] = {
    "normalize": OpSpec(attrs={"mean": ChannelsAttr(False), "std": ChannelsAttr(True)}),
    "conv2d": OpSpec(
        params=("weight",),
        optional=("bias",),
        attrs={"stride": _STRIDE, "padding": _PADDING, "groups": IntAttr(1, 1 << 16, 1)},
    ),
    "batch_norm": OpSpec(
        params=("running_mean", "running_var"), optional=("weight", "bias"), attrs={"eps": FloatAttr(1e-5)}
    ),
    "relu": OpSpec(),
    "silu": OpSpec(),
    "add": OpSpec(inputs=2),
    "max_pool": OpSpec(attrs={"kernel": _KERNEL, "stride": IntAttr(1, 512), "padding": _PADDING}),
    "avg_pool": OpSpec(attrs={"kernel": _KERNEL, "stride": IntAttr(1, 512)}),
    "global_avg_pool": OpSpec(),
    "flatten": OpSpec(),
    "linear": OpSpec(params=("weight",), optional=("bias",)),
}


@dataclass(frozen=True)
class Node:
    """One layer. `params` maps a role ("weight") to a tensor's name; left-out attributes get their defaults."""

    op: str
    inputs: tuple[str, ...]
    output: str
    params: Mapping[str, str] = field(default_factory=dict)
    attrs: Mapping[str, Attr] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not is_text(self.op, MAX_NAME) or self.op not in OPS:
            raise InputError(f"unknown operation {self.op!r}: a card's graph knows {', '.join(OPS)}")
        spec = OPS[self.op]
        object.__setattr__(self, "inputs", tuple(self.inputs))
        for name in (*self.inputs, self.output, *self.params.values()):
            _check_name(self.op, name)
        if len(self.inputs) != spec.inputs:
            raise InputError(f"{self.op} takes {spec.inputs} input(s), not {len(self.inputs)}")
        if not set(spec.params) <= set(self.params) <= {*spec.params, *spec.optional}:
            wanted = f"{', '.join(spec.params) or 'none'}; optional: {', '.join(spec.optional) or 'none'}"
            raise InputError(f"{self.op} got parameters {sorted(self.params)}: it needs {wanted}")
        object.__setattr__(self, "params", dict(self.params))
        object.__setattr__(self, "attrs", _checked_attrs(self.op, spec, self.attrs))


@dataclass(frozen=True)
class Graph:
    """Nodes in the order they run. Raises InputError unless every input exists before it is used."""

    input: str
    output: str
    nodes: tuple[Node, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "nodes", tuple(self.nodes))
        if not 1 <= len(self.nodes) <= MAX_NODES:
            raise InputError(f"a graph has 1 to {MAX_NODES} nodes, not {len(self.nodes)}")
        _check_name("graph", self.input)
        known = {self.input}
        for node in self.nodes:
            if missing := [name for name in node.inputs if name not in known]:
                raise InputError(f"{node.op} {node.output!r} reads {missing[0]!r} before any node makes it")
            if node.output in known:
                raise InputError(f"two nodes make {node.output!r}: output names must differ")
            known.add(node.output)
        if self.output not in known - {self.input}:
            raise InputError(f"no node makes the graph's output {self.output!r}")

    @property
    def weight_names(self) -> tuple[str, ...]:
        """Names of the conv and linear weights, each once, in order of use: what density counts."""
        names = (node.params["weight"] for node in self.nodes if node.op in ("conv2d", "linear"))
        return tuple(dict.fromkeys(names))

    @property
    def parameter_names(self) -> tuple[str, ...]:
        """Names of every tensor the graph uses, each once, in order of use."""
        return tuple(dict.fromkeys(name for node in self.nodes for name in node.params.values()))

    def consumers(self, value: str) -> int:
        """How many times `value` is read, the graph's output counting as one."""
        return sum(node.inputs.count(value) for node in self.nodes) + (value == self.output)

    def to_json(self) -> str:
        """Canonical JSON text, the inverse of `from_json`."""
        nodes = [
            {"op": n.op, "inputs": n.inputs, "output": n.output, "params": n.params, "attrs": n.attrs}
            for n in self.nodes
        ]
        described = {"input": self.input, "output": self.output, "nodes": nodes}
        return json.dumps(described, sort_keys=True, separators=(",", ":"), allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Graph:
        """A validated graph; InputError says what is wrong with the text."""
        try:
            described = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise InputError(f"a graph must be JSON: {error}") from None
        fields = _exactly(described, ("input", "output", "nodes"), "graph")
        if not isinstance(fields["nodes"], list):
            raise InputError("a graph's 'nodes' must be a list")
        nodes = tuple(_node(described_node) for described_node in fields["nodes"])
        return cls(input=fields["input"], output=fields["output"], nodes=nodes)


def _node(described: object) -> Node:
    fields = _exactly(described, ("op", "inputs", "output", "params", "attrs"), "node")
    if not (isinstance(fields["inputs"], list) and isinstance(fields["params"], dict)):
        raise InputError("a node's 'inputs' must be a list and its 'params' an object")
    if not isinstance(fields["attrs"], dict):
        raise InputError("a node's 'attrs' must be an object")
    return Node(**{**fields, "inputs": tuple(fields["inputs"])})


def _exactly(described: object, keys: tuple[str, ...], what: str) -> dict[str, Any]:
    if not isinstance(described, dict) or set(described) != set(keys):
        raise InputError(f"a {what} must be an object with exactly {', '.join(keys)}")
    return described


def _check_name(where: str, name: object) -> None:
    if not is_text(name, MAX_NAME):
        raise InputError(f"{where}: names are texts of 1 to {MAX_NAME} characters, not {name!r:.80}")


def _checked_attrs(op: str, spec: OpSpec, attrs: Mapping[str, Attr]) -> dict[str, Attr]:
    if unknown := sorted(set(attrs) - set(spec.attrs)):
        raise InputError(f"{op} has no attribute {', '.join(unknown)}: it knows {', '.join(spec.attrs) or 'none'}")
    checked: dict[str, Attr] = {}
    for name, kind in spec.attrs.items():
        value = attrs.get(name, kind.default)
        if value is None:
            raise InputError(f"{op} needs the attribute {name!r}")
        try:
            checked[name] = kind.check(value)
        except InputError as error:
            raise InputError(f"{op} attribute {name!r} {error}") from None
    return checked
