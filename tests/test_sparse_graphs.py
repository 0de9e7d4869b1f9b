"""Random graphs of every operation, with values read late and often: fusing and the plan of memory keep them right."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from plain_network import plain
from sparse_cards import Net, images

from cards_deck.card import Card
from cards_deck.errors import InputError
from cards_deck.inference.engines import EngineKind, available, load, sparse_library, sparse_plan
from cards_deck.inference.fake_deck import fake_card
from cards_deck.shapes import activation_shapes

pytestmark = pytest.mark.skipif(not available(EngineKind.SPARSE), reason="the sparse engine is not compiled")
KINDS = ("conv", "conv", "pointwise", "pointwise", "relu", "silu", "norm", "add", "add", "add", "max_pool", "avg_pool")
CHANNELS = 6
Shape = tuple[int, ...]


def drawn_card(size: int, count: int, seed: int) -> Card:
    """A graph of `count` operations, each on any values made before; what is left over is pooled, added up and read."""
    rng = np.random.default_rng(seed)
    net = Net(seed, density=float(rng.choice([0.1, 0.5, 1.0])), signed=bool(rng.random() < 0.2))
    sides = {net.conv(net.normalize() if rng.random() < 0.8 else "images", CHANNELS): size}
    for _ in range(count):
        names = list(sides)
        x = names[-1] if rng.random() < 0.5 else str(rng.choice(names))
        made, side = _drawn(net, rng, x, sides)
        sides[made] = side
    unread = [name for name in sides if not any(name in node.inputs for node in net.nodes)]
    vectors = [net.op("global_avg_pool", name) for name in unread]
    total = vectors[0]
    for vector in vectors[1:]:
        total = net.op("add", total, vector)
    return net.card(net.linear(total, CHANNELS, 10), classes=0)


def _drawn(net: Net, rng: np.random.Generator, x: str, sides: dict[str, int]) -> tuple[str, int]:
    side = sides[x]
    match str(rng.choice(KINDS)):
        case "conv":
            kernel, stride, padding = (
                int(rng.choice([1, 3, 3, 5])),
                int(rng.choice([1, 1, 2])),
                int(rng.choice([1, 1, 2])),
            )
            if side + 2 * padding >= kernel and side < 50:
                made = net.conv(x, CHANNELS, kernel, stride=stride, padding=padding, bias=bool(rng.random() < 0.3))
                return made, (side + 2 * padding - kernel) // stride + 1
        case "pointwise":
            return net.conv(x, CHANNELS, 1), side
        case "norm":
            return net.norm(x), side
        case "add":
            other = rng.choice([name for name in sides if sides[name] == side])
            return net.op("add", *((x, str(other)) if rng.random() < 0.5 else (str(other), x))), side
        case "max_pool" if side > 1:
            return net.op("max_pool", x, kernel=3, stride=2, padding=1), (side - 1) // 2 + 1
        case "avg_pool" if side > 1:
            return net.op("avg_pool", x, kernel=2, stride=1), side - 1
        case "silu":
            return net.op("silu", x), side
    return net.op("relu", x), side


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(size=st.integers(1, 40), count=st.integers(1, 14), seed=st.integers(0, 2**31))
def test_random_graphs_agree_with_the_definitions(size: int, count: int, seed: int) -> None:
    card, pixels = drawn_card(size, count, seed), images(3, size, seed % 100)
    runner, expected = load(card, EngineKind.SPARSE, image_size=size, threads=1 + seed % 2), plain(card, pixels)
    found = runner(pixels)
    np.testing.assert_allclose(found, expected, atol=1e-5 * max(1.0, float(np.abs(expected).max())))
    np.testing.assert_array_equal(runner(pixels[1:2]), found[1:2])  # alone: the same bits


def test_the_random_graphs_have_every_operation_and_read_values_late() -> None:
    """What the test above draws is worth drawing."""
    cards = [drawn_card(20, 14, seed) for seed in range(20)]
    found = {node.op for card in cards for node in card.graph.nodes}
    assert found >= {"conv2d", "batch_norm", "relu", "silu", "add", "max_pool", "avg_pool", "global_avg_pool", "linear"}
    assert max(card.graph.consumers(node.output) for card in cards for node in card.graph.nodes) >= 4
    assert len({shape for card in cards for shape in activation_shapes(card.graph, card.shapes, 20).values()}) >= 8


@pytest.mark.parametrize(
    "pixels",
    [np.zeros((1, 16, 16, 3), np.uint8), np.zeros((1, 32, 32, 3), np.float32), np.zeros((32, 32, 3), np.uint8)],
    ids=["another size", "floats", "one image"],
)
def test_images_that_do_not_fit_are_refused(pixels: np.ndarray) -> None:
    """The kernels would read beyond them."""
    runner = load(fake_card("card"), EngineKind.SPARSE, image_size=32)
    with pytest.raises(InputError, match="images must be"):
        runner(pixels)


@pytest.mark.parametrize("order", ["C", "F"])
def test_images_may_lie_anyhow_in_memory(order: str) -> None:
    card, pixels = fake_card("card"), images(4, 32)
    runner = load(card, EngineKind.SPARSE, image_size=32)
    laid = np.array(pixels, order=order)[::-1]  # type: ignore[call-overload]
    laid.flags.writeable = False
    np.testing.assert_array_equal(runner(laid), runner(pixels)[::-1])


def test_a_level_that_the_machine_lacks_is_not_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = load(fake_card("card"), EngineKind.SPARSE, image_size=32)(images(2, 32))
    monkeypatch.setitem(sparse_library.LEVELS, "avx1024", max(sparse_library.LEVELS.values()) + 1)
    monkeypatch.setenv("CARDS_DECK_SIMD", "avx1024")
    np.testing.assert_array_equal(load(fake_card("card"), EngineKind.SPARSE, image_size=32)(images(2, 32)), expected)
    monkeypatch.setenv("CARDS_DECK_SIMD", "sse9")
    with pytest.raises(
        InputError, match=r"CARDS_DECK_SIMD must be one of plain, .*, got 'sse9': unset it, or name one"
    ):
        load(fake_card("card"), EngineKind.SPARSE, image_size=32)


def test_a_card_that_would_need_too_much_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sparse_plan, "MOST_FLOATS", 1000)
    with pytest.raises(InputError, match="may take 4,000 bytes a thread"):
        load(fake_card("large"), EngineKind.SPARSE, image_size=32)
