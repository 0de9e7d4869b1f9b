"""The safetensors layout: interchangeable with the library's, deterministic, and strict when read."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cards_deck.tensorfile import decode, encode

SHAPES = st.lists(st.integers(0, 4), max_size=4).map(tuple)
DTYPES = st.sampled_from([np.float32, np.float16, np.uint8])
ARRAYS = st.builds(
    lambda shape, dtype: np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype), SHAPES, DTYPES
)
FILES = st.dictionaries(st.text(min_size=1, max_size=4).filter(lambda name: name != "__metadata__"), ARRAYS, max_size=4)


def _same(left: dict[str, Any], right: dict[str, Any]) -> bool:
    return set(left) == set(right) and all(
        left[name].dtype == right[name].dtype
        and left[name].shape == right[name].shape
        and left[name].tobytes() == right[name].tobytes()
        for name in left
    )


@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])
@given(FILES)
def test_the_library_reads_what_we_write_and_we_read_what_it_writes(tensors: dict[str, Any]) -> None:
    ours = encode(tensors, {"format": "test", "b": "2"})
    assert _same(safetensors.numpy.load(ours), tensors)
    assert _same(decode(ours)[0], tensors)
    assert decode(ours)[1] == {"format": "test", "b": "2"}
    assert _same(decode(safetensors.numpy.save(tensors, {"format": "test"}))[0], tensors)


def test_order_of_names_does_not_change_the_bytes() -> None:
    a, b = np.ones(3, np.float32), np.ones((2, 2), np.uint8)
    assert encode({"a": a, "b": b}, {"x": "1", "y": "2"}) == encode({"b": b, "a": a}, {"y": "2", "x": "1"})


def test_other_dtypes_are_not_written() -> None:
    with pytest.raises(ValueError, match="float64"):
        encode({"a": np.ones(3)}, {})


def _file(header: object, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def _tensor(**fields: object) -> dict[str, object]:
    return {"dtype": "F32", "shape": [2], "data_offsets": [0, 8], **fields}


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "0 bytes"),
        (b"\x80\x04\x95" + b"x" * 30, "does not begin with"),
        (b"PK\x03\x04" + b"x" * 30, "does not begin with"),
        (_file({})[:9], "truncated"),
        (_file(b"{" + b" " * (1 << 20)), "does not begin with"),
        (_file(b'{"a":1,"a":2}'), "same key twice"),
        (_file(b'{"a":' * 100_000), "nested too deeply|does not begin"),
        (_file(b"{\xff}"), "utf-8"),
        (_file({"__metadata__": {"a": 1}}), "texts to texts"),
        (_file({"a": [1]}), "not described by"),
        (_file({"a": _tensor(dtype="I64")}, b"x" * 8), "dtype 'I64'"),
        (_file({"a": _tensor(dtype=["F32"])}, b"x" * 8), "dtype"),
        (_file({"a": _tensor(shape=[-2])}, b"x" * 8), "shape"),
        (_file({"a": _tensor(shape=[True, 2])}, b"x" * 8), "shape"),
        (_file({"a": _tensor(shape=[1 << 20, 1 << 20])}, b"x" * 8), "elements, more than"),
        (_file({"a": _tensor(shape=[1] * 9)}, b"x" * 8), "shape"),
        (_file({"a": _tensor(data_offsets=[0, 4])}, b"x" * 8), "wrong length"),
        (_file({"a": _tensor(data_offsets=[4, 12])}, b"x" * 12), "hole"),
        (_file({"a": _tensor(data_offsets=[-8, 0])}, b"x" * 8), "offsets"),
        (_file({"a": _tensor(data_offsets=[8])}, b"x" * 8), "offsets"),
        (_file({"a": _tensor(), "b": _tensor()}, b"x" * 8), "overlaps"),
        (_file({"a": _tensor()}, b"x" * 7), "truncated or padded"),
        (_file({"a": _tensor()}, b"x" * 9), "truncated or padded"),
    ],
)
def test_a_broken_file_is_refused(data: bytes, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        decode(data)
