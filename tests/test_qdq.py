"""Cards of 8 bits in ONNX Runtime: the integers are those of the card, and they are computed with as integers."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper

from cards_deck.card import Card, as_stored
from cards_deck.errors import CardError
from cards_deck.graph import Node
from cards_deck.inference.engines import EngineKind, load
from cards_deck.inference.engines.onnx import build_model
from cards_deck.inference.engines.qdq import READERS, steps
from cards_deck.inference.engines.torch import TorchNetwork, _apply
from cards_deck.inference.fake_deck import fake_card, fake_images
from cards_deck.training.calibration import activation_ranges

IMAGES = fake_images(16)


def int8_card(*, seed: int = 0, calibrated: bool = True, odd_norm: bool = False) -> Card:
    """The fake card with weights of 8 bits, one scale per output; the batch norm turned round where `odd_norm`."""
    card = fake_card("card", seed=seed)
    tensors, scales = dict(card.tensors), {}
    for name in card.graph.weight_names:
        outputs = np.abs(tensors[name].reshape(len(tensors[name]), -1)).max(axis=1)
        scales[name] = (np.maximum(outputs, 1e-3) / 64).astype(np.float32)
        step = scales[name].reshape(-1, *[1] * (tensors[name].ndim - 1))
        tensors[name] = np.rint(tensors[name] / step).astype(np.int8) * step
    if odd_norm:
        tensors["bn.weight"] = tensors["bn.weight"] * np.array([-1, 1, 0, 1e-7, -1, 1, 1, 1], np.float32)
    record = dataclasses.replace(card.record, bits=8, quantizer={"name": "int8"})
    made = as_stored(Card("card", record, card.graph, tensors, card.masks, scales))
    return dataclasses.replace(made, ranges=activation_ranges(made, IMAGES)) if calibrated else made


class _Rounded(TorchNetwork):
    """Float arithmetic on values rounded where the integers would be: an independent model of the engine."""

    def __init__(self, card: Card) -> None:
        super().__init__(card)
        self.card = card

    def rounded(self, images: torch.Tensor) -> torch.Tensor:
        values = {self.graph.input: images}
        for node in self.graph.nodes:
            params = {role: self.tensors[name] for role, name in node.params.items()}
            values[node.output] = _apply(node, [self._seen(name, node, values) for name in node.inputs], params)
        return values[self.graph.output]

    def _seen(self, name: str, node: Node, values: dict[str, torch.Tensor]) -> torch.Tensor:
        if name not in self.card.ranges or node.op not in READERS:
            return values[name]
        scale, zero = steps(self.card.ranges[name])
        return torch.fake_quantize_per_tensor_affine(values[name], float(scale), zero, 0, 255)


@pytest.mark.parametrize("odd_norm", [False, True])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_engine_rounds_as_declared(seed: int, odd_norm: bool) -> None:
    card = int8_card(seed=seed, odd_norm=odd_norm)
    planes = torch.from_numpy(IMAGES.transpose(0, 3, 1, 2).copy()).float().div(255)
    with torch.inference_mode():
        expected = _Rounded(card).rounded(planes).numpy()
    found = load(card, EngineKind.ONNX, image_size=32)(IMAGES)
    # A value on the border of two integers may fall to either side.
    assert np.abs(found - expected).max() < 0.03 * np.ptp(expected)
    assert np.abs(found - expected).mean() < 0.005 * np.ptp(expected)


def test_little_is_lost_against_float() -> None:
    card = int8_card()
    exact = load(card, EngineKind.TORCH, image_size=32)(IMAGES)
    found = load(card, EngineKind.ONNX, image_size=32)(IMAGES)
    assert 0 < np.abs(found - exact).max() < 0.05 * np.ptp(exact)


def _operations(card: Card, tmp_path: Path) -> list[str]:
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(build_model(card, 32).SerializeToString(), options, providers=["CPUExecutionProvider"])
    return [node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node]


def test_convolutions_and_sums_run_in_integers(tmp_path: Path) -> None:
    found = _operations(int8_card(), tmp_path)
    assert found.count("QLinearConv") == 2
    assert found.count("QLinearAdd") == 1
    assert "Conv" not in found
    assert "Relu" not in found


def test_a_card_without_ranges_runs_in_float(tmp_path: Path) -> None:
    found = _operations(int8_card(calibrated=False), tmp_path)
    assert not any(name.startswith("QLinear") for name in found)


def test_the_model_holds_the_cards_own_codes() -> None:
    card = int8_card()
    stored = {c.name: numpy_helper.to_array(c) for c in build_model(card, 32).graph.initializer}
    conv = card.tensors["conv.weight"] / card.scales["conv.weight"].reshape(-1, 1, 1, 1)
    turned = np.sign(card.tensors["bn.weight"]).reshape(-1, 1, 1, 1)
    np.testing.assert_array_equal(stored["v/x2/weight/codes"], np.rint(conv * turned))
    assert stored["v/x2/weight/codes"].dtype == np.int8
    assert stored["v/x2/bias/codes"].dtype == np.int32


def test_an_answer_does_not_depend_on_the_batch() -> None:
    runner = load(int8_card(), EngineKind.ONNX, image_size=32)
    together = runner(IMAGES)
    for index in range(len(IMAGES)):
        np.testing.assert_array_equal(runner(IMAGES[index : index + 1])[0], together[index])


@pytest.mark.parametrize(
    ("ends", "scale", "zero"),
    [
        ((0.0, 2.55), 0.01, 0),
        ((-1.0, 1.55), 0.01, 100),
        ((0.5, 2.55), 0.01, 0),
        ((-2.55, -1.0), 0.01, 255),
        ((0, 0), 1, 0),
    ],
)
def test_steps_by_hand(ends: tuple[float, float], scale: float, zero: int) -> None:
    found = steps(ends)
    assert found[0] == pytest.approx(scale)
    assert found[1] == zero


def test_ranges_hold_what_was_seen() -> None:
    card = int8_card()
    planes = torch.from_numpy(IMAGES.transpose(0, 3, 1, 2).copy()).float().div(255)
    with torch.inference_mode():
        values = TorchNetwork(card).values(planes)
    assert set(card.ranges) == {"x0", "x1", "x4", "x5"}  # read by convolutions, the sum and the pool
    for name, (low, high) in card.ranges.items():
        assert low == pytest.approx(min(0.0, float(values[name].min())))
        assert high == pytest.approx(float(values[name].max()))
    narrower = activation_ranges(card, IMAGES, 0.9)
    assert narrower["x0"][0] > card.ranges["x0"][0]
    assert narrower["x4"] < card.ranges["x4"]


def _changed(**fields: Any) -> Card:
    return dataclasses.replace(int8_card(), **fields)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"scales": {}}, "must have scales if"),
        ({"ranges": {"nowhere": (0.0, 1.0)}}, "'nowhere' must be two ordered numbers"),
        ({"ranges": {"x1": (1.0, 0.0)}}, "must be two ordered numbers"),
        ({"ranges": {"x1": (0.0, float("inf"))}}, "must be two ordered numbers"),
        ({"scales": {"bn.weight": np.ones(1, np.float32)}}, "not of a conv or linear weight"),
        ({"scales": {"conv.weight": np.ones(3, np.float32)}}, r"float32 \[1\] or"),
        ({"scales": {"conv.weight": np.ones(1)}}, r"float32 \[1\] or"),
        ({"scales": {"conv.weight": np.zeros(1, np.float32)}}, "must be positive"),
        ({"scales": {"conv.weight": np.full(1, np.nan, np.float32)}}, "must be positive"),
    ],
)
def test_inconsistent_quantized_cards_are_refused(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(CardError, match=says):
        _changed(**fields)


def test_values_off_the_grid_are_not_written() -> None:
    card = int8_card()
    tensors = dict(card.tensors)
    tensors["conv.weight"] = tensors["conv.weight"] * np.float32(1.01)
    with pytest.raises(CardError, match=r"'conv\.weight' holds values that are not a code times its scale"):
        as_stored(dataclasses.replace(card, tensors=tensors))
