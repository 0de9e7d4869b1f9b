"""Decks that hold averages of their cards, and gates with learned arrays: files, order, refusals."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from families import blend, family, family_deck
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cards_deck import files
from cards_deck.averages import is_average
from cards_deck.card import card_bytes
from cards_deck.commands.repack import check_same, repack
from cards_deck.deck import Deck, GateConfig, card_sizes, read_deck, write_deck
from cards_deck.errors import DeckError
from cards_deck.gate_file import MAX_ARRAYS, gate_bytes, gate_from_bytes
from cards_deck.inference.engines import EngineKind, available, load
from cards_deck.inference.fake_deck import fake_images
from cards_deck.inference.predictor import Predictor
from cards_deck.tensorfile import decode, encode

DECK = family_deck()


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_deck(DECK, tmp_path_factory.mktemp("decks") / "family")


@pytest.fixture
def folder(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "family"))


def _edit(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    manifest = json.loads((folder / "deck.json").read_text())
    change(manifest)
    (folder / "deck.json").write_text(json.dumps(manifest))


def test_averages_come_back_bit_for_bit_in_their_places(written: Path, tmp_path: Path) -> None:
    again = read_deck(written)
    check_same(DECK, again)
    assert [card.name for card in again.cards] == ["half", "base", "tuned_1", "tuned_2", "tuned_3", "soup"]
    assert [card.averaged for card in again.cards] == [True, False, False, False, False, True]
    assert again.originals == DECK.originals == (1, 2, 3, 4)
    copied = write_deck(again, tmp_path / "again")
    assert {p.name: p.read_bytes() for p in copied.iterdir()} == {p.name: p.read_bytes() for p in written.iterdir()}


def test_averages_are_stored_as_what_they_are(written: Path) -> None:
    kinds = {path.name.split("-")[0]: is_average(path.read_bytes()) for path in written.glob("*.safetensors")}
    assert kinds == {name: name in ("half", "soup") for name in kinds}
    sizes = card_sizes(read_deck(written))
    assert sizes == card_sizes(DECK)
    assert max(sizes["half"], sizes["soup"]) < min(sizes["base"], sizes["tuned_1"])


def test_a_deck_with_averages_answers_like_its_parts(written: Path) -> None:
    images = fake_images(5)
    deck = read_deck(written)
    predictor = Predictor(dataclasses.replace(deck, gate=GateConfig("uniform")), engine=EngineKind.FAKE)
    assert predictor.predict(images).probabilities.shape == (5, 10)
    kind = EngineKind.SPARSE if available(EngineKind.SPARSE) else EngineKind.ONNX
    for card, own in zip(deck.cards, DECK.cards, strict=True):
        one, other = (load(each, kind, image_size=32)(images) for each in (card, own))
        np.testing.assert_array_equal(one, other)


def test_no_reference_is_asked_for_an_average(written: Path) -> None:
    assert read_deck(written).gate.kind == "spectral"
    assert DECK.cards[0].augmentation == "mixed"


def test_an_average_without_its_parents_is_a_card_of_its_own(tmp_path: Path) -> None:
    cards = family()
    lone = dataclasses.replace(DECK, cards=(blend(cards[:2], (0.5, 0.5)), cards[2]), gate=GateConfig("uniform"))
    assert lone.originals == (0, 1)
    again = read_deck(write_deck(lone, tmp_path / "lone"))
    check_same(lone, again)
    assert again.cards[0].averaged
    with pytest.raises(DeckError, match="no reference spectrum for mixed"):
        dataclasses.replace(lone, gate=GateConfig())


def test_weights_that_the_parents_do_not_give_are_stored_whole(tmp_path: Path) -> None:
    """The same recipe on another machine may give other bits: the card keeps its own."""
    half = DECK.cards[0]
    tensors = dict(half.tensors)
    tensors["head.bias"] = tensors["head.bias"] + np.float32(1)
    other = dataclasses.replace(half, tensors=tensors)
    deck = dataclasses.replace(DECK, cards=(other, *DECK.cards[1:]))
    again = read_deck(write_deck(deck, tmp_path / "deck"))
    check_same(deck, again)
    assert again.originals == (1, 2, 3, 4)


def _drop(name: str) -> Callable[[dict[str, Any]], Any]:
    return lambda m: m.update(cards=[entry for entry in m["cards"] if entry["name"] != name])


def _in_record(name: str, **fields: Any) -> Callable[[dict[str, Any]], Any]:
    def change(manifest: dict[str, Any]) -> None:
        next(entry for entry in manifest["cards"] if entry["name"] == name)["record"].update(fields)

    return change


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_drop("base"), "half-.*its parent .* is not among the deck's cards"),
        (_drop("tuned_3"), "soup-.*its parent .* is not among the deck's cards"),
        (_in_record("half", parents=["0" * 12, "1" * 12]), "half-.*not the one that deck.json describes"),
        (_in_record("half", method={"name": "average", "coefficients": [2, -1]}), "half-.*not the one that"),
        (lambda m: m["cards"][0].update(file=m["cards"][5]["file"]), "two entries name the same file"),
        (lambda m: m["cards"][0].update(id="0" * 12), "half-.*holds card 'half'"),
        (lambda m: m["gate"].update(arrays=7), "gate's arrays must have exactly file and sha256"),
        (lambda m: m["gate"].update(arrays={"file": "x.safetensors"}), "must have exactly file and sha256"),
        (lambda m: m["gate"].update(arrays={"file": "../x.safetensors", "sha256": ""}), "is not a plain"),
        (lambda m: m["gate"].update(arrays={"file": "x.safetensors", "sha256": ""}), r"x\.safetensors is missing"),
    ],
)
def test_a_wrong_manifest_is_refused(folder: Path, change: Callable[[dict[str, Any]], Any], says: str) -> None:
    _edit(folder, change)
    with pytest.raises(DeckError, match=says):
        read_deck(folder)


def _average_of(*names: str) -> Callable[[Path], None]:
    """Rewrite half's file and its entry, hashes and all, so that it names other parents."""

    def change(folder: Path) -> None:
        manifest = json.loads((folder / "deck.json").read_text())
        ids = {entry["name"]: entry["id"] for entry in manifest["cards"]}
        entry = manifest["cards"][0]
        entries, metadata = decode((folder / entry["file"]).read_bytes())
        record = json.loads(metadata["record"]) | {"parents": [ids[name] for name in names]}
        data = encode(entries, metadata | {"record": files.canonical_json(record)})
        (folder / entry["file"]).write_bytes(data)
        entry.update(sha256=files.sha256(data), record=record)
        (folder / "deck.json").write_text(json.dumps(manifest))

    return change


