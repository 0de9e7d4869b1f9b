"""Kept values: every kind through its bytes and back, codes exact, and other data refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cards_deck.tensorfile import Array
from cards_deck.values import DTYPES, codes_of, decode, encode

LIGHT = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])


def _values(kind: str, count: int, seed: int) -> Array:
    rng = np.random.default_rng(seed)
    if kind == "sign":
        return rng.choice([-1, 1], count).astype(np.int8)
    if kind == "ternary":
        return rng.integers(-1, 2, count).astype(np.int8)
    if kind == "int8":
        return np.clip(rng.normal(0, 30, count), -127, 127).astype(np.int8)
    return rng.normal(0, 0.05, count).astype(DTYPES[kind])


@LIGHT
@given(st.sampled_from(sorted(DTYPES)), st.integers(0, 700), st.integers(0, 2**32))
def test_every_kind_gives_its_values_back(kind: str, count: int, seed: int) -> None:
    values = _values(kind, count, seed)
    coding, entry = encode(values, kind)
    again = decode(coding, kind, entry, count)
    assert again.dtype == DTYPES[kind]
    assert again.tobytes() == values.tobytes()
    assert encode(again, kind)[1].tobytes() == entry.tobytes()


@pytest.mark.parametrize(
    ("kind", "bits"), [("float32", 28), ("float16", 14.0), ("int8", 7.2), ("ternary", 1.61), ("sign", 1.01)]
)
def test_bits_a_value(kind: str, bits: float) -> None:
    values = _values(kind, 40_000, 0)
    assert 8 * encode(values, kind)[1].nbytes / len(values) < bits


def test_signs_and_ternary_codes_by_hand() -> None:
    assert encode(np.array([1, -1, 1, 1, -1, -1, -1, 1, 1], np.int8), "sign")[1].tolist() == [0b10110001, 0b10000000]
    # Digits 1 more than the code, lowest first: 2 + 3 * 1 + 9 * 0 + 27 * 2 + 81 * 2, then 1.
    assert encode(np.array([1, 0, -1, 1, 1, 0], np.int8), "ternary")[1].tolist() == [2 + 3 + 54 + 162, 1]


@pytest.mark.parametrize(
    ("coding", "kind", "entry", "count"),
    [
        ("plain", "sign", np.array([0b10110001, 0b11000000], np.uint8), 9),  # a bit after the end
        ("plain", "sign", np.zeros(1, np.uint8), 9),
        ("plain", "ternary", np.array([243], np.uint8), 5),
        ("plain", "ternary", np.array([0, 3], np.uint8), 6),  # a code after the end
        ("plain", "ternary", np.zeros(1, np.int8), 5),
        ("plain", "int8", np.array([-128], np.int8), 1),
        ("plain", "int8", np.zeros(3, np.int8), 2),
        ("plain", "float16", np.zeros(2, np.float32), 2),
        ("squeezed", "sign", np.zeros(2, np.uint8), 9),
        ("squeezed", "float16", np.zeros(2, np.uint8), 1),
        ("squeezed", "float16", np.zeros(1, np.uint8), 2),
        ("squeezed", "float16", np.zeros(2, np.float16), 2),
        ("magic", "float16", np.zeros(2, np.float16), 2),
        (None, "float16", np.zeros(2, np.float16), 2),
    ],
)
def test_other_data_are_refused(coding: object, kind: str, entry: Array, count: int) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  (many texts)
        decode(coding, kind, entry, count)


@LIGHT
@given(
    st.sampled_from(["squeezed", "plain"]), st.sampled_from(sorted(DTYPES)), st.binary(max_size=60), st.integers(0, 60)
)
def test_any_bytes_are_refused_or_are_values(coding: str, kind: str, data: bytes, count: int) -> None:
    try:
        values = decode(coding, kind, np.frombuffer(data, np.uint8), count)
    except ValueError:
        return
    assert values.shape == (count,)
    assert values.dtype == DTYPES[kind]


@pytest.mark.parametrize("outputs", [1, 4])
def test_codes_are_exact(outputs: int) -> None:
    rng = np.random.default_rng(0)
    scale = rng.uniform(1e-3, 2e-3, outputs).astype(np.float32)
    codes = rng.integers(-127, 128, (4, 3, 2)).astype(np.int8)
    array = codes * scale.reshape(-1, 1, 1)
    np.testing.assert_array_equal(codes_of(array, scale, 8), codes)
    off = array.copy()
    off[0, 0, 0] = np.nextafter(off[0, 0, 0], np.float32(1))
    with pytest.raises(ValueError, match="not a code times its scale"):
        codes_of(off, scale, 8)
    with pytest.raises(ValueError, match="beyond the codes of 2 bits"):
        codes_of(array, scale, 2)
