"""A card of 8 bits as an ONNX model with quantize and dequantize nodes, which ONNX Runtime and OpenVINO run in int8.

Activations are uint8 with one scale and zero point each, from the card's `ranges`; a convolution's weights are the
card's own int8 codes with one scale per output. A batch norm that follows only multiplies that scale, since it is per
output as well, so the codes stay exact. Convolutions, sums and the ReLU after them run in integers; the normalising
front, the pooling and the linear head run in float32 on values rounded as the card stores them.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from onnx import numpy_helper

from cards_deck.card import Card
from cards_deck.graph import Node
from cards_deck.inference.engines.onnx import Builder, Doubles

LEVELS = 255
READERS = ("conv2d", "add", "max_pool", "avg_pool", "global_avg_pool", "flatten")
LARGEST_BIAS = 2.0**30  # in units of input scale times weight scale: below the end of int32


class QuantizedBuilder(Builder):
    """Puts a quantize-dequantize pair on every value with a range where an integer operation reads it."""

    def __init__(self, card: Card) -> None:
        super().__init__(card)
        self._paired: set[str] = set()

    def _read(self, name: str, node: Node) -> str:
        if name not in self.card.ranges or node.op not in READERS:
            return super()._read(name, node)
        if name not in self._paired:
            self._paired.add(name)
            scale, zero = steps(self.card.ranges[name])
            grid = [self._constant(f"q/{name}/scale", scale), self._typed(f"q/{name}/zero", np.uint8(zero))]
            self._add("QuantizeLinear", [f"v/{name}", *grid], f"q/{name}")
            self._add("DequantizeLinear", [f"q/{name}", *grid], f"d/{name}")
        return f"d/{name}"

    def _filter_constants(self, node: Node, output: str, weight: Doubles, bias: Doubles | None) -> list[str]:
        card, name = self.card, node.params["weight"]
        if name not in card.scales or node.inputs[0] not in card.ranges:
            return super()._filter_constants(node, output, weight, bias)
        entering = float(steps(card.ranges[node.inputs[0]])[0])
        bias = np.zeros(len(weight)) if bias is None else bias
        scale = self._scales(weight, card.tensors[name], card.scales[name], np.abs(bias) / (entering * LARGEST_BIAS))
        codes = np.rint(weight / scale[:, None, None, None]).astype(np.int8)
        whole = np.rint(bias / (scale.astype(np.float64) * entering)).astype(np.int32)
        return [
            self._dequantized(f"{output}/weight", codes, scale),
            self._dequantized(f"{output}/bias", whole, scale * np.float32(entering)),
        ]

    def _scales(
        self, folded: Doubles, weight: npt.NDArray[np.float32], scale: npt.NDArray[np.float32], least: Doubles
    ) -> npt.NDArray[np.float32]:
        """float32 [outputs]: the card's scale times what the batch norm multiplied, at least `least`, never 0."""
        outputs = len(folded)
        before, after = (
            np.abs(array.reshape(outputs, -1)).max(axis=1).astype(np.float64) for array in (weight, folded)
        )
        grown = np.divide(after, before, out=np.zeros(outputs), where=before > 0)
        wanted = np.broadcast_to(scale, (outputs,)).astype(np.float64) * grown
        spare = wanted.max(initial=0.0) or 1.0  # an output without weights: any scale gives its bias exactly enough
        return np.maximum(np.where(wanted > 0, wanted, spare), least).astype(np.float32)

    def _typed(self, name: str, value: npt.ArrayLike) -> str:
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def _dequantized(self, name: str, codes: npt.NDArray[np.signedinteger], scale: npt.NDArray[np.float32]) -> str:
        zero = self._typed(f"{name}/zero", np.zeros(len(scale), codes.dtype))
        inputs = [self._typed(f"{name}/codes", codes), self._constant(f"{name}/scale", scale), zero]
        self._add("DequantizeLinear", inputs, name, axis=0)
        return name


def steps(ends: tuple[float, float]) -> tuple[np.float32, int]:
    """(scale, zero point) of uint8 over a range, which is widened to hold 0 exactly."""
    low, high = min(ends[0], 0.0), max(ends[1], 0.0)
    scale = np.float32((high - low) / LEVELS) if high > low else np.float32(1)
    return scale, round(-low / float(scale))
