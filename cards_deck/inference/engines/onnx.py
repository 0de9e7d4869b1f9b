"""ONNX Runtime: the model is built in memory from the card's graph and tensors, and never reaches the disk."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from cards_deck.card import Card
from cards_deck.graph import Node
from cards_deck.spectrum import Floats, Images

Doubles = npt.NDArray[np.float64]
OPSET, IR_VERSION = 17, 8
INPUT, OUTPUT = "images", "logits"


class OnnxRunner:
    """A session of one card on the CPU."""

    def __init__(self, card: Card, image_size: int, threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # Spinning threads burn the cores that the other cards and workers need.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        model = build_model(card, image_size).SerializeToString()
        self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        # The session would keep the model's bytes for changing providers later: a second copy of all weights.
        self._session._model_bytes = None
        del model
        _return_memory()

    def __call__(self, images: Images) -> Floats:
        """Logits float32 [n, classes] of uint8 [n, h, h, 3]."""
        answer: Sequence[Floats] = self._session.run([OUTPUT], {INPUT: np.ascontiguousarray(images)})
        return answer[0]


def _return_memory() -> None:
    """Give freed memory back to the system where the C library can (glibc keeps blocks under 32 MB): building a model
    frees three copies of its weights, which made a loaded ResNet-18 four times as large."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def load(card: Card, *, image_size: int, threads: int) -> OnnxRunner:
    """A session that takes any number of images."""
    return OnnxRunner(card, image_size, threads)


def build_model(card: Card, image_size: int) -> ModelProto:
    """ONNX model of a card: uint8 [n, h, h, 3] in, logits out, batch norms that follow a convolution folded into it.

    A card with ranges of activations computes in 8 bits, see `qdq`; any other in float32.
    """
    from cards_deck.inference.engines.qdq import QuantizedBuilder

    nodes, constants = (QuantizedBuilder if card.ranges else Builder)(card).built()
    graph = helper.make_graph(
        nodes,
        card.name,
        inputs=[helper.make_tensor_value_info(INPUT, TensorProto.UINT8, ["n", image_size, image_size, 3])],
        outputs=[helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["n", None])],
        initializer=constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)


