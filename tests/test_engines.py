"""Engines agree with each other, with a plain numpy evaluation, and with themselves in any batch."""

from __future__ import annotations

import dataclasses
import importlib.util
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from plain_network import plain

from cards_deck.card import Card
from cards_deck.deck import read_deck, write_deck
from cards_deck.errors import InputError, MissingExtraError
from cards_deck.graph import OPS, Graph, Node
from cards_deck.inference import engines
from cards_deck.inference.engines import EngineKind, load, sparse_library
from cards_deck.inference.fake_deck import fake_card, fake_deck, fake_images
from cards_deck.inference.predictor import Predictor

REAL = [
    pytest.param(kind, marks=pytest.mark.skipif(not engines.available(kind), reason=f"{kind} is not installed"))
    for kind in (EngineKind.SPARSE, EngineKind.ONNX, EngineKind.OPENVINO, EngineKind.TORCH)
]
SIZE = 16


def _norm(prefix: str) -> dict[str, str]:
    return {role: f"{prefix}.{role}" for role in ("weight", "bias", "running_mean", "running_var")}


def _all_operations() -> Card:
    """Every operation, and the ways in which a batch norm can and cannot be folded."""
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> NDArray[np.float32]:
        return rng.normal(0, 1 / np.sqrt(np.prod(shape[1:]) or 1), shape).astype(np.float32)

    shapes = {"c1": (8, 3, 3, 3), "c2": (8, 4, 3, 3), "c3": (8, 8, 1, 1), "c4": (6, 8, 3, 3)}
    tensors = {f"{name}.weight": normal(*shape) for name, shape in shapes.items()}
    tensors |= {"c2.bias": normal(8), "l1.weight": normal(5, 54), "l1.bias": normal(5), "l2.weight": normal(4, 8)}
    for name in ("n1", "n2", "n3"):
        tensors |= {f"{name}.weight": 1 + normal(8), f"{name}.bias": normal(8), f"{name}.running_mean": normal(8)}
        tensors[f"{name}.running_var"] = rng.uniform(0.5, 2, 8).astype(np.float32)
    tensors |= {"n4.running_mean": normal(5), "n4.running_var": rng.uniform(0.5, 2, 5).astype(np.float32)}
    tensors["l3.weight"] = normal(5, 8)
    tensors["l3.bias"] = normal(5)
    del tensors["l2.weight"]
    nodes = (
        Node("normalize", ("images",), "x", {}, {"mean": [0.4, 0.5, 0.6], "std": [0.2, 0.25, 0.3]}),
        Node("conv2d", ("x",), "a", {"weight": "c1.weight"}, {"padding": 1}),
        Node("batch_norm", ("a",), "a1", _norm("n1"), {"eps": 1e-3}),  # folded
        Node("relu", ("a1",), "a2"),
        Node("max_pool", ("a2",), "a3", {}, {"kernel": 3, "stride": 2, "padding": 1}),
        Node("conv2d", ("a3",), "b", {"weight": "c2.weight", "bias": "c2.bias"}, {"padding": 1, "groups": 2}),
        Node("batch_norm", ("b",), "b1", _norm("n2")),  # folded into a bias
        Node("silu", ("b1",), "b2"),
        Node("conv2d", ("a3",), "s", {"weight": "c3.weight"}),
        Node("add", ("b2", "s"), "d"),
        Node("batch_norm", ("d",), "d1", _norm("n3")),  # after a sum
        Node("add", ("d1", "s"), "e"),  # "s" is read twice
        Node("conv2d", ("e",), "f", {"weight": "c4.weight"}, {"stride": 2}),
        Node("avg_pool", ("f",), "g", {}, {"kernel": 1, "stride": 1}),
        Node("flatten", ("g",), "h"),
        Node("linear", ("h",), "i", {"weight": "l1.weight", "bias": "l1.bias"}),
        Node("batch_norm", ("i",), "i1", {"running_mean": "n4.running_mean", "running_var": "n4.running_var"}),
        Node("avg_pool", ("e",), "p", {}, {"kernel": 2, "stride": 2}),
        Node("global_avg_pool", ("p",), "q"),
        Node("linear", ("q",), "r", {"weight": "l3.weight", "bias": "l3.bias"}),
        Node("add", ("i1", "r"), "out"),
    )
    assert {node.op for node in nodes} == set(OPS)
    record = dataclasses.replace(fake_card("x").record, density=1.0, bits=32)
    return Card("every", record, Graph("images", "out", nodes), tensors, {})


CARDS = {"residual": fake_card("residual"), "every": _all_operations()}


