"""`cards-deck quantize` and `repack`, as a user types them."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_training import NETWORK, one_thread, patterns  # noqa: F401  (the fixture acts by being here)

from cards_deck.__main__ import main
from cards_deck.card import read_card
from cards_deck.data import save_npz
from cards_deck.training.augmentations.augmix import AugMix
from cards_deck.training.recipe import Recipe
from cards_deck.training.run import SUFFIX, train_card
from cards_deck.training.schedule import Schedule
from cards_deck.training.tickets import METHODS


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with a trained card in `parent`."""
    root = tmp_path_factory.mktemp("root")
    train = patterns(96)
    save_npz(train, root)
    recipe = Recipe(NETWORK, METHODS.build("rigl", density=0.5, interval=4), AugMix(), Schedule(1, 16), seed=1)
    train_card(recipe, train, patterns(16, seed=1), root / "parent", device="cpu", quiet=True)
    return root


def _quantize(root: Path, *flags: str) -> int:
    data = ("--data", str(root), "--name", "patterns", "--device", "cpu", "--quiet")
    return main(["quantize", str(root / "parent" / f"parent{SUFFIX}"), *data, *flags])


def test_flags_reach_the_card(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = root / "eight"
    assert _quantize(root, "--out", str(out), "--quantizer.images", "20", "--card-name", "small") == 0
    card = read_card(out / f"small{SUFFIX}")
    assert card.record.quantizer == {"name": "int8", "reduced": True, "images": 20, "share": 0.9999}
    assert card.ranges
    assert f"card {card.id}, 8 bits" in capsys.readouterr().out


def test_epochs_train_under_the_quantizer(root: Path) -> None:
    out = root / "signs"
    flags = ("--quantizer", "binary", "--epochs", "1", "--schedule.batch_size", "16", "--seed", "5")
    assert _quantize(root, "--out", str(out), *flags) == 0
    record = read_card(out / f"signs{SUFFIX}").record
    assert (record.bits, record.schedule["epochs"], record.schedule["batch_size"], record.seed) == (1, 1, 16, 5)
    assert record.method["name"] == "fine_tune"


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--quantizer", "decimal"), "unknown quantizer 'decimal'"),
        (("--schedule.epochs", "3"), "leave --schedule.epochs out"),
        (("--schedule.batch_size", "16"), "that of --epochs N"),
    ],
)
def test_wrong_flags_are_refused(
    root: Path, flags: tuple[str, ...], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _quantize(root, "--out", str(root / "none"), *flags) == 2
    assert says in capsys.readouterr().err
    assert not (root / "none").exists()
