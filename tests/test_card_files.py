"""Every kind of broken card file is refused by name, and never run."""

from __future__ import annotations

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
from cards_deck.card import card_bytes, card_from_bytes, read_card, write_card
from cards_deck.errors import CardError
from cards_deck.inference.fake_deck import fake_card
from cards_deck.packing import pack

LIGHT = settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])


def _rebuilt(change: Callable[[dict[str, Any], dict[str, str]], None]) -> bytes:
    entries, metadata = tensorfile.decode(card_bytes(fake_card("card")))
    change(entries, metadata)
    return tensorfile.encode(entries, metadata)


def _set(where: str, value: str) -> Callable[[dict[str, Any], dict[str, str]], None]:
    return lambda entries, metadata: metadata.update({where: value})


def _swap(name: str, change: Callable[[Any], Any]) -> Callable[[dict[str, Any], dict[str, str]], None]:
    return lambda entries, metadata: entries.update({name: change(entries[name])})


Change = Callable[[dict[str, Any], dict[str, str]], None]


def _spec(**fields: Any) -> Change:
    """Another description of the packed head."""

    def change(entries: dict[str, Any], metadata: dict[str, str]) -> None:
        packed = json.loads(metadata["packed"])
        packed["head.weight"].update(fields)
        metadata["packed"] = json.dumps(packed)

    return change


def _without_a_mask(entries: dict[str, Any], metadata: dict[str, str]) -> None:
    _spec(mask={})(entries, metadata)
    entries.pop("head.weight.mask")


def _bitmap(change: Callable[[Any], Any]) -> Change:
    """The head's mask as a bitmap of 10 bytes, changed."""

    def changed(entries: dict[str, Any], metadata: dict[str, str]) -> None:
        _spec(mask={"coding": "bitmap"})(entries, metadata)
        entries["head.weight.mask"] = change(np.packbits(fake_card("card").masks["head.weight"]))

    return changed


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_set("format", "cards-deck/references"), "format"),
        (_set("version", "4"), "version is '4': this release reads versions 1, 2, 3"),
        (_set("comment", "x"), "unknown fields"),
        (lambda e, m: m.pop("graph"), "missing or unknown fields"),
        (_set("record", "{}"), "exactly the fields"),
        (_set("record", "nonsense"), "record must be JSON"),
        (_set("graph", "nonsense"), "graph must be JSON"),
        (_set("name", "a/b"), "name must be"),
        (_set("packed", "[]"), "packed must be an object"),
        (_set("packed", "{}"), "head.weight.values' must be float32"),
        (_set("packed", '{"head.weight":7}'), "must be described by shape, kept"),
        (_set("ranges", "7"), "ranges must be an object"),
        (_set("ranges", '{"x1":7}'), "pairs of numbers"),
        (_set("ranges", '{"x1":[0,1]}'), "belong to bits under 16"),
        (_set("ranges", '{"x1":[1,0]}'), "two ordered numbers"),
        (_set("ranges", '{"x1":["a",0]}'), "two ordered numbers"),
        (_set("masks", "ab"), "must lie beside it"),
        (_set("masks", "../" * 30), "must lie beside it"),
        (_spec(shape=[1 << 20, 1 << 20]), "elements, more than"),
        (_spec(shape=[1 << 14, 1 << 14]), "declares 268436248 weights, more than"),
        (_spec(shape="big"), "has shape"),
        (_spec(kept=81), "must keep 0 to 80"),
        (_spec(kept="all"), "must keep 0 to 80"),
        (_spec(kept=True), "must keep 0 to 80"),
        (_spec(kind="float64"), "must be float16"),
        (_spec(kind="int8"), "must be float16"),
        (_spec(values="magic"), "has the coding 'magic'"),
        (_spec(values=["plain"]), "has the coding"),
        (_spec(mask={"coding": "magic"}), "coding 'magic' is unknown"),
        (_spec(mask={"coding": ["rice"]}), "is unknown"),
        (_spec(mask={"coding": "rice", "k": 3}), "mask is described by"),
        (_spec(mask={"shared": "0123456789abcdef"}), "not among the deck's shared masks"),
        (_spec(mask=None), "mask is described by"),
        (_spec(mask={}), "does not keep all its weights"),
        (_spec(extra=1), "must be described by shape, kept"),
        (_without_a_mask, "does not keep all its weights"),
        (lambda e, m: e.pop("head.weight.mask"), r"head\.weight\.mask is missing"),
        (lambda e, m: e.pop("head.weight.values"), r"head\.weight\.values is missing"),
        (lambda e, m: e.update({"head.weight": np.zeros((10, 8), np.float32)}), "must be float32 and not also packed"),
        (lambda e, m: e.update({"head.weight.scale": np.ones(1, np.float32)}), "must be None"),
        (_bitmap(lambda a: a[:-1]), "must hold 10 bytes"),
        (_bitmap(lambda a: a.astype(np.float16)), "must be a row of bytes"),
        (_bitmap(lambda a: ~a), "does not keep the"),
        (_swap("head.weight.values", lambda a: a[:-1]), "kept weights"),
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


@pytest.mark.parametrize("suffix", ["mask", "values", "scale"])
def test_clashing_names_are_refused(suffix: str) -> None:
    tensors = {"w": np.ones(3, np.float32), f"w.{suffix}": np.ones(3, np.float32)}
    with pytest.raises(ValueError, match="clashes"):
        pack(tensors, {"w": np.ones(3, np.bool_)}, {"w": np.ones(1, np.float32)}, 8)


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
