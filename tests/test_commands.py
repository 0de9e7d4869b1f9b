"""The `cards-deck` command: its flags, its output, and what it refuses."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from PIL import Image

from cards_deck.__main__ import COMMANDS, main
from cards_deck.commands.flags import add_fields, add_member, build_member, given
from cards_deck.commands.show import table
from cards_deck.deck import read_deck, write_deck
from cards_deck.errors import InputError
from cards_deck.inference.fake_deck import fake_deck, fake_images
from cards_deck.registry import Registry

SHAPES: Registry[Any] = Registry("shape")


@SHAPES.register("disc")
@dataclass(frozen=True)
class Disc:
    """A round one.

    Attributes:
        radius: in mm,
            at 20 % humidity.
        style: of the edge.
    """

    radius: float = 1.5
    style: Literal["sharp", "soft"] = "sharp"


@SHAPES.register("box")
@dataclass(frozen=True)
class Box:
    """A cornered one.

    Attributes:
        sides: of each face, in mm.
        lid: whether it closes.
        holes: (place, size) pairs.
        label: on it.
        inner: what lies in it.
    """

    sides: tuple[int, ...]
    lid: bool = False
    holes: tuple[tuple[float, int], ...] = ()
    label: str | None = None
    inner: Disc = field(default_factory=Disc)


def build(*argv: str) -> Any:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    add_member(parser, "shape", SHAPES, "disc", argv)
    return build_member(parser.parse_args(argv), "shape", SHAPES)


def test_fields_become_flags() -> None:
    assert build() == Disc()
    assert build("--shape.radius", "2", "--shape.style", "soft") == Disc(2.0, "soft")
    box = build(
        "--shape=box", "--shape.sides", "3,4", "--shape.lid", "--shape.holes", "0.5:2,1:3", "--shape.label", "x"
    )
    assert box == Box((3, 4), True, ((0.5, 2), (1.0, 3)), "x")
    assert build("--shape", "box", "--shape.sides", "", "--no-shape.lid", "--shape.label", "none") == Box(())


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--shape.radius", "wide"], "'wide' is no float"),
        (["--shape.style", "round"], "choose one of sharp, soft"),
        (["--shape.sides", "3"], "unrecognized arguments: --shape.sides"),
        (["--shape", "box", "--shape.sides", "3,x"], "'3,x' is no tuple"),
        (["--shape", "box", "--shape.sides", "3", "--shape.holes", "0.5"], "2 values are needed, not 1"),
        (["--shape", "box", "--shape.inner", "3"], "unrecognized arguments"),
        (["--shape"], "expected one argument"),
    ],
)
def test_wrong_values_name_the_flag(argv: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        build(*argv)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_unknown_members_and_missing_fields_are_refused() -> None:
    with pytest.raises(InputError, match="unknown shape 'ball': choose one of box, disc"):
        build("--shape", "ball")
    with pytest.raises(InputError, match="needs a value for sides"):
        build("--shape", "box")


def test_help_lists_the_settings_of_every_member() -> None:
    parser = argparse.ArgumentParser()
    add_member(parser, "shape", SHAPES, "disc", [])
    text = " ".join(parser.format_help().split())
    assert "--shape.radius VALUE in mm, at 20 % humidity (1.5)" in text
    assert "--shape.sides: of each face, in mm (required)" in text
    assert "--shape.holes: (place, size) pairs (empty)" in text
    assert "A cornered one." in text
    assert "inner" not in text


def test_fields_of_a_plain_dataclass_are_collected_where_given() -> None:
    parser = argparse.ArgumentParser()
    add_fields(parser, "disc", Disc, title="disc")
    assert given(parser.parse_args(["--disc.radius", "4"]), "disc") == {"radius": 4.0}


@pytest.fixture(scope="module")
def deck(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_deck(fake_deck(), tmp_path_factory.mktemp("decks") / "fake")


def test_show_lists_every_card(deck: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", str(deck)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("deck fake 1: 4 cards, images of 32 px, ")
    assert lines[1].startswith("10 classes: class_0, class_1")
    assert " ".join(lines[4].split()) == "card id augmentation density MACs left MMACs bits bytes validation"
    for line, card in zip(lines[5:], read_deck(deck).cards, strict=True):
        name, identity, augmentation, density, percent, _, _, _, bits, size, validation = line.split()
        assert (name, identity, augmentation) == (card.name, card.id, card.augmentation)
        assert (density, percent, bits, validation) == (f"{100 * card.density:.2f}", "%", "16", "-")
        assert int(size.replace(",", "")) == next(deck.glob(f"{card.name}-*")).stat().st_size


def test_the_table_shows_measured_accuracy() -> None:
    made = fake_deck()
    measured = {made.cards[0].id: {"validation": {"accuracy": 0.9125}}}
    assert "91.25 %" in table(type(made)(**{**vars(made), "measured": measured}))


def test_the_table_shows_what_the_gate_was_found_to_cost() -> None:
    made = fake_deck()
    chosen = {"cards": 1.703, "worst_validation_loss": 0.0048, "worst_validation_error": 0.001,
              "worst_validation_cell": "spatter 4"}  # fmt: skip

    def shown(**changes: Any) -> str:
        gate = {"most_loss": 0.03, "chosen": chosen | changes.pop("chosen", {})} | changes
        return table(type(made)(**{**vars(made), "measured": {"gate": gate}}))

    assert "1.70 cards per image, at worst 0.5 points below the average of all (spatter 4)\n" in shown()
    assert "1.70 cards per image, nowhere below the average of all\n" in shown(chosen={"worst_validation_loss": -0.001})
    assert "(spatter 4), more than the 0.3 allowed" in shown(most_loss=0.003)
    assert "allowed" not in shown(most_loss=0.004), "within one standard error"
    assert "at worst" not in shown(tuned={})
    assert "at worst" not in shown(most_loss=None), "a manifest from before there was a bound"
    assert "at worst" not in shown(chosen={"worst_validation_error": None})
    assert "at worst" not in table(made)


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    """A PNG of the deck's size and a larger JPEG."""
    paths = [tmp_path / "small.png", tmp_path / "large.jpg"]
    Image.fromarray(fake_images(1, 32)[0]).save(paths[0])
    Image.fromarray(fake_images(1, 90)[0]).save(paths[1])
    return paths


