"""Writing a deck: whole or not at all, and a good deck survives every failure."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cards_deck.deck import read_deck, write_deck
from cards_deck.errors import DeckError
from cards_deck.inference.fake_deck import fake_deck

OLD = dataclasses.replace(fake_deck(), name="old", measured={"aa": {"clean": 0.9}})
NEW = dataclasses.replace(fake_deck(seed=1), name="new")


def _contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_deck(OLD, tmp_path_factory.mktemp("decks") / "old")


@pytest.fixture
def folder(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "deck"))


def test_overwriting_leaves_only_the_new_deck_and_what_is_not_the_decks(folder: Path, tmp_path: Path) -> None:
    (folder / "README.md").write_text("mine")
    write_deck(NEW, folder)
    alone = _contents(write_deck(NEW, tmp_path / "alone"))
    assert _contents(folder) == {**alone, "README.md": b"mine"}


def test_leftovers_of_a_killed_writer_are_cleared(folder: Path, written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        _failing(patch, 3, KeyboardInterrupt)
        patch.setattr(Path, "unlink", lambda path, missing_ok=False: None)  # killed: it clears nothing
        with pytest.raises(KeyboardInterrupt):
            write_deck(NEW, folder)
    assert len(_contents(folder)) == len(_contents(written)) + 1
    assert read_deck(folder).name == "old"
    write_deck(OLD, folder)
    assert _contents(folder) == _contents(written)


def test_writing_repairs_a_damaged_file(folder: Path, written: Path) -> None:
    damaged = next(folder.glob("augmix_1-*"))
    damaged.write_bytes(b"broken")
    write_deck(OLD, folder)
    assert _contents(folder) == _contents(written)


def _failing(monkeypatch: pytest.MonkeyPatch, k: int, error: type[BaseException]) -> list[str]:
    """Make the k-th opening, flushing or renaming of a written file fail, and note each of them."""
    done: list[str] = []

    def counted(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            if name == "open" and "xb" not in args:
                return function(*args, **kwargs)
            done.append(name)
            if len(done) == k:
                raise error(f"{name} failed")
            return function(*args, **kwargs)

        return wrapper

    monkeypatch.setattr(os, "fsync", counted("fsync", os.fsync))
    monkeypatch.setattr(Path, "replace", counted("rename", Path.replace))
    monkeypatch.setattr(Path, "open", counted("open", Path.open))
    return done


def _steps() -> int:
    """Openings, flushes (of file and folder) and renames of writing `NEW`: 4 cards, the references, the manifest."""
    return 4 * (len(NEW.cards) + 2)


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
@pytest.mark.parametrize("k", range(1, _steps() + 1))
def test_the_old_deck_survives_a_failure_at_any_step(
    folder: Path, written: Path, monkeypatch: pytest.MonkeyPatch, k: int, error: type[BaseException]
) -> None:
    done = _failing(monkeypatch, k, error)
    with pytest.raises(DeckError if error is OSError else KeyboardInterrupt):
        write_deck(NEW, folder)
    monkeypatch.undo()
    assert len(done) >= k
    # Only the very last flush comes after the rename that makes the new deck.
    assert read_deck(folder).name == ("new" if k == _steps() else "old")
    if k < _steps():
        assert _contents(folder) == _contents(written)


def test_that_were_all_the_steps(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = _failing(monkeypatch, 0, OSError)
    write_deck(NEW, folder)
    assert done == ["open", "fsync", "rename", "fsync"] * (len(NEW.cards) + 2)


def test_a_first_deck_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _failing(monkeypatch, _steps() - 2, OSError)
    with pytest.raises(DeckError, match="cannot be written"):
        write_deck(NEW, tmp_path / "first")
    assert list((tmp_path / "first").iterdir()) == []


def test_what_cannot_be_json_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    for value in (float("nan"), object()):
        with pytest.raises(DeckError, match="plain JSON"):
            write_deck(dataclasses.replace(OLD, measured={"x": value}), tmp_path / "deck")
    assert not (tmp_path / "deck").exists()
