"""The sparse engine: the numbers of the definitions and of PyTorch, alone, in a batch, on threads, at every level."""

from __future__ import annotations

import dataclasses
import tracemalloc

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from plain_network import Layer, large_then_small, plain, random_card
from sparse_cards import Net

from cards_deck.card import Card
from cards_deck.inference.engines import EngineKind, available, load, sparse, sparse_library
from cards_deck.inference.engines.sparse_layout import Domain
from cards_deck.inference.engines.sparse_steps import fused_steps
from cards_deck.inference.engines.sparse_weights import conv_lists, in_turns
from cards_deck.inference.fake_deck import fake_card, fake_images

pytestmark = pytest.mark.skipif(not available(EngineKind.SPARSE), reason="no C compiler was here to build the engine")

LEVELS = [name for name, level in sparse_library.LEVELS.items() if available(EngineKind.SPARSE)
          and any(sparse_library.library().sparse_kernels(level, width) for width in sparse_library.WIDTHS)]  # type: ignore[union-attr]  # fmt: skip
EVERY_LEVEL = [
    pytest.param(name, marks=pytest.mark.skipif(name not in LEVELS, reason=f"untested: this machine has no {name}"))
    for name in sparse_library.LEVELS
]

LAYERS = st.lists(
    st.builds(
        Layer,
        outputs=st.integers(1, 9),
        kernel=st.tuples(st.integers(1, 5), st.integers(1, 5)),
        stride=st.integers(1, 3),
        padding=st.integers(0, 2),
        groups=st.sampled_from([1, 1, 1, 2, 3]),
        norm=st.booleans(),
        activation=st.sampled_from(["", "relu", "silu"]),
        residual=st.booleans(),
        binary=st.booleans(),
        pool=st.sampled_from(["", "", "max_pool", "avg_pool"]),
    ),
    min_size=1,
    max_size=4,
)


