"""The example answer of README.md is one that the released deck gives."""

from __future__ import annotations

import asyncio
import copy
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cards_deck.deck import read_deck, write_deck
from cards_deck.errors import InputError
from cards_deck.inference.fake_deck import fake_deck
from serving import example
from serving.settings import Settings

README = Path(__file__).resolve().parent.parent / "README.md"


@pytest.fixture
def deck(tmp_path: Path) -> Path:
    write_deck(fake_deck(), tmp_path / "deck")
    return tmp_path / "deck"


def page(tmp_path: Path) -> Path:
    path = tmp_path / "README.md"
    path.write_text(f"before\n{example.BEGIN}\nold\n{example.END}\nafter\n")
    return path


def test_the_committed_picture_is_the_drawing() -> None:
    with Image.open(example.PICTURE) as image:
        assert image.format == "PNG"
        assert np.array_equal(np.asarray(image), example.drawing())


def test_the_readme_shows_what_the_released_deck_answers() -> None:
    folder = Settings().deck_path
    assert (folder / "deck.json").is_file(), f"{folder} must hold the released deck: `make deck`"
    answer = asyncio.run(example.ask(folder, example.PICTURE.read_bytes()))
    assert answer["deck"]["version"] == read_deck(folder).version
    assert example.agrees(README.read_text(encoding="utf-8"), answer), "README.md disagrees: run `make results`"


def test_a_written_answer_agrees_and_leaves_the_rest_of_the_file(
    deck: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(example, "PICTURE", tmp_path / "example.png")
    path = page(tmp_path)
    assert example.main(["--deck", str(deck), "--write", str(path)]) == 0
    text = path.read_text()
    assert text.startswith(f"before\n{example.BEGIN}\n```json\n{{\n")
    assert text.endswith(f"}}\n```\n{example.END}\nafter\n")
    assert example.main(["--deck", str(deck), "--check", str(path)]) == 0
    path.write_text(text.replace('"unknown_spectrum": ', '"unknown_spectrum": 1'))
    assert example.main(["--deck", str(deck), "--check", str(path)]) == 1
    assert "disagrees with the deck" in capsys.readouterr().err


def test_another_number_another_card_or_no_answer_is_noticed(deck: Path) -> None:
    answer = asyncio.run(example.ask(deck, example.encoded(example.drawing())))
    text = f"{example.BEGIN}\n{example.shown(answer)}\n{example.END}"
    assert example.agrees(text, answer)
    assert not example.agrees(f"{example.BEGIN}\n{example.END}", answer)
    name = next(iter(answer["probabilities"]))
    for change, same in ((0.0005, True), (0.01, False)):
        other = copy.deepcopy(answer)
        other["probabilities"][name] += change
        assert example.agrees(text, other) == same
    other = copy.deepcopy(answer)
    other["cards"][0]["name"] = "another"
    assert not example.agrees(text, other)


def test_a_missing_deck_and_missing_markers_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert example.main(["--deck", str(tmp_path / "none")]) == 1
    assert capsys.readouterr().err.startswith("error: ")
    with pytest.raises(InputError, match="must hold the line"):
        example.with_answer("no markers", "block", name="README.md")