@pytest.mark.parametrize("names", [("base", "half"), ("base", "soup"), ("half", "soup"), ("base", "tuned_3")])
def test_averages_of_averages_and_of_other_parents_are_refused(folder: Path, names: tuple[str, ...]) -> None:
    _average_of(*names)(folder)
    with pytest.raises(DeckError, match=r"half-.* is not a readable average of cards: its parent"):
        read_deck(folder)


def test_repack_keeps_averages_small_and_same(folder: Path) -> None:
    before, after = repack(folder, folder)
    assert after == before
    check_same(DECK, read_deck(folder))


def test_repack_of_an_older_deck_with_whole_averages_makes_it_smaller(tmp_path: Path) -> None:
    """Such as the version 2 that wrote every card whole."""
    path = write_deck(DECK, tmp_path / "deck")
    manifest = json.loads((path / "deck.json").read_text())
    for entry, card in zip(manifest["cards"], DECK.cards, strict=True):
        data = card_bytes(card)
        (path / entry["file"]).write_bytes(data)
        entry["sha256"] = files.sha256(data)
    manifest |= {"schema_version": 2, "masks": {}}
    (path / "deck.json").write_text(json.dumps(manifest))
    for leftover in path.glob("masks-*"):
        leftover.unlink()
    check_same(DECK, read_deck(path))
    before, after = repack(path, path)
    assert after < before
    check_same(DECK, read_deck(path))


