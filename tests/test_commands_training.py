"""`cards-deck train` and `pack` on a folder of generated images, as a user types them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cards_deck.__main__ import main
from cards_deck.card import Card, read_card
from cards_deck.deck import read_deck

SMALL = ("--network.widths", "4,8", "--network.blocks", "1,1")
SHORT = ("--schedule.epochs", "1", "--schedule.batch_size", "8", "--quiet", "--device", "cpu")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """48 images of 40 x 50 pixels in two classes: dark and bright ones."""
    root, rng = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for name, level in (("dark", 40), ("bright", 160)):
        (root / "train" / name).mkdir(parents=True)
        for number in range(24):
            image = rng.integers(level, level + 60, (40, 50, 3), dtype=np.uint8)
            Image.fromarray(image).save(root / "train" / name / f"{number}.png")
    return root


@pytest.fixture(scope="module")
def card(root: Path) -> Path:
    """A card trained under AugMix."""
    data = ("--data", str(root), "--image-size", "32")
    method = ("--method", "rigl", "--method.density", "0.3", "--method.interval", "2", "--augmentation.width", "1")
    assert main(["train", *data, *SMALL, *SHORT, *method, "--out", str(root / "runs" / "first")]) == 0
    return root / "runs" / "first" / "first.card.safetensors"


def test_flags_reach_the_card(card: Path) -> None:
    record = read_card(card).record
    assert record.network == {"name": "resnet", "widths": [4, 8], "blocks": [1, 1]}
    assert (record.method["name"], record.method["density"], record.method["interval"]) == ("rigl", 0.3, 2)
    assert (record.augmentation["name"], record.augmentation["width"]) == ("augmix", 1)
    assert (record.schedule["epochs"], record.schedule["batch_size"]) == (1, 8)
    assert record.density == pytest.approx(0.3, abs=0.01)
    assert (record.data["name"], record.data["n"], record.bits) == ("folder", 43, 16)


def tuned(card: Path, root: Path, *flags: str) -> tuple[int, Path]:
    out = root / "runs" / "noisy"
    argv = ["train", "--data", str(root), "--image-size", "32", "--from", str(card), "--out", str(out), *SHORT]
    return main([*argv, "--augmentation", "gaussian", *flags]), out / "noisy.card.safetensors"


def test_stability_trains_two_copies_and_tells_the_barrier(
    card: Path, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = root / "runs" / "stability"
    argv = ["stability", str(card), "--data", str(root), "--image-size", "32", "--out", str(out), "--points", "3"]
    short = [flag for flag in SHORT if flag != "--quiet"]
    assert main([*argv, *short, "--schedule.learning_rate", "0.001", "--seeds", "3", "4"]) == 0
    lines = capsys.readouterr().out.strip().splitlines()
    assert [line.split(":")[0] for line in lines[:-1]] == [
        "the card itself", "alpha 0.00", "alpha 0.50", "alpha 1.00"
    ]  # fmt: skip
    assert lines[-1].startswith("barrier ")
    assert "2 are allowed: " in lines[-1]
    assert sorted(folder.name for folder in out.iterdir()) == ["seed-3", "seed-4"]
    wild = ["--out", str(root / "runs" / "wild"), "--schedule.learning_rate", "5", "--quiet"]
    assert main([*argv, *short, *wild]) == 0
    said = capsys.readouterr().out.strip()
    assert said.endswith("train them longer, or at a lower rate")
    assert main([*argv, *short, "--seeds", "3", "3"]) == 2
    assert "two different seeds" in capsys.readouterr().err


def masks(card: Card) -> dict[str, bytes]:
    return {name: np.asarray(mask).tobytes() for name, mask in card.masks.items()}


def test_a_fine_tuned_card_keeps_its_mask_and_makes_a_deck(
    card: Path, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, noisy = tuned(card, root, "--seed", "1")
    assert status == 0
    parent, child = read_card(card), read_card(noisy)
    assert (child.augmentation, child.record.parents) == ("gaussian", (parent.id,))
    assert masks(child) == masks(parent)
    assert f"{noisy}: card {child.id}" in capsys.readouterr().out
    out = root / "deck"
    pack = ["pack", str(card), str(noisy), "--data", str(root), "--image-size", "32", "--out", str(out)]
    assert main([*pack, "--deck-name", "light", "--max-cards", "1"]) == 0
    deck = read_deck(out)
    assert (deck.name, deck.classes, deck.image_size, deck.gate.max_cards) == ("light", ("bright", "dark"), 32, 1)
    assert deck.name in capsys.readouterr().out
    image = next((root / "train" / "dark").iterdir())
    assert main(["predict", str(image), "--deck", str(out)]) == 0
    assert str(image) in capsys.readouterr().out


def test_fine_tuning_refuses_another_network_or_mask(
    card: Path, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for flags in (("--network", "wide_resnet"), ("--network.widths", "4,8"), ("--method.density", "0.5")):
        assert tuned(card, root, *flags)[0] == 2
        assert f"leave out {flags[0]}" in capsys.readouterr().err


def test_data_errors_are_one_line(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--data", str(tmp_path), "--out", str(tmp_path / "x"), "--quiet"]) == 2
    assert "must hold cifar-10-batches-py/ or cifar10_train.npz" in capsys.readouterr().err
    assert main(["train", "--data", str(root), "--method", "raffle", "--out", str(tmp_path / "x")]) == 2
    assert "unknown ticket method 'raffle'" in capsys.readouterr().err


def test_help_lists_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    text = capsys.readouterr().out
    for flag in ("--method.drop_fraction", "--augmentation.severity", "--network.widen", "--schedule.learning_rate"):
        assert flag in text


def test_threads_are_set_and_no_threads_are_refused(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", asked.append)
    flags = ("--method.interval", "2", "--out", str(root / "runs" / "threads"))
    argv = ["train", "--data", str(root), "--image-size", "32", *SMALL, *SHORT, *flags]
    assert main([*argv, "--threads", "1"]) == 0
    assert asked == [1]
    assert main([*argv, "--threads", "0"]) == 2
    assert "`threads` must be at least 1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "status", "says"),
    [
        (KeyboardInterrupt(), 130, "stopped; repeat the command to go on"),
        (OSError(28, "No space left"), 1, "No space left"),
    ],
)
def test_what_stops_training_is_one_line(
    error: BaseException,
    status: int,
    says: str,
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def stop(*arguments: object, **options: object) -> None:
        raise error

    monkeypatch.setattr("cards_deck.training.run.train_card", stop)
    argv = ["train", "--data", str(root), "--image-size", "32", *SMALL, *SHORT, "--out", str(root / "runs" / "stopped")]
    assert main(argv) == status
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("cards-deck train: ")
    assert says in line
