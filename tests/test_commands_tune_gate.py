"""`cards-deck tune-gate`: what it writes, where, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_tune_gate import augment, camera, deck

from cards_deck.__main__ import main
from cards_deck.commands import tune_gate
from cards_deck.deck import read_deck, write_deck
from cards_deck.errors import MissingExtraError
from cards_deck.inference.fake_deck import fake_deck
from cards_deck.preprocess import read_square


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """400 files in two folders, PNG and JPEG of two sizes, and things that are no images."""
    root = tmp_path_factory.mktemp("inbox")
    for index, pixels in enumerate(camera(400)):
        place = root / ("morning" if index < 200 else "evening")
        place.mkdir(exist_ok=True)
        image = Image.fromarray(pixels)
        image = image if index % 4 else image.resize((64, 64), Image.Resampling.BICUBIC)
        image.save(place / f"{index:03}.{'png' if index % 4 < 2 else 'jpg'}")
    (root / "notes.txt").write_text("no image")
    (root / ".hidden.png").write_bytes(b"")
    return root


def command(folder: Path, made: Path, *options: str) -> int:
    return main(["tune-gate", str(made), "--images", str(folder), "--engine", "fake", *options])


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A deck's folder; its augmentations are this file's, so that no torch is needed."""
    monkeypatch.setattr(tune_gate, "_augment", lambda: augment)
    return write_deck(fake_deck(), tmp_path / "deck")


def test_the_command_writes_a_new_deck_with_its_record(
    folder: Path, made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (made / "deck.json").read_bytes()
    assert command(folder, made) == 0
    target = made.with_name("deck-tuned")
    new, record = read_deck(target), json.loads((target / "tune-gate.json").read_text())
    assert (made / "deck.json").read_bytes() == before
    assert new.version == "1-tuned"
    assert [card.id for card in new.cards] == [card.id for card in read_deck(made).cards]
    kept = new.measured["gate"]["tuned"]
    assert kept["after"]["agreement"] == record["after"]["agreement"]
    assert "answer_ms" in record["after"]
    assert "answer_ms" not in kept["after"]
    assert record["fitted_on"] == record["after"]["images"] == 200
    said = capsys.readouterr().out
    for text in ("before", "after", "unknown spectrum", "cards per image", "agrees with the average", "ms per image"):
        assert text in said
    assert f"{record['after']['agreement']:.1%}" in said
    for title, shares in (("nearest to", "choices"), ("cards that ran", "ran")):
        line = next(line for line in said.splitlines() if line.startswith(title))
        assert all(f"{name} {share:.0%}" in line for name, share in record["after"][shares].items())


def test_images_are_read_as_served_ones_in_the_order_of_their_names(folder: Path) -> None:
    paths = tune_gate.image_files(folder)
    assert len(paths) == 400
    assert paths == sorted(paths)
    images, broken = tune_gate._read(folder, deck(), 2000)
    assert not broken
    for place in (0, 3, 250, 399):
        assert np.array_equal(images[place], read_square(paths[place], 32))
    few, _ = tune_gate._read(folder, deck(unknown_quantile=0.99), 200)
    assert (len(few), few[0].tolist(), few[-1].tolist()) == (200, images[0].tolist(), images[-1].tolist())


def test_in_place_only_where_asked(folder: Path, made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for options in (["--out", str(made)], ["--out", str(made / "." / "..") + f"/{made.name}"]):
        assert command(folder, made, *options) == 2
        assert "--in-place" in capsys.readouterr().err
    assert command(folder, made, "--in-place", "--out", str(made)) == 2
    assert command(folder, made, "--in-place", "--deck-version", "2") == 0
    assert read_deck(made).version == "2"


def test_refusals_name_the_number_needed(
    folder: Path, made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for place, options, message in (
        (
            folder / "morning",
            [],
            "400 images are needed, half to fit the gate and half to measure it, but there are 200",
        ),
        (folder, ["--most", "399"], "--most must be at least 400"),
        (tmp_path / "none", [], "it must be a folder with images"),
    ):
        assert command(place, made, *options) == 2
        assert message in capsys.readouterr().err
    assert not made.with_name("deck-tuned").exists()


def test_files_that_cannot_be_read_are_counted(
    folder: Path, made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "inbox").symlink_to(folder)
    linked = tmp_path / "more"
    linked.mkdir()
    for path in tune_gate.image_files(folder):
        (linked / path.name).symlink_to(path)
    (linked / "zz.png").write_bytes(b"junk")
    assert command(linked, made) == 0
    assert "1 files cannot be read and were left out; the first: " in capsys.readouterr().out
    assert read_deck(made.with_name("deck-tuned")).measured["gate"]["tuned"]["unreadable"] == 1


def test_without_torch_the_command_still_tunes_what_it_can(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing() -> None:
        raise MissingExtraError("training needs torch")

    monkeypatch.setattr(tune_gate, "require_training", missing)
    made = write_deck(fake_deck(), tmp_path / "deck")
    assert command(folder, made) == 0
    assert "left as it was: reference spectra: torch" in capsys.readouterr().out


def test_limits_are_set_kept_and_taken_away(folder: Path, made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(folder, made, "--abstain-below", "1", "--gate-seconds", "2.5", "--in-place") == 0
    gate, said = read_deck(made).gate, capsys.readouterr().out
    assert (gate.abstain_below, gate.seconds) == (1.0, 2.5)
    assert "left as it was: abstain_below" not in said
    record = json.loads((made / "tune-gate.json").read_text())
    assert record["before"]["abstained"] == 0
    assert record["after"]["abstained"] == record["after"]["unknown"]
    assert command(folder, made, "--gate-seconds", "none", "--in-place") == 0
    gate = read_deck(made).gate
    assert (gate.abstain_below, gate.seconds) == (1.0, None)
    assert "left as it was: abstain_below" in capsys.readouterr().out