@pytest.mark.parametrize("small", [0, 1])
def test_averages_beyond_the_bound_are_stored_whole_and_refused(
    small: int, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first average of the order counts 2 parents, the second 3."""
    weights = DECK.cards[1].num_weights
    monkeypatch.setattr("cards_deck.deck_cards.MAX_WORK", (2 * small + 2) * weights)
    again = write_deck(DECK, tmp_path / "again")
    check_same(DECK, read_deck(again))
    assert is_average(next(again.glob("half-*")).read_bytes())
    assert not is_average(next(again.glob("soup-*")).read_bytes())
    with pytest.raises(DeckError, match=r"soup-.*multiplications, more than"):
        read_deck(folder)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 10**6), st.integers(0, 7))
def test_a_flipped_bit_in_the_manifest_is_refused_or_harmless(folder: Path, position: int, bit: int) -> None:
    path = folder / "deck.json"
    good = path.read_bytes()
    data = bytearray(good)
    data[position % len(data)] ^= 1 << bit
    path.write_bytes(bytes(data))
    with contextlib.suppress(DeckError):
        check_same(DECK, read_deck(folder))
    path.write_bytes(good)


LEARNED = {"bias": np.arange(4, dtype=np.float32), "weights": np.eye(3, dtype=np.float32)}


def test_a_gates_arrays_have_a_file_of_their_own() -> None:
    data = gate_bytes(LEARNED)
    again = gate_from_bytes(data)
    assert set(again) == set(LEARNED)
    for name, array in LEARNED.items():
        np.testing.assert_array_equal(again[name], array)
    assert gate_bytes(again) == data


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "not a safetensors file"),
        (encode(LEARNED, {"format": "cards-deck/gate", "version": "2"}), "of version 1"),
        (encode(LEARNED, {"format": "cards-deck/gate", "version": "1", "more": ""}), "of version 1"),
        (encode({}, {"format": "cards-deck/gate", "version": "1"}), "1 to 256 arrays"),
        (encode({"a": np.zeros(3, np.float16)}, {"format": "cards-deck/gate", "version": "1"}), "float32 and finite"),
        (encode({"a": np.full(3, np.nan, np.float32)}, {"format": "cards-deck/gate", "version": "1"}), "finite"),
    ],
)
def test_a_wrong_gate_file_is_refused(data: bytes, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        gate_from_bytes(data)


def test_too_many_arrays_are_refused() -> None:
    with pytest.raises(ValueError, match="256 arrays"):
        gate_bytes({f"a{index}": np.zeros(1, np.float32) for index in range(MAX_ARRAYS + 1)})


@pytest.fixture
def learned(monkeypatch: pytest.MonkeyPatch) -> Deck:
    """A deck whose gate has arrays, whatever its kind makes of them."""
    monkeypatch.setattr("cards_deck.deck.gate_for", lambda deck: None)
    return dataclasses.replace(DECK, gate=dataclasses.replace(DECK.gate, arrays=LEARNED))


def test_a_deck_stores_its_gates_arrays(learned: Deck, tmp_path: Path) -> None:
    folder = write_deck(learned, tmp_path / "learned")
    (file,) = folder.glob("gate-*.safetensors")
    assert json.loads((folder / "deck.json").read_text())["gate"]["arrays"]["file"] == file.name
    assert read_deck(folder).gate == learned.gate
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    repack(folder, folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    write_deck(DECK, folder)
    assert not file.exists()


def test_changed_arrays_are_refused(learned: Deck, tmp_path: Path) -> None:
    folder = write_deck(learned, tmp_path / "learned")
    (file,) = folder.glob("gate-*.safetensors")
    good = file.read_bytes()
    for wrong in (good[:-1] + b"\x01", good[:-4]):
        file.write_bytes(wrong)
        with pytest.raises(DeckError, match=f"{file.name} has SHA-256"):
            read_deck(folder)
    file.write_bytes(b"other")
    _edit(folder, lambda m: m["gate"]["arrays"].update(sha256=files.sha256(b"other")))
    with pytest.raises(DeckError, match=f"{file.name} is not readable as a gate's arrays"):
        read_deck(folder)
    file.unlink()
    with pytest.raises(DeckError, match=f"{file.name} is missing"):
        read_deck(folder)
