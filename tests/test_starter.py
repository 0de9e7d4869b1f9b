"""The script that makes the released deck, with a recipe that takes seconds."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_training import NETWORK, SHORT, one_thread, patterns  # noqa: F401  (the fixture acts by being here)

from cards_deck.data import Dataset, save_npz
from cards_deck.deck import read_deck
from cards_deck.training import loop, starter
from cards_deck.training.augmentations.augmix import AugMix
from cards_deck.training.tickets.rigl import RigL

TRAIN, VALIDATION = patterns(32), patterns(16, seed=1, split="validation")


def shrink(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same deck of smaller networks, trained for an epoch each."""
    small = {"network": NETWORK, "schedule": replace(SHORT, epochs=1, batch_size=8)}
    monkeypatch.setattr(starter, "BASE", replace(starter.BASE, **small, method=RigL(density=0.3, interval=1)))  # type: ignore[arg-type]
    tuned = {name: replace(recipe, **small) for name, recipe in starter.TUNED.items()}  # type: ignore[arg-type]
    monkeypatch.setattr(starter, "TUNED", tuned)


def test_the_deck_is_made_whole_and_again_without_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shrink(monkeypatch)
    work, out = tmp_path / "work", tmp_path / "deck"
    starter.make_starter(TRAIN, VALIDATION, work, out)
    deck = read_deck(out)
    originals = [deck.cards[place] for place in deck.originals]
    assert {card.name for card in originals} == {"augmix-1", "augmix-2", "gaussian-1", "gaussian-2"}
    assert sorted(card.augmentation for card in originals) == ["augmix", "augmix", "gaussian", "gaussian"]
    base = next(card for card in originals if card.name == "augmix-1")
    assert all(card.record.parents == (base.id,) for card in originals if card is not base)
    assert all(card.num_kept == base.num_kept for card in deck.cards)
    known = {card.name: card.id for card in originals}
    averages = {card.name: set(card.record.parents) for card in deck.cards if card.averaged}
    assert averages == {name: {known[each] for each in of} for name, of in starter.SOUPS.items()}
    assert deck.gate.kind == deck.measured["gate"]["kind"]
    for card in originals:
        (line,) = (out / "logs" / f"{card.name}.jsonl").read_text().splitlines()
        assert json.loads(line)["epoch"] == 1
    before = {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}

    def never(*arguments: Any, **options: Any) -> None:
        raise AssertionError("it trains")

    monkeypatch.setattr(loop, "training_loss", never)
    starter.make_starter(TRAIN, VALIDATION, work, out)
    assert {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()} == before


def test_the_released_recipe_is_what_the_deck_promises() -> None:
    """At least two AugMix and two Gaussian cards, a tenth of the weights or less, AugMix without JSD, RigL."""
    assert isinstance(starter.BASE.method, RigL)
    assert starter.BASE.method.density <= 0.1
    assert starter.BASE.augmentation == AugMix(jsd=False)
    names = [type(recipe.augmentation).__name__ for recipe in (starter.BASE, *starter.TUNED.values())]
    assert names.count("AugMix") >= 2
    assert names.count("Gaussian") >= 2
    assert len({recipe.seed for recipe in (starter.BASE, *starter.TUNED.values())}) == len(names)


def test_the_command_reads_the_training_data_and_names_the_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_npz(replace(patterns(40), name="cifar10"), tmp_path)
    asked: list[Any] = []
    monkeypatch.setattr(starter, "make_starter", lambda *arguments: asked.extend(arguments))
    monkeypatch.setattr(torch, "set_num_threads", asked.append)
    monkeypatch.setattr(sys, "argv", ["starter", "--data", str(tmp_path), "--work", "w", "--out", "o"])
    assert starter.main() == 0
    threads, train, validation, work, out = asked
    assert threads == starter.THREADS
    assert isinstance(train, Dataset)
    assert (len(train), len(validation), work, out) == (36, 4, Path("w"), Path("o"))


@pytest.mark.parametrize(
    ("error", "status", "says"),
    [
        (None, 2, "must hold"),
        (OSError(28, "No space left on device"), 2, "No space"),
        (KeyboardInterrupt(), 130, "go on"),
    ],
)
def test_what_stops_the_command_is_one_line(
    error: BaseException | None,
    status: int,
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Without data, with a full disk, and stopped by Ctrl-C."""

    def stop(*arguments: Any) -> None:
        assert error is not None
        raise error

    if error is not None:
        save_npz(replace(patterns(40), name="cifar10"), tmp_path)
    monkeypatch.setattr(starter, "make_starter", stop)
    monkeypatch.setattr(torch, "set_num_threads", lambda threads: None)
    monkeypatch.setattr(sys, "argv", ["starter", "--data", str(tmp_path)])
    assert starter.main() == status
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("starter: ")
    assert says in line


def test_the_command_fetches_the_data_where_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []

    def fetch(root: Path, *, download: bool) -> tuple[Dataset, Dataset]:
        asked.append(download)
        return TRAIN, VALIDATION

    monkeypatch.setattr(starter, "training_data", fetch)
    monkeypatch.setattr(starter, "make_starter", lambda *arguments: None)
    monkeypatch.setattr(torch, "set_num_threads", lambda threads: None)
    for flags in ([], ["--download"]):
        monkeypatch.setattr(sys, "argv", ["starter", "--data", str(tmp_path), *flags])
        assert starter.main() == 0
    assert asked == [False, True]
