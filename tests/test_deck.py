"""Decks and their folders: round trips, and refusals that name the file."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cards_deck import files, tensorfile
from cards_deck.deck import Deck, GateConfig, read_deck, size_on_disk, write_deck
from cards_deck.errors import DeckError, InputError
from cards_deck.inference.fake_deck import fake_card, fake_deck
from cards_deck.references import References, references_bytes, references_from_bytes

OLD = dataclasses.replace(fake_deck(), name="old", measured={"aa": {"clean": 0.9}})


def _contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_deck(OLD, tmp_path_factory.mktemp("decks") / "old")


@pytest.fixture
def folder(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "deck"))


def test_write_read_write_gives_the_same_bytes(written: Path, tmp_path: Path) -> None:
    again = read_deck(written)
    assert again.folder == written
    assert (again.name, again.version, again.classes) == (OLD.name, OLD.version, OLD.classes)
    assert (again.gate, again.image_size, again.measured) == (OLD.gate, OLD.image_size, OLD.measured)
    assert [card.id for card in again.cards] == [card.id for card in OLD.cards]
    np.testing.assert_array_equal(again.references.log_amplitude, OLD.references.log_amplitude)
    assert _contents(write_deck(again, tmp_path / "again")) == _contents(written)


def test_the_size_is_that_of_all_files(written: Path) -> None:
    assert size_on_disk(written) == sum(len(data) for data in _contents(written).values())
    with pytest.raises(DeckError, match="not a folder"):
        size_on_disk(written / "nowhere")


def _edit(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    manifest = json.loads((folder / "deck.json").read_text())
    change(manifest)
    (folder / "deck.json").write_text(json.dumps(manifest))


def _card(field: str, value: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda manifest: manifest["cards"][0].update({field: value})


def _field(field: str, value: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda manifest: manifest.update({field: value})


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_field("schema_version", 4), "schema_version 4: this release reads versions 1 to 3"),
        (_field("schema_version", True), "schema_version True"),
        (lambda m: m.pop("schema_version"), "schema_version None"),
        (_field("extra", 1), "exactly the fields"),
        (lambda m: m.pop("classes"), "exactly the fields"),
        (_field("name", 3), "'name' must be a str"),
        (_field("name", "../x"), "name must be"),
        (_field("version", ""), "version must be"),
        (_field("image_size", 16), "references are of 32 pixels"),
        (_field("image_size", 32.0), "'image_size' must be a int"),
        (_field("classes", ["a"] * 10), "distinct names"),
        (_field("classes", ["a", "b"]), "answers 10 classes, the deck has 2"),
        (_field("classes", [1] * 10), "distinct names"),
        (_field("preprocessing", {}), "cannot do the preprocessing"),
        (_field("gate", {"kind": "magic"}), "unknown gate"),
        (_field("gate", {"temperature": 1}), "no .temperature."),
        (_field("gate", {"max_cards": 0}), "max_cards"),
        (_field("gate", {"margin": "big"}), "margin"),
        (_field("gate", {"unknown_quantile": 2}), "unknown_quantile"),
        (_field("measured", []), "'measured' must be a dict"),
        (_field("references", {}), "exactly file and sha256"),
        (lambda m: m.pop("masks"), "exactly the fields"),
        (_field("masks", {"file": "x.safetensors"}), "exactly file and sha256, or nothing"),
        (_field("masks", {"file": "../x.safetensors", "sha256": ""}), "is not a plain"),
        (_field("masks", {"file": "none.safetensors", "sha256": ""}), r"none\.safetensors is missing"),
        (_field("cards", []), "1 to 1000 cards"),
        (_field("cards", [7]), "exactly name, id"),
        (lambda m: m["cards"][0].pop("sha256"), "exactly name, id"),
        (lambda m: m["cards"].append(m["cards"][0]), "two entries name the same file"),
        (_card("sha256", "0" * 64), "augmix_1-.*has SHA-256"),
        (_card("sha256", None), "augmix_1-.*has SHA-256"),
        (_card("name", "other"), "augmix_1-.*holds card 'augmix_1'"),
        (_card("id", "0" * 12), "augmix_1-.*holds card"),
        (_card("record", {}), "augmix_1-.*holds card"),
        (_card("file", "none.safetensors"), r"none\.safetensors is missing"),
        (_card("file", "../x.safetensors"), r"'\.\./x\.safetensors' is not a plain"),
        (_card("file", "/etc/passwd"), "'/etc/passwd' is not a plain"),
        (_card("file", "a/../x.safetensors"), "is not a plain"),
        (_card("file", "..\\x.safetensors"), "is not a plain"),
        (_card("file", "C:x.safetensors"), "is not a plain"),
        (_card("file", "x.safetensors\x00.pt"), "is not a plain"),
        (_card("file", ".safetensors"), "is not a plain"),
        (_card("file", "card.pt"), "'card.pt' is not a plain"),
        (_card("file", 7), "7 is not a plain"),
        (lambda m: m["references"].update(file="../r.safetensors"), "is not a plain"),
    ],
)
def test_a_wrong_manifest_is_refused(folder: Path, change: Callable[[dict[str, Any]], Any], says: str) -> None:
    _edit(folder, change)
    with pytest.raises(DeckError, match=says) as caught:
        read_deck(folder)
    assert str(folder) in str(caught.value)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"a": 1, "a": 2}', '{"a": NaN}', "[" * 100_000, "\x80", "\ufeff{}"], ids=range(9)
)
def test_a_broken_manifest_is_refused(folder: Path, text: str) -> None:
    (folder / "deck.json").write_bytes(text.encode("latin-1" if text == "\x80" else "utf-8"))
    with pytest.raises(DeckError, match=r"deck\.json"):
        read_deck(folder)


def test_a_folder_without_a_deck_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(DeckError, match=r"deck\.json does not exist"):
            read_deck(path)


def _first(folder: Path, start: str) -> Path:
    return next(folder.glob(f"{start}-*"))


@pytest.mark.parametrize("start", ["augmix_1", "references"])
def test_damaged_missing_and_linked_files_are_refused(folder: Path, tmp_path: Path, start: str) -> None:
    path = _first(folder, start)
    good = path.read_bytes()
    for damage in (good[:-1], good + b"x", b"", b"\x80\x04.", good[:-1] + bytes([good[-1] ^ 1])):
        path.write_bytes(damage)
        with pytest.raises(DeckError, match="has SHA-256") as caught:
            read_deck(folder)
        assert path.name in str(caught.value)
    path.unlink()
    with pytest.raises(DeckError, match=f"{path.name} is missing"):
        read_deck(folder)
    (tmp_path / "elsewhere").write_bytes(good)
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DeckError, match=f"{path.name} cannot be read: it is a symbolic link"):
        read_deck(folder)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(DeckError, match=f"{path.name} cannot be read: it is not a regular file"):
        read_deck(folder)


def test_a_linked_manifest_is_refused(folder: Path, tmp_path: Path) -> None:
    (folder / "deck.json").rename(tmp_path / "real.json")
    (folder / "deck.json").symlink_to(tmp_path / "real.json")
    with pytest.raises(DeckError, match=r"deck\.json cannot be read: it is a symbolic link"):
        read_deck(folder)


def test_a_file_with_a_right_hash_and_a_wrong_content_is_refused(folder: Path) -> None:
    for start, entry in (("augmix_1", lambda m: m["cards"][0]), ("references", lambda m: m["references"])):
        path = _first(folder, start)
        good = path.read_bytes()
        path.write_bytes(b"not a card")
        _edit(folder, lambda m, entry=entry: entry(m).update(sha256=files.sha256(b"not a card")))  # type: ignore[misc]
        with pytest.raises(DeckError, match=path.name):
            read_deck(folder)
        path.write_bytes(good)
        _edit(folder, lambda m, entry=entry, good=good: entry(m).update(sha256=files.sha256(good)))  # type: ignore[misc]
    assert read_deck(folder).name == "old"


def _deck(**fields: Any) -> Callable[[], Deck]:
    return lambda: dataclasses.replace(OLD, **fields)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (_deck(cards=()), "1 to 1000 cards"),
        (_deck(cards=(OLD.cards[0], OLD.cards[1], OLD.cards[0])), "two cards have the name augmix_1"),
        (_deck(cards=(*OLD.cards, dataclasses.replace(OLD.cards[0], name="twin"))), "two cards have the id"),
        (_deck(cards=(OLD.cards[0],)), "no card was trained under gaussian"),
        (_deck(cards=(*OLD.cards, fake_card("third", "clean"))), "no reference spectrum for clean"),
        (_deck(cards=(*OLD.cards, fake_card("third", classes=3))), "answers 3 classes, the deck has 10"),
        (_deck(image_size=64), "references are of 32 pixels"),
        (_deck(classes=()), "distinct names"),
    ],
)
def test_an_inconsistent_deck_is_refused(make: Callable[[], Deck], says: str) -> None:
    with pytest.raises(DeckError, match=says):
        make()


def test_a_uniform_deck_needs_no_reference_for_each_card() -> None:
    cards = (*OLD.cards, fake_card("third", "clean"))
    assert len(dataclasses.replace(OLD, cards=cards, gate=GateConfig("uniform")).cards) == 5


def _references(**fields: Any) -> References:
    return dataclasses.replace(OLD.references, **fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"augmentations": ("augmix", "augmix")},
        {"augmentations": ("augmix",)},
        {"augmentations": ("augmix", "")},
        {"log_amplitude": np.zeros((2, 32, 16), np.float32)},
        {"log_amplitude": np.full((2, 32, 17), np.nan, np.float32)},
        {"log_amplitude": np.zeros((2, 32, 17))},
        {"scale": np.zeros(3, np.float32)},
        {"quantiles": np.array([1, 0], np.float32)},
        {"quantiles": np.zeros(1, np.float32)},
    ],
)
def test_malformed_references_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        _references(**fields)


def test_a_wrong_reference_file_is_refused() -> None:
    tensors, metadata = tensorfile.decode(references_bytes(OLD.references))
    assert references_from_bytes(tensorfile.encode(tensors, metadata)).augmentations == OLD.references.augmentations
    without = {name: array for name, array in tensors.items() if name != "scale"}
    for wrong in (
        tensorfile.encode(tensors, {**metadata, "version": "1"}),
        tensorfile.encode(tensors, {**metadata, "version": "3"}),
        tensorfile.encode(tensors, {**metadata, "augmentations": "7"}),
        tensorfile.encode(tensors, {**metadata, "augmentations": ""}),
        tensorfile.encode(without, metadata),
    ):
        with pytest.raises(ValueError):  # noqa: PT011  (five different texts)
            references_from_bytes(wrong)