class Builder:
    """Collects ONNX nodes and initializers. Values are called "v/<name>", so that no card's names can clash."""

    def __init__(self, card: Card) -> None:
        self.card = card
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []
        self._folded = _foldable(card)
        self._rules: Mapping[str, Callable[[Node, list[str], str], None]] = {
            "normalize": self._normalize,
            "conv2d": self._conv2d,
            "batch_norm": self._batch_norm,
            "relu": self._relu,
            "silu": self._silu,
            "add": self._sum,
            "max_pool": self._max_pool,
            "avg_pool": self._avg_pool,
            "global_avg_pool": self._global_avg_pool,
            "flatten": self._flatten,
            "linear": self._linear,
        }

    def built(self) -> tuple[list[NodeProto], list[TensorProto]]:
        """(nodes, initializers)."""
        graph = self.card.graph
        self._add("Cast", [INPUT], "front/float", to=TensorProto.FLOAT)
        self._add("Transpose", ["front/float"], "front/planes", perm=[0, 3, 1, 2])
        self._add("Mul", ["front/planes", self._constant("front/scale", np.float32(1 / 255))], f"v/{graph.input}")
        for node in graph.nodes:
            self._rules[node.op](node, [self._read(name, node) for name in node.inputs], f"v/{node.output}")
        self._add("Identity", [f"v/{graph.output}"], OUTPUT)
        return self.nodes, self.constants

    def _read(self, name: str, node: Node) -> str:
        """What `node` reads where the card's graph says `name`."""
        return f"v/{name}"

    def _add(self, op: str, inputs: list[str], output: str, **attributes: Any) -> None:
        self.nodes.append(helper.make_node(op, inputs, [output], name=output, **attributes))

    def _constant(self, name: str, value: npt.ArrayLike) -> str:
        self.constants.append(numpy_helper.from_array(np.asarray(value, np.float32), name))
        return name

    def _params(self, node: Node) -> dict[str, Floats]:
        return {role: self.card.tensors[name] for role, name in node.params.items()}

    def _normalize(self, node: Node, inputs: list[str], output: str) -> None:
        mean, std = (np.reshape(node.attrs[key], (1, 3, 1, 1)) for key in ("mean", "std"))
        self._add("Sub", [*inputs, self._constant(f"{output}/mean", mean)], f"{output}/centred")
        self._add("Div", [f"{output}/centred", self._constant(f"{output}/std", std)], output)

    def _conv2d(self, node: Node, inputs: list[str], output: str) -> None:
        attrs = node.attrs
        weight, bias = self._filters(node)
        names = self._filter_constants(node, output, weight, bias)
        window = {"strides": [attrs["stride"]] * 2, "pads": [attrs["padding"]] * 4, "group": attrs["groups"]}
        self._add("Conv", [*inputs, *names], output, kernel_shape=list(weight.shape[2:]), **window)

    def _filters(self, node: Node) -> tuple[Doubles, Doubles | None]:
        """Weight and bias of a convolution with the batch norm that follows folded in, float64."""
        params = self._params(node)
        weight = params["weight"].astype(np.float64)
        bias = params["bias"].astype(np.float64) if "bias" in params else None
        if node.output in self._folded:
            norm = self._folded[node.output]
            scale, shift = _scale_shift(norm, self._params(norm))
            weight *= scale[:, None, None, None]
            bias = shift if bias is None else bias * scale + shift
        return weight, bias

    def _filter_constants(self, node: Node, output: str, weight: Doubles, bias: Doubles | None) -> list[str]:
        """Names of what a convolution reads beside its input."""
        names = [self._constant(f"{output}/weight", weight)]
        return names + ([] if bias is None else [self._constant(f"{output}/bias", bias)])

    def _batch_norm(self, node: Node, inputs: list[str], output: str) -> None:
        if any(node is norm for norm in self._folded.values()):
            self._add("Identity", inputs, output)
            return
        scale, shift = _scale_shift(node, self._params(node))
        roles = {"scale": scale, "shift": shift, "mean": np.zeros_like(scale), "var": np.ones_like(scale)}
        names = [self._constant(f"{output}/{role}", value) for role, value in roles.items()]
        self._add("BatchNormalization", [*inputs, *names], output, epsilon=0.0)

    def _relu(self, node: Node, inputs: list[str], output: str) -> None:
        self._add("Relu", inputs, output)

    def _silu(self, node: Node, inputs: list[str], output: str) -> None:
        self._add("Sigmoid", inputs, f"{output}/sigmoid")
        self._add("Mul", [*inputs, f"{output}/sigmoid"], output)

    def _sum(self, node: Node, inputs: list[str], output: str) -> None:
        self._add("Add", inputs, output)

    def _max_pool(self, node: Node, inputs: list[str], output: str) -> None:
        self._add("MaxPool", inputs, output, **_window(node), pads=[node.attrs["padding"]] * 4)

    def _avg_pool(self, node: Node, inputs: list[str], output: str) -> None:
        self._add("AveragePool", inputs, output, **_window(node))

    def _global_avg_pool(self, node: Node, inputs: list[str], output: str) -> None:
        self._add("GlobalAveragePool", inputs, f"{output}/pooled")
        self._add("Flatten", [f"{output}/pooled"], output, axis=1)

    def _flatten(self, node: Node, inputs: list[str], output: str) -> None:
        self._add("Flatten", inputs, output, axis=1)

    def _linear(self, node: Node, inputs: list[str], output: str) -> None:
        params = self._params(node)
        names = [self._constant(f"{output}/{role}", params[role]) for role in ("weight", "bias") if role in params]
        self._add("Gemm", [*inputs, *names], output, transB=1)


def _window(node: Node) -> dict[str, Any]:
    return {"kernel_shape": [node.attrs["kernel"]] * 2, "strides": [node.attrs["stride"]] * 2}


def _foldable(card: Card) -> dict[str, Node]:
    """Output of a convolution -> the batch norm that alone reads it."""
    convolutions = {node.output for node in card.graph.nodes if node.op == "conv2d"}
    norms = ((node.inputs[0], node) for node in card.graph.nodes if node.op == "batch_norm")
    return {conv: norm for conv, norm in norms if conv in convolutions and card.graph.consumers(conv) == 1}


def _scale_shift(node: Node, params: Mapping[str, Floats]) -> tuple[Doubles, Doubles]:
    """A batch norm at inference as x * scale + shift, in float64."""
    spread = np.sqrt(params["running_var"].astype(np.float64) + node.attrs["eps"])
    scale = params["weight"] / spread if "weight" in params else 1 / spread
    shift = -params["running_mean"] * scale
    return scale, shift + params["bias"] if "bias" in params else shift
