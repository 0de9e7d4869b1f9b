"""Mask codings: round trips, codes written by hand, sizes near the entropy, and refusals of everything else."""

from __future__ import annotations

import lzma
import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cards_deck.coding import CODINGS, Mask, decode, smallest

LIGHT = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def _masks(draw: st.DrawFn) -> Mask:
    size, density = draw(st.integers(1, 3000)), draw(st.sampled_from([0.0, 0.002, 0.05, 0.3, 0.9, 1.0]))
    mask = np.random.default_rng(draw(st.integers(0, 2**32))).random(size) < density
    if draw(st.booleans()):
        mask[draw(st.integers(0, size - 1)) :] = False  # nothing is written of a long end
    return mask


@LIGHT
@given(_masks(), st.sampled_from(CODINGS.names()))
def test_every_coding_gives_every_mask_back(mask: Mask, name: str) -> None:
    data = CODINGS.build(name).encode(mask)
    assert data.dtype == np.uint8
    np.testing.assert_array_equal(decode(name, data, mask.size, int(mask.sum())), mask)
    np.testing.assert_array_equal(CODINGS.build(name).encode(mask.copy()), data)


@LIGHT
@given(_masks())
def test_the_smallest_is_chosen_of_those_tried(mask: Mask) -> None:
    name, data = smallest(mask)
    np.testing.assert_array_equal(decode(name, data, mask.size, int(mask.sum())), mask)
    assert len(data) <= min(len(CODINGS.build(other).encode(mask)) for other in ("bitmap", "delta", "rice"))


def _mask(size: int, *kept: int) -> Mask:
    mask = np.zeros(size, np.bool_)
    mask[list(kept)] = True
    return mask


@pytest.mark.parametrize(
    ("name", "mask", "data"),
    [
        ("bitmap", _mask(10, 0, 3, 9), [0b10010000, 0b01000000]),
        ("delta", _mask(10, 0, 3, 9), [0, 2, 5]),
        ("delta", _mask(600, 254, 255, 599), [254, 0, 255, 88]),  # 343 between: 255 + 88
        ("delta", _mask(600, 255), [255, 0]),
        ("delta", _mask(5), []),
        # Gaps 0, 1, 0, k = 0: quotients 0, 1, 0 as 1 01 1.
        ("rice", _mask(10, 0, 2, 3), [0, 0b10110000]),
        # Gaps 0, 2, 5, k = 1: lowest bits 0 0 1, quotients 0, 1, 2 as 1 01 001.
        ("rice", _mask(10, 0, 3, 9), [1, 0b00100000, 0b10100100]),
        # Gaps 6, 9, 5, k = 2: lowest bits 10 01 01, quotients 1, 2, 1 as 01 001 01.
        ("rice", _mask(30, 6, 16, 22), [2, 0b10010100, 0b01001010]),
        ("rice", _mask(5), [0]),
    ],
)
def test_codes_written_by_hand(name: str, mask: Mask, data: list[int]) -> None:
    assert CODINGS.build(name).encode(mask).tolist() == data
    np.testing.assert_array_equal(decode(name, np.array(data, np.uint8), mask.size, int(mask.sum())), mask)


def _entropy(density: float) -> float:
    return -density * math.log2(density) - (1 - density) * math.log2(1 - density)


@pytest.mark.parametrize("density", [0.01, 0.02, 0.05, 0.1, 0.2])
def test_random_masks_take_at_most_three_percent_more_than_their_entropy(density: float) -> None:
    size = 400_000
    mask = np.zeros(size, np.bool_)
    mask[np.random.default_rng(0).permutation(size)[: round(density * size)]] = True
    assert _entropy(density) * size / 8 <= len(smallest(mask)[1]) + 1 <= 1.03 * _entropy(density) * size / 8 + 200


def test_an_uneven_mask_takes_less_than_the_entropy_of_its_density() -> None:
    rng = np.random.default_rng(0)
    mask = np.repeat(rng.random(400) < 0.1, 500) & (rng.random(200_000) < 0.5)  # whole filters are pruned
    name, data = smallest(mask)
    assert name.startswith("lzma")
    assert len(data) < 0.6 * _entropy(float(mask.mean())) * mask.size / 8


@pytest.mark.parametrize(
    ("name", "data", "size", "kept"),
    [
        ("magic", [0], 8, 0),
        (["rice"], [0], 8, 0),
        ("bitmap", [255], 8, 9),
        ("bitmap", [255], 8, 7),
        ("bitmap", [255], 9, 8),
        ("bitmap", [255, 255], 9, 9),  # bits after the end
        ("delta", [7], 7, 1),
        ("delta", [1, 2], 8, 1),
        ("delta", [1, 255], 8, 1),
        ("delta", [255] * 9, 8, 0),
        ("rice", [], 8, 0),
        ("rice", [29], 8, 0),
        ("rice", [0, 1], 7, 1),  # the gap 7 leaves no room
        ("rice", [0, 0b10000000, 0], 8, 1),  # bytes after the last gap
        ("rice", [0], 8, 1),
        ("rice", [1], 8, 1),
        ("rice", [1, 0b11000000, 0b10000000], 8, 1),  # a second lowest bit
        ("rice", [28, 255, 255, 255, 240, 128], 8, 1),  # a gap of 2^28 - 1
        ("lzma_delta", [], 8, 1),
        ("lzma_delta", [1, 2, 3], 8, 1),
        ("lzma_bitmap", [], 8, 1),
    ],
)
def test_other_data_are_refused(name: object, data: list[int], size: int, kept: int) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  (many texts)
        decode(name, np.array(data, np.uint8), size, kept)


def _bomb(length: int) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 6, "dict_size": 1 << 20, "lc": 0, "lp": 0, "pb": 0}]
    return np.frombuffer(lzma.compress(bytes(length), format=lzma.FORMAT_RAW, filters=filters), np.uint8)


@pytest.mark.parametrize("name", ["lzma_delta", "lzma_bitmap"])
def test_a_bomb_is_not_unpacked(name: str) -> None:
    bomb = _bomb(5_000_000)
    assert len(bomb) < 5_000
    with pytest.raises(ValueError, match="truncated, or hold more"):
        decode(name, bomb, 1000, 10)
    trailing = np.concatenate([CODINGS.build(name).encode(_mask(1000, 5)), np.zeros(1, np.uint8)])
    with pytest.raises(ValueError, match="truncated, or hold more"):
        decode(name, trailing, 1000, 1)


@LIGHT
@given(st.sampled_from(CODINGS.names()), st.binary(max_size=80), st.integers(0, 4000), st.integers(0, 400))
def test_any_bytes_are_refused_or_are_a_mask(name: str, data: bytes, size: int, kept: int) -> None:
    try:
        mask = decode(name, np.frombuffer(data, np.uint8), size, kept)
    except ValueError:
        return
    assert mask.shape == (size,)
    assert int(mask.sum()) == kept
