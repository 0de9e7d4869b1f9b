"""A torch network as a `Graph`: traced once, layer by layer, without its weights.

Works for any network built from the modules and functions below; a new architecture needs no code here.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import fx, nn

from cards_deck.errors import InputError
from cards_deck.graph import Graph, Node
from cards_deck.training.networks import Normalize

Described = tuple[str, dict[str, str], dict[str, Any]]  # op, roles of tensors below the module's name, attributes


class Tracer(fx.Tracer):
    """Traces layer by layer; `Normalize` is one layer."""

    def is_leaf_module(self, module: nn.Module, qualified_name: str) -> bool:
        return isinstance(module, Normalize) or super().is_leaf_module(module, qualified_name)


def export_graph(network: nn.Module) -> Graph:
    """Return the layer graph of `network`, its tensors named as in `network.state_dict()`.

    Raises InputError for a layer that a card cannot hold, naming it.
    """
    trace = Tracer().trace(network)
    modules = dict(network.named_modules())
    source: dict[fx.Node, str] = {}
    nodes: list[Node] = []
    pooled: set[str] = set()
    output = ""
    for step in trace.nodes:
        inputs = tuple(source[argument] for argument in step.args if isinstance(argument, fx.Node))
        if step.op == "placeholder":
            source[step] = "images"
        elif step.op == "output":
            output = inputs[0]
        elif step.op == "call_module" and isinstance(modules[step.target], nn.Identity):
            source[step] = inputs[0]
        else:
            name = step.target if step.op == "call_module" else step.name
            op, roles, attributes = _module(modules[name], name) if step.op == "call_module" else _function(step)
            if op == "flatten" and inputs[0] in pooled:
                source[step] = inputs[0]  # the graph's global pooling already gives [n, c]
                continue
            if op == "global_avg_pool":
                pooled.add(str(step.name))
            params = {role: f"{name}.{tensor}" for role, tensor in roles.items()}
            nodes.append(Node(op, inputs, str(step.name), params, attributes))
            source[step] = str(step.name)
    return Graph("images", output, tuple(nodes))


def _module(module: nn.Module, name: str) -> Described:
    for kind, describe in _MODULES.items():
        if isinstance(module, kind):
            return describe(module)
    known = ", ".join(kind.__name__ for kind in _MODULES)
    found = type(module).__name__
    raise InputError(f"layer {name!r} is a {found}, which a card cannot hold: build networks from {known}")


def _function(step: fx.Node) -> Described:
    if step.op == "call_function" and step.target in _FUNCTIONS:
        op = _FUNCTIONS[step.target]
        if op == "flatten":
            given = {**dict(zip(("start_dim", "end_dim"), step.args[1:], strict=False)), **step.kwargs}
            _check_flatten(given.get("start_dim", 0), given.get("end_dim", -1))
        elif step.kwargs.get("alpha", 1) != 1:
            raise InputError(f"{step.format_node()} scales what it adds: a card's `add` has no alpha")
        return op, {}, {}
    raise InputError(
        f"{step.format_node()} is not a layer that a card can hold: use modules, +, torch.relu and torch.flatten"
    )


def _conv(module: nn.Conv2d) -> Described:
    stride, padding = _square(module.stride), _square(module.padding)
    if _square(module.dilation) != 1 or module.padding_mode != "zeros":
        raise InputError("a convolution must have dilation 1 and zero padding")
    attributes = {"stride": stride, "padding": padding, "groups": module.groups}
    return "conv2d", _weight_and_bias(module), attributes


def _norm(module: nn.BatchNorm2d) -> Described:
    if not module.track_running_stats:
        raise InputError("batch-norm must track running statistics: an answer may not depend on the batch")
    learned = {"weight": "weight", "bias": "bias"} if module.affine else {}
    return "batch_norm", {**learned, "running_mean": "running_mean", "running_var": "running_var"}, {"eps": module.eps}


def _global_pool(module: nn.AdaptiveAvgPool2d) -> Described:
    if module.output_size not in (1, (1, 1)):
        raise InputError(f"adaptive pooling must have output size 1, got {module.output_size}")
    return "global_avg_pool", {}, {}


def _pool(op: str, module: nn.MaxPool2d | nn.AvgPool2d) -> Described:
    attributes = {"kernel": _square(module.kernel_size), "stride": _square(module.stride)}
    if isinstance(module, nn.MaxPool2d):
        if module.ceil_mode or _square(module.dilation) != 1:
            raise InputError("max pooling must have dilation 1 and round sizes down")
        attributes["padding"] = _square(module.padding)
    elif module.ceil_mode or _square(module.padding) or module.divisor_override is not None:
        raise InputError("average pooling must have padding 0, no divisor of its own, and round sizes down")
    return op, {}, attributes


def _flatten(module: nn.Flatten) -> Described:
    _check_flatten(module.start_dim, module.end_dim)
    return "flatten", {}, {}


def _check_flatten(start: object, end: object) -> None:
    if (start, end) != (1, -1):
        raise InputError(f"flatten must go from dimension 1 to the last, not from {start} to {end}")


def _normalize(module: Normalize) -> Described:
    # Floats through their shortest text: 0.4914, not 0.49140000343322754.
    values = {name: [round(float(v), 6) for v in getattr(module, name).flatten()] for name in ("mean", "std")}
    return "normalize", {}, values


def _weight_and_bias(module: nn.Conv2d | nn.Linear) -> dict[str, str]:
    return {"weight": "weight"} | ({"bias": "bias"} if module.bias is not None else {})


def _square(value: Any) -> int:
    sides = value if isinstance(value, tuple) else (value, value)
    if not all(isinstance(side, int) for side in sides) or len(set(sides)) != 1:
        raise InputError(f"kernels, strides and paddings must be one whole number for both sides, got {value}")
    return int(sides[0])


_MODULES: dict[type[nn.Module], Callable[[Any], Described]] = {
    Normalize: _normalize,
    nn.Conv2d: _conv,
    nn.BatchNorm2d: _norm,
    nn.ReLU: lambda module: ("relu", {}, {}),
    nn.SiLU: lambda module: ("silu", {}, {}),
    nn.MaxPool2d: lambda module: _pool("max_pool", module),
    nn.AvgPool2d: lambda module: _pool("avg_pool", module),
    nn.AdaptiveAvgPool2d: _global_pool,
    nn.Flatten: _flatten,
    nn.Linear: lambda module: ("linear", _weight_and_bias(module), {}),
}
_FUNCTIONS: dict[Any, str] = {
    operator.add: "add", torch.add: "add", torch.relu: "relu", nn.functional.relu: "relu",
    nn.functional.silu: "silu", torch.flatten: "flatten",
}  # fmt: skip