@pytest.mark.parametrize("kind", REAL)
@pytest.mark.parametrize("name", sorted(CARDS))
def test_an_engine_agrees_with_the_definitions(kind: EngineKind, name: str) -> None:
    card, images = CARDS[name], fake_images(7, SIZE, seed=1)
    expected = plain(card, images)
    assert np.ptp(expected, axis=0).min() > 1e-3  # the images are told apart
    found = load(card, kind, image_size=SIZE)(images)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("kind", [*REAL, EngineKind.FAKE])
@pytest.mark.parametrize("name", sorted(CARDS))
def test_an_image_alone_gets_the_answer_it_gets_in_a_batch(kind: EngineKind, name: str) -> None:
    runner, images = load(CARDS[name], kind, image_size=SIZE), fake_images(9, SIZE, seed=2)
    together = runner(images)
    alone = np.concatenate([runner(images[i : i + 1]) for i in range(9)])
    np.testing.assert_allclose(alone, together, atol=1e-5)
    np.testing.assert_array_equal(runner(images), together)


@pytest.mark.parametrize("kind", [*REAL, EngineKind.FAKE])
def test_views_and_read_only_arrays_are_taken(kind: EngineKind) -> None:
    runner, images = load(CARDS["residual"], kind, image_size=SIZE), fake_images(8, SIZE)
    expected = runner(np.ascontiguousarray(images[::-2]))
    images.flags.writeable = False
    np.testing.assert_array_equal(runner(images[::-2]), expected)


def test_torch_gives_features_and_gradients() -> None:
    torch = pytest.importorskip("torch")
    from cards_deck.inference.engines.torch import TorchNetwork, TorchRunner

    card = CARDS["residual"]
    network = TorchNetwork(card)
    images = fake_images(3, SIZE)
    features = TorchRunner(network).features(images)
    assert features.shape == (3, 8)
    expected = features @ card.tensors["head.weight"].T + card.tensors["head.bias"]
    np.testing.assert_allclose(TorchRunner(network)(images), expected, atol=1e-5)
    pixels = torch.rand(2, 3, SIZE, SIZE, requires_grad=True)
    network.logits(pixels).sum().backward()
    assert pixels.grad.abs().sum() > 0


def test_the_fake_engine_tells_cards_and_images_apart() -> None:
    images = fake_images(4, SIZE)
    first = load(fake_card("a", seed=1), EngineKind.FAKE, image_size=SIZE)(images)
    second = load(fake_card("b", seed=2), EngineKind.FAKE, image_size=SIZE)(images)
    assert first.shape == (4, 10)
    assert np.abs(first - second).max() > 0.1
    assert np.ptp(first, axis=0).min() > 0.01


def test_auto_takes_what_is_there_and_torch_last(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = {"onnxruntime", "openvino"}
    monkeypatch.setattr(sparse_library, "library", lambda: None)
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in missing else real(name))
    if engines.available(EngineKind.TORCH):
        runner = load(CARDS["residual"], image_size=SIZE)
        assert type(runner).__name__ == "TorchRunner"
    missing.add("torch")
    assert not engines.available(EngineKind.AUTO)
    extras = {
        EngineKind.AUTO: "serve", EngineKind.TORCH: "train", EngineKind.ONNX: "serve", EngineKind.OPENVINO: "openvino"
    }  # fmt: skip
    for kind, extra in extras.items():
        with pytest.raises(MissingExtraError, match=rf"pip install 'cards-deck\[{extra}\]'"):
            load(CARDS["residual"], kind, image_size=SIZE)
    with pytest.raises(MissingExtraError, match="C compiler"):
        load(CARDS["residual"], EngineKind.SPARSE, image_size=SIZE)


def test_a_card_that_cannot_run_is_refused_before_it_is_loaded() -> None:
    with pytest.raises(InputError, match="linear"):
        load(CARDS["every"], EngineKind.FAKE, image_size=32)
    with pytest.raises(InputError, match="threads"):
        load(CARDS["every"], EngineKind.FAKE, image_size=SIZE, threads=0)
    with pytest.raises(ValueError, match="nonsense"):
        load(CARDS["every"], "nonsense", image_size=SIZE)  # type: ignore[arg-type]


def test_a_deck_from_disk_answers_without_torch(tmp_path: Any) -> None:
    pytest.importorskip("onnxruntime")
    deck = fake_deck()
    write_deck(deck, tmp_path / "deck")
    code = (
        "import sys, cards_deck as c, numpy as np; p = c.Predictor(c.read_deck(sys.argv[1]));"
        "a = p.predict(np.zeros((1, 32, 32, 3), np.uint8));"
        "assert not {'torch', 'torchvision'} & set(sys.modules); print(a.probabilities.sum())"
    )
    command = [sys.executable, "-W", "error", "-c", code, str(tmp_path / "deck")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    images = fake_images(4)
    again = Predictor(read_deck(tmp_path / "deck"))
    np.testing.assert_allclose(
        again.predict(images).probabilities, Predictor(deck).predict(images).probabilities, atol=1e-3
    )
