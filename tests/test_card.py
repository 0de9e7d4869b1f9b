"""Cards and their files: round trips, the pinned id, and every kind of broken file refused by name."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cards_deck import tensorfile
from cards_deck.card import Card, CardRecord, as_stored, card_bytes, card_from_bytes, read_card, write_card
from cards_deck.errors import CardError
from cards_deck.inference.fake_deck import fake_card
from cards_deck.packing import pack, unpack

LIGHT = settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])
RECORD = CardRecord(
    network={"name": "resnet", "depth": 20, "width": 16},
    method={"name": "rigl", "drop": 0.3},
    quantizer={"name": "none"},
    augmentation={"name": "augmix", "severity": 3},
    density=0.1,
    bits=16,
    data={"name": "cifar10", "sha256": "0" * 64},
    schedule={"epochs": 40},
    seed=1,
    parents=("0123456789ab",),
)


def test_the_id_is_pinned() -> None:
    assert RECORD.id == "b1619de40a19"  # a change here orphans every released card


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(CardRecord)])
def test_every_field_changes_the_id(field: str) -> None:
    other: dict[str, Any] = {"density": 0.2, "bits": 32, "seed": 2, "parents": (), "augmentation": {"name": "gaussian"}}
    changed = dataclasses.replace(RECORD, **{field: other.get(field, {"name": "other"})})
    assert changed.id != RECORD.id


def test_a_record_survives_json() -> None:
    assert CardRecord.from_json(RECORD.to_json()) == RECORD
    assert dataclasses.replace(RECORD, parents=list(RECORD.parents)).id == RECORD.id  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"density": 0}, "density"),
        ({"density": 1.5}, "density"),
        ({"density": True}, "density"),
        ({"density": float("nan")}, "density"),
        ({"bits": 8}, "bits"),
        ({"seed": "1"}, "seed"),
        ({"parents": "0123"}, "parents"),
        ({"parents": (1,)}, "parents"),
        ({"network": ["resnet"]}, "network"),
        ({"augmentation": {}}, "augmentation"),
        ({"method": {"x": float("nan")}}, "plain JSON"),
        ({"method": {"x": object()}}, "plain JSON"),
    ],
)
def test_a_malformed_record_is_refused(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(CardError, match=says):
        dataclasses.replace(RECORD, **fields)


@st.composite
def _masked(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, Any], int]:
    shape = tuple(draw(st.lists(st.integers(1, 5), min_size=1, max_size=4)))
    bits, density = draw(st.sampled_from([16, 32])), draw(st.sampled_from([0.0, 0.1, 0.5, 1.0]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    special = [0.0, -0.0, 65504.0, -65504.0, 6e-8, 1e-4, 1.0]  # the ends of what 16 bits hold
    values = np.where(rng.random(shape) < 0.3, rng.choice(special, shape), rng.normal(size=shape))
    values = values.astype(np.float16 if bits == 16 else np.float32).astype(np.float32)
    mask = np.asarray(rng.random(shape) < density)
    return {"w": np.where(mask, values, np.float32(0)), "b": rng.normal(size=3).astype(np.float32)}, {"w": mask}, bits


@LIGHT
@given(_masked())
def test_packing_loses_nothing(given_case: tuple[dict[str, Any], dict[str, Any], int]) -> None:
    tensors, masks, bits = given_case
    entries = pack(tensors, masks, bits)
    assert set(entries) == {"w.mask", "w.values", "b"}
    dense, found = unpack(entries, {"w": list(masks["w"].shape)}, bits)
    np.testing.assert_array_equal(found["w"], masks["w"])
    for name, array in tensors.items():
        assert dense[name].tobytes() == array.tobytes()
    again = pack(dense, found, bits)
    assert {name: array.tobytes() for name, array in again.items()} == {n: a.tobytes() for n, a in entries.items()}


@pytest.mark.parametrize("bits", [16, 32])
def test_write_read_write_gives_the_same_bytes(tmp_path: Path, bits: int) -> None:
    card = fake_card("card", bits=bits)
    digest = write_card(card, tmp_path / "card.safetensors")
    again = read_card(tmp_path / "card.safetensors", sha256=digest)
    assert write_card(again, tmp_path / "again.safetensors") == digest
    assert (again.name, again.id, again.graph) == (card.name, card.id, card.graph)
    assert (again.density, again.num_kept, again.num_weights) == (card.density, card.num_kept, card.num_weights)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again.safetensors", "card.safetensors"]


def test_sixteen_bits_round_once() -> None:
    card = fake_card("card", bits=16)
    array = np.where(card.masks["head.weight"], np.float32(1 / 3), np.float32(0))
    rough = dataclasses.replace(card, tensors={**card.tensors, "head.weight": array})
    stored = as_stored(rough)
    np.testing.assert_array_equal(stored.tensors["head.weight"], array.astype(np.float16).astype(np.float32))
    assert card_bytes(stored) == card_bytes(rough)


def test_a_value_beyond_sixteen_bits_is_refused() -> None:
    card = fake_card("card", bits=16)
    array = np.where(card.masks["head.weight"], np.float32(1e6), np.float32(0))
    with pytest.raises(CardError, match=r"'head\.weight' does not fit in 16 bits"):
        card_bytes(dataclasses.replace(card, tensors={**card.tensors, "head.weight": array}))


def test_a_kept_zero_stays_kept() -> None:
    card = fake_card("card")
    array = card.tensors["head.weight"].copy()
    array[np.nonzero(card.masks["head.weight"])] = 0
    zeroed = as_stored(dataclasses.replace(card, tensors={**card.tensors, "head.weight": array}))
    np.testing.assert_array_equal(zeroed.masks["head.weight"], card.masks["head.weight"])
    assert zeroed.num_kept == card.num_kept


def test_what_a_look_up_gives_is_ones_own() -> None:
    card = as_stored(fake_card("card"))
    card.tensors["head.weight"][:] = 7
    card.tensors["head.bias"][:].flags.writeable = True
    assert not (card.tensors["head.weight"] == 7).any()
    assert len(card.tensors) == len(list(card.tensors)) == 8
    assert len(card.masks) == len(list(card.masks)) == 3


def _with(card: Card, **fields: Any) -> Card:
    return dataclasses.replace(card, **fields)


def _tensor(card: Card, name: str, array: Any) -> Card:
    return _with(card, tensors={**card.tensors, name: array})


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda c: _with(c, name="../card"), "name must be"),
        (lambda c: _with(c, name=""), "name must be"),
        (lambda c: _tensor(c, "head.bias", np.zeros(10)), "must be float32, not float64"),
        (lambda c: _tensor(c, "head.bias", np.full(10, np.nan, np.float32)), "NaN or infinity"),
        (lambda c: _tensor(c, "head.weight", np.ones((10, 8), np.float32)), "not zero where its mask is"),
        (lambda c: _tensor(c, "spare", np.zeros(1, np.float32)), "'spare', which its graph does not use"),
        (lambda c: _with(c, tensors={}), "which the card does not hold"),
        (lambda c: _with(c, masks={**c.masks, "bn.weight": np.ones(8, np.bool_)}), "not of a conv or linear weight"),
        (lambda c: _with(c, masks={**c.masks, "head.weight": np.ones(80, np.bool_)}), "must be bool of shape"),
        (lambda c: _with(c, masks={**c.masks, "head.weight": c.masks["head.weight"].astype(np.uint8)}), "must be bool"),
        (lambda c: _with(c, record=dataclasses.replace(c.record, density=0.9)), "its record says 0.9"),
        (lambda c: _with(c, masks={}), "its record says"),
    ],
)
def test_an_inconsistent_card_is_refused(change: Callable[[Card], Card], says: str) -> None:
    with pytest.raises(CardError, match=says):
        change(fake_card("card"))


def _rebuilt(change: Callable[[dict[str, Any], dict[str, str]], None]) -> bytes:
    entries, metadata = tensorfile.decode(card_bytes(fake_card("card")))
    change(entries, metadata)
    return tensorfile.encode(entries, metadata)


def _set(where: str, value: str) -> Callable[[dict[str, Any], dict[str, str]], None]:
    return lambda entries, metadata: metadata.update({where: value})


def _swap(name: str, change: Callable[[Any], Any]) -> Callable[[dict[str, Any], dict[str, str]], None]:
    return lambda entries, metadata: entries.update({name: change(entries[name])})


def _shapes(entries: dict[str, Any], metadata: dict[str, str]) -> None:
    metadata["shapes"] = json.dumps({**json.loads(metadata["shapes"]), "head.weight": [1 << 20, 1 << 20]})


def _clash(entries: dict[str, Any], metadata: dict[str, str]) -> None:
    entries["head.weight"] = np.zeros((10, 8), np.float32)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_set("format", "cards-deck/references"), "format"),
        (_set("version", "2"), "version is '2': this release reads version 1"),
        (_set("comment", "x"), "unknown fields"),
        (lambda e, m: m.pop("graph"), "missing or unknown fields"),
        (_set("record", "{}"), "exactly the fields"),
        (_set("record", "nonsense"), "record must be JSON"),
        (_set("graph", "nonsense"), "graph must be JSON"),
        (_set("name", "a/b"), "name must be"),
        (_set("shapes", "[]"), "shapes must be an object"),
        (_set("shapes", "{}"), "weight.values' must be float32"),
        (_shapes, "elements, more than"),
        (_clash, "must be float32 and not also pruned"),
        (lambda e, m: e.pop("head.weight.mask"), "must be stored as"),
        (_swap("head.weight.mask", lambda a: a[:-1]), "must hold 10 bytes"),
        (_swap("stem.weight.mask", lambda a: a.astype(np.float16)), "must hold"),
        (_swap("head.weight.values", lambda a: a[:-1]), "one for each of"),
        (_swap("head.weight.values", lambda a: a.astype(np.float32)), "must be float16"),
        (_swap("head.weight.values", lambda a: np.full_like(a, np.inf)), "NaN or infinity"),
        (_swap("head.bias", lambda a: a.astype(np.float16)), "must be float32"),
        (_swap("head.bias", lambda a: a * np.nan), "NaN or infinity"),
    ],
)
def test_a_wrong_card_file_is_refused(change: Callable[[Any, Any], None], says: str, tmp_path: Path) -> None:
    path = tmp_path / "wrong.safetensors"
    path.write_bytes(_rebuilt(change))
    with pytest.raises(CardError, match=says) as caught:
        read_card(path)
    assert str(path) in str(caught.value)


def test_bits_after_the_end_of_a_mask_are_refused() -> None:
    entries = pack({"w": np.ones(3, np.float32)}, {"w": np.ones(3, np.bool_)}, 16)
    entries["w.mask"] = entries["w.mask"] | 1
    with pytest.raises(ValueError, match="bits set after its end"):
        unpack(entries, {"w": [3]}, 16)


def test_clashing_names_are_refused() -> None:
    tensors = {"w": np.ones(3, np.float32), "w.mask": np.ones(3, np.float32)}
    with pytest.raises(ValueError, match="clashes"):
        pack(tensors, {"w": np.ones(3, np.bool_)}, 16)


class _Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return pytest.fail, ("a pickle was executed",)


def _zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(_Bomb()))
    return buffer.getvalue()


def _npy() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array([_Bomb()], dtype=object), allow_pickle=True)
    return buffer.getvalue()


@pytest.mark.parametrize("data", [pickle.dumps(_Bomb()), _zipped(), _npy()], ids=["pickle", "zip", "npy"])
def test_a_pickle_is_refused_and_never_run(data: bytes, tmp_path: Path) -> None:
    for name in ("card.pt", "card.safetensors"):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(CardError, match=name):
            read_card(tmp_path / name)


def test_every_truncation_is_refused() -> None:
    data = card_bytes(fake_card("card"))
    for length in [*range(0, len(data), 97), len(data) - 1]:
        with pytest.raises(CardError):
            card_from_bytes(data[:length])


@LIGHT
@given(st.integers(0, 10**6), st.integers(0, 7))
def test_a_flipped_bit_is_refused_or_makes_another_valid_card(position: int, bit: int) -> None:
    data = bytearray(card_bytes(fake_card("card")))
    data[position % len(data)] ^= 1 << bit
    try:
        card = card_from_bytes(bytes(data))
    except CardError:
        return
    assert all(np.isfinite(array).all() for array in card.tensors.values())


def test_a_flipped_bit_is_found_by_the_hash(tmp_path: Path) -> None:
    path = tmp_path / "card.safetensors"
    digest = write_card(fake_card("card"), path)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(CardError, match="SHA-256") as caught:
        read_card(path, sha256=digest)
    assert str(path) in str(caught.value)


def test_missing_and_special_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CardError, match=r"none\.safetensors"):
        read_card(tmp_path / "none.safetensors")
    with pytest.raises(CardError, match="cannot be read"):
        read_card(tmp_path)


def test_a_failed_write_leaves_the_old_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "card.safetensors"
    digest = write_card(fake_card("old"), path)

    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CardError, match=r"card\.safetensors.*No space left"):
        write_card(fake_card("new"), path)
    assert read_card(path, sha256=digest).name == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