@pytest.fixture(params=EVERY_LEVEL)
def level(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv(sparse_library.LEVEL_VARIABLE, request.param)
    return str(request.param)


def fits(layers: list[Layer], size: int) -> bool:
    height = width = size
    for layer in layers:
        if height + 2 * layer.padding < layer.kernel[0] or width + 2 * layer.padding < layer.kernel[1]:
            return False
        height = (height + 2 * layer.padding - layer.kernel[0]) // layer.stride + 1
        width = (width + 2 * layer.padding - layer.kernel[1]) // layer.stride + 1
        if layer.pool and min(height, width) > 2:
            grown = 2 if layer.pool == "max_pool" else 0
            height, width = (height + grown - 2) // 2 + 1, (width + grown - 2) // 2 + 1
    return True


def check(card: Card, size: int, count: int = 3) -> None:
    images = fake_images(count, size, seed=size)
    runner = sparse.load(card, image_size=size, threads=1)
    expected = plain(card, images)
    scale = max(float(np.ptp(expected)), 1.0)
    found = runner(images)
    np.testing.assert_allclose(found, expected, atol=1e-5 * scale)
    np.testing.assert_array_equal(np.concatenate([runner(images[i : i + 1]) for i in range(count)]), found)


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(layers=LAYERS, size=st.integers(1, 40), density=st.sampled_from([0.0, 0.05, 0.4, 1.0]), pooled=st.booleans())
def test_random_networks_agree_with_the_definitions(
    level: str, layers: list[Layer], size: int, density: float, pooled: bool
) -> None:
    assume(fits(layers, size))
    check(random_card(layers, size=size, density=density, pooled=pooled, seed=size), size)


@pytest.mark.parametrize("size", [4, 5, 8, 16, 17, 31, 64, 100])
@pytest.mark.parametrize("binary", [False, True])
def test_every_kind_of_plane_agrees(level: str, size: int, binary: bool) -> None:
    layer = Layer(12, activation="relu", residual=True, binary=binary)
    wider = Layer(20, stride=2, activation="silu", binary=binary)
    shortcut = Layer(20, kernel=(1, 1), padding=0, norm=False, binary=binary)
    check(random_card([layer, layer, wider, shortcut, layer], size=size, density=0.3, seed=size), size, count=2)


def test_offsets_of_large_inputs_have_32_bits(level: str) -> None:
    layers = [Layer(48, activation="relu"), Layer(4, kernel=(5, 3), padding=2)]
    check(random_card(layers, size=150, density=0.05), 150, count=1)


@pytest.mark.parametrize(("kernel", "channels", "size"), [(5, 128, 8), (7, 100, 8), (5, 300, 4), (3, 256, 8)])
def test_inputs_that_are_read_in_two_passes(level: str, kernel: int, channels: int, size: int) -> None:
    """Also by kernels that are wider than three columns, which go another way."""
    net = Net(density=0.1)
    x = net.op("relu", net.norm(net.conv(net.normalize(), channels)))
    check(net.card(net.op("relu", net.op("add", net.norm(net.conv(x, channels, kernel)), x))), size)


def test_a_norm_of_a_long_vector_takes_no_more_memory_than_the_vector() -> None:
    net = Net()
    vector = net.op("flatten", net.normalize())
    net.channels[vector] = 3 * 64 * 64
    card = net.card(net.linear(net.norm(vector), 3 * 64 * 64, 4), classes=0)
    tracemalloc.start()
    runner = sparse.load(card, image_size=64, threads=1)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 32 << 20, "n x n numbers would be 604 MB"
    np.testing.assert_allclose(runner(fake_images(2, 64)), plain(card, fake_images(2, 64)), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("density", [1.0, 0.2, 0.05, 0.02])
@pytest.mark.parametrize("name", ["resnet", "wide_resnet"])
def test_the_products_networks_agree_with_torch(level: str, name: str, density: float) -> None:
    pytest.importorskip("torch")
    from networks_for_engines import network_card

    card = network_card(name, density)
    images = fake_images(5, 32)
    expected = load(card, EngineKind.TORCH, image_size=32)(images)
    assert np.ptp(expected) > 1e-2
    runner = sparse.load(card, image_size=32, threads=2)
    for count in (5, 1, 2):
        found = runner(images[:count])
        assert np.abs(found - expected[:count]).max() <= 1e-4 * np.ptp(expected)


def test_threads_and_batches_do_not_change_an_answer() -> None:
    card, images = large_then_small(), fake_images(37, 32)
    runner = sparse.load(card, image_size=32, threads=1)
    last = max(i for i, op in enumerate(runner._plan.ops) if sparse_library.OPS[op.kind] == "conv2d")
    assert 0 < runner._plan.per_image <= last
    expected = np.concatenate([runner(images[i : i + 1]) for i in range(len(images))])
    for threads in (1, 2, 3):
        runner = sparse.load(card, image_size=32, threads=threads)
        for count in (1, 2, 3, 7, 11, 16, 17, 37, 1):
            np.testing.assert_array_equal(runner(images[:count]), expected[:count])


@pytest.mark.skipif("avx512" not in LEVELS, reason="the kernel is for vectors of sixteen floats")
def test_sixteen_images_of_small_planes_go_through_together() -> None:
    """Before layers that read guard lines and before others, with a stride, with one tap and with all."""
    small = Layer(70, activation="relu", residual=True)
    layers = [Layer(70, stride=2), small, small, Layer(70, (1, 1), padding=0), small, Layer(40, (5, 5), padding=2)]
    bare = set()
    for card, size in ((large_then_small(), 32), (random_card(layers, size=8, density=0.9), 8)):
        plan = sparse.load(card, image_size=size, threads=1)._plan
        bare |= {op.bare for op in plan.ops[plan.per_image :] if op.taps}
        check(card, size, 16)
    assert bare == {False, True}


def test_no_images_and_empty_layers_are_fine() -> None:
    card = random_card([Layer(4), Layer(4)], size=8, density=0.0)
    runner = sparse.load(card, image_size=8, threads=2)
    assert runner(fake_images(0, 8)).shape == (0, 7)
    check(card, 8)


def test_memory_is_planned_once_per_batch_size() -> None:
    runner = sparse.load(fake_card("a"), image_size=32, threads=1)
    runner(fake_images(4))
    (space,) = runner._free
    for count in (4, 1, 3):
        runner(fake_images(count))
        assert runner._free == [space]


def test_batch_norms_activations_and_sums_are_fused() -> None:
    layer = Layer(6, activation="relu", residual=True)
    steps = fused_steps(random_card([Layer(6, activation="silu"), layer, layer], size=8, density=0.5))
    assert [step.op for step in steps] == ["input", "conv2d", "conv2d", "conv2d", "global_avg_pool", "linear"]
    assert [step.post for step in steps[2:4]] == ["relu", "relu"]


def test_binary_layers_store_no_values() -> None:
    binary = random_card([Layer(8, binary=True)], size=16, density=0.3)
    runner = sparse.load(binary, image_size=16, threads=1)
    (op,) = (op for op in runner._plan.ops if sparse_library.OPS[op.kind] == "conv2d")
    assert op.binary
    assert not op.values


def test_a_card_that_computes_in_8_bits_is_left_to_its_engines() -> None:
    assert sparse.supports(fake_card("a"))
    ranges = {"x1": (0.0, 1.0)}
    card = fake_card("a")
    object.__setattr__(card, "ranges", ranges)
    assert not sparse.supports(card)
    assert {field.name for field in dataclasses.fields(Card)} >= {"ranges"}


@pytest.mark.parametrize("channels", [1, 3, 4, 6, 9])
@pytest.mark.parametrize("density", [0.0, 0.1, 0.6])
def test_weights_listed_in_turns_are_the_same_weights(channels: int, density: float) -> None:
    rng = np.random.default_rng(channels)
    weight = np.where(rng.random((channels, 5, 3, 3)) < density, rng.normal(size=(channels, 5, 3, 3)), 0)
    domain = Domain.of((4, 4), (3, 3), 1, 1, [16])
    lists = conv_lists(weight.astype(np.float32), 1, domain, 48, False)
    turned, order = in_turns(lists, 4)
    assert sorted(order) == list(range(channels))
    assert lists.values is not None
    assert turned.values is not None
    counts, lengths = (each.runs["count"].reshape(channels, 3) for each in (lists, turned))
    for place, channel in enumerate(order):
        group = order[place // 4 * 4 : place // 4 * 4 + 4]
        np.testing.assert_array_equal(lengths[place], counts[group].max(axis=0))
        at, start = int(lists.first_entry[channel]), int(turned.first_entry[place])
        for column in range(3):
            kept, length = int(counts[channel, column]), int(lengths[place, column])
            places = start + place % 4 + 4 * np.arange(length)
            np.testing.assert_array_equal(turned.values[places[:kept]], lists.values[at : at + kept])
            np.testing.assert_array_equal(turned.offsets[places[:kept]], lists.offsets[at : at + kept])
            assert not turned.values[places[kept:]].any()
            at, start = at + kept, start + 4 * length


def test_small_planes_are_summed_side_by_side_and_large_inputs_in_fewer_lines() -> None:
    """So that the tests above have every kind of kernel in them."""
    wide, narrow = Layer(130, (1, 1), padding=0), Layer(8, activation="relu")
    plan = sparse.load(random_card([narrow, wide, narrow], size=32, density=0.3), image_size=32, threads=1)._plan
    convs = [op for op in plan.ops if sparse_library.OPS[op.kind] == "conv2d"]
    assert convs[2].block < convs[0].block
    small = sparse.load(random_card([narrow], size=4, density=0.3), image_size=4, threads=1)._plan
    assert [op.group for op in small.ops if sparse_library.OPS[op.kind] == "conv2d"] == [
        4 if max(sparse_library.kernels(sparse_library.library())) > 4 else 1  # type: ignore[arg-type]
    ]