def test_predict_prints_one_line_per_image(
    deck: Path, pictures: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", *map(str, pictures), "--deck", str(deck), "--engine", "fake"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == [str(path) for path in pictures]
    assert all("class_" in line and "%" in line and "[" in line for line in lines)


def test_predict_as_json_says_what_the_predictor_says(
    deck: Path, pictures: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    from cards_deck import EngineKind, Predictor

    assert main(["predict", str(pictures[0]), "--deck", str(deck), "--engine", "fake", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    loaded = read_deck(deck)
    expected = Predictor(loaded, engine=EngineKind.FAKE).predict(fake_images(1, 32))
    assert answer["label"] == loaded.classes[int(expected.labels[0])]
    np.testing.assert_allclose(list(answer["probabilities"].values()), expected.probabilities[0], atol=1e-5)
    np.testing.assert_allclose(list(answer["distances"].values()), expected.distances[0], atol=1e-5)
    assert sum(answer["cards"].values()) == pytest.approx(1, abs=1e-5)
    assert answer["unknown_spectrum"] == bool(expected.unknown[0])


def test_refusals_are_one_line_and_status_2(
    deck: Path, pictures: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(pictures[0].read_bytes()[:200])
    for argv, message in (
        (["show", str(tmp_path / "no\nwhere")], "cards-deck show: "),
        (["predict", str(broken), "--deck", str(deck), "--engine", "fake"], "broken.png"),
        (["predict", str(tmp_path / "absent.png"), "--deck", str(deck), "--engine", "fake"], "absent.png"),
        (["predict", str(pictures[0]), "--deck", str(deck), "--engine", "fake", "--threads", "0"], "threads"),
    ):
        assert main(argv) == 2
        captured = capsys.readouterr()
        assert message in captured.err
        assert captured.err.count("\n") == 1
        assert captured.out == ""


def test_unexpected_errors_keep_their_traceback(deck: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("cards_deck.commands.show.table", fail)
    with pytest.raises(ZeroDivisionError):
        main(["show", str(deck)])


def test_the_overview_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    for argv, status in ((["--help"], 0), ([], 2), (["shuffle"], 2), (["--version"], 0)):
        with pytest.raises(SystemExit) as caught:
            main(argv)
        assert caught.value.code == status
    captured = capsys.readouterr()
    assert all(name in captured.out for name in COMMANDS)
    assert "invalid choice: 'shuffle'" in captured.err


def test_looking_and_asking_need_no_torch(deck: Path, pictures: list[Path]) -> None:
    code = (
        "import sys; from cards_deck.__main__ import main\n"
        f"main(['show', {str(deck)!r}]); main(['predict', {str(pictures[0])!r}, '--deck', {str(deck)!r}])\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_without_torch_training_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def absent(name: str) -> None:
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    monkeypatch.setattr(
        "importlib.import_module", lambda name: sys.modules[name] if "commands" in name else absent(name)
    )
    import cards_deck.commands.train  # noqa: F401

    assert main(["train", "--data", "x", "--out", "y"]) == 2
    assert "pip install 'cards-deck[train]'" in capsys.readouterr().err
