"""Shapes through a graph, found before anything runs: a card that cannot compute is refused when it is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from cards_deck.errors import InputError
from cards_deck.graph import Graph, Node

Shape = tuple[int, ...]
MAX_ACTIVATION = 1 << 26  # elements of one image's largest activation: 256 MB of float32


def check_parameters(graph: Graph, shapes: Mapping[str, Shape]) -> None:
    """InputError unless `shapes` names exactly the tensors that the graph uses, none of them empty."""
    if missing := [name for name in graph.parameter_names if name not in shapes]:
        raise InputError(f"the graph uses tensor {missing[0]!r}, which the card does not hold")
    if extra := sorted(set(shapes) - set(graph.parameter_names)):
        raise InputError(f"the card holds tensor {extra[0]!r}, which its graph does not use")
    for name, shape in shapes.items():
        if min(shape, default=0) < 1:
            raise InputError(f"tensor {name!r} has shape {list(shape)}: no dimension may be missing or zero")


def activation_shapes(graph: Graph, shapes: Mapping[str, Shape], image_size: int) -> dict[str, Shape]:
    """Shape [c, h, w] or [c] of one image's value at the graph's input and after every node, by the value's name.

    InputError if the graph cannot run on square images of `image_size`.
    """
    check_parameters(graph, shapes)
    values: dict[str, Shape] = {graph.input: (3, image_size, image_size)}
    for node in graph.nodes:
        try:
            shape = _RULES[node.op](node, [values[name] for name in node.inputs], shapes)
        except InputError as error:
            raise InputError(f"{node.op} {node.output!r}: {error}") from None
        if _size(shape) > MAX_ACTIVATION:
            raise InputError(f"{node.op} {node.output!r} makes {list(shape)}: more than {MAX_ACTIVATION} elements")
        values[node.output] = shape
    return values


def output_classes(graph: Graph, shapes: Mapping[str, Shape], image_size: int) -> int:
    """Number of classes that the graph answers for square images of `image_size`; InputError if it cannot run."""
    answer = activation_shapes(graph, shapes, image_size)[graph.output]
    if len(answer) != 1:
        raise InputError(f"the graph must end in logits [n, classes], not [n, {answer}]")
    return answer[0]


Rule = Callable[[Node, list[Shape], Mapping[str, Shape]], Shape]


def _size(shape: Shape) -> int:
    size = 1
    for length in shape:
        size *= length
    return size


def _image(shape: Shape) -> tuple[int, int, int]:
    if len(shape) != 3:
        raise InputError(f"needs [n, c, h, w], got [n, {', '.join(map(str, shape))}]")
    return shape[0], shape[1], shape[2]


def _whole(node: Node, name: str) -> int:
    value = node.attrs[name]
    assert isinstance(value, int)  # checked when the node was made
    return value


def _slid(length: int, kernel: int, stride: int, padding: int) -> int:
    if length + 2 * padding < kernel:
        raise InputError(f"kernel {kernel} does not fit in {length} pixels with padding {padding}")
    return (length + 2 * padding - kernel) // stride + 1


def _same(node: Node, inputs: list[Shape], shapes: Mapping[str, Shape]) -> Shape:
    return inputs[0]


def _normalize(node: Node, inputs: list[Shape], shapes: Mapping[str, Shape]) -> Shape:
    if _image(inputs[0])[0] != 3:
        raise InputError("needs an image of 3 channels")
    return inputs[0]


def _vector(node: Node, role: str, length: int, shapes: Mapping[str, Shape]) -> None:
    if role in node.params and shapes[node.params[role]] != (length,):
        raise InputError(f"{role} must have shape [{length}], not {list(shapes[node.params[role]])}")


def _conv2d(node: Node, inputs: list[Shape], shapes: Mapping[str, Shape]) -> Shape:
    channels, height, width = _image(inputs[0])
    weight, groups = shapes[node.params["weight"]], _whole(node, "groups")
    if len(weight) != 4 or weight[1] * groups != channels or weight[0] % groups:
        raise InputError(f"weight {list(weight)} in {groups} group(s) does not fit {channels} input channels")
    _vector(node, "bias", weight[0], shapes)
    stride, padding = _whole(node, "stride"), _whole(node, "padding")
    return weight[0], _slid(height, weight[2], stride, padding), _slid(width, weight[3], stride, padding)


def _batch_norm(node: Node, inputs: list[Shape], shapes: Mapping[str, Shape]) -> Shape:
    for role in node.params:
        _vector(node, role, inputs[0][0], shapes)
    return inputs[0]


def _add(node: Node, inputs: list[Shape], shapes: Mapping[str, Shape]) -> Shape:
    if inputs[0] != inputs[1]:
        raise InputError(f"both inputs must have one shape, got {list(inputs[0])} and {list(inputs[1])}")
    return inputs[0]


def _pool(node: Node, inputs: list[Shape], shapes: Mapping[str, Shape]) -> Shape:
    channels, height, width = _image(inputs[0])
    kernel, stride = _whole(node, "kernel"), _whole(node, "stride")
    padding = _whole(node, "padding") if "padding" in node.attrs else 0
    if 2 * padding > kernel:
        raise InputError(f"padding {padding} is more than half of kernel {kernel}")
    return channels, _slid(height, kernel, stride, padding), _slid(width, kernel, stride, padding)


def _global_avg_pool(node: Node, inputs: list[Shape], shapes: Mapping[str, Shape]) -> Shape:
    return (_image(inputs[0])[0],)


def _flatten(node: Node, inputs: list[Shape], shapes: Mapping[str, Shape]) -> Shape:
    return (_size(inputs[0]),)


def _linear(node: Node, inputs: list[Shape], shapes: Mapping[str, Shape]) -> Shape:
    weight = shapes[node.params["weight"]]
    if len(weight) != 2 or inputs[0] != (weight[1],):
        raise InputError(f"weight {list(weight)} does not fit an input of shape {list(inputs[0])}")
    _vector(node, "bias", weight[0], shapes)
    return (weight[0],)


_RULES: Mapping[str, Rule] = {
    "normalize": _normalize,
    "conv2d": _conv2d,
    "batch_norm": _batch_norm,
    "relu": _same,
    "silu": _same,
    "add": _add,
    "max_pool": _pool,
    "avg_pool": _pool,
    "global_avg_pool": _global_avg_pool,
    "flatten": _flatten,
    "linear": _linear,
}
