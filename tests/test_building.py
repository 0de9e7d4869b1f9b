"""Decks built by a recipe: whole, again without training, in several processes, as a trial; and the command."""

from __future__ import annotations

import json
import os
import signal
import time
from dataclasses import replace
from functools import partial
from multiprocessing import active_children
from pathlib import Path
from typing import Any

import pytest
import torch
from test_deck_recipe import RECIPE
from tiny_training import one_thread, patterns  # noqa: F401  (the fixture acts by being here)

from cards_deck.__main__ import main
from cards_deck.card import Card
from cards_deck.data import Dataset, save_npz
from cards_deck.deck import read_deck
from cards_deck.errors import CardsDeckError, InputError
from cards_deck.training import building, loop
from cards_deck.training.building import Site, build_deck
from cards_deck.training.recipe_file import read_deck_recipe
from cards_deck.training.throughput import peak_flops, throughput

TRAIN, VALIDATION = patterns(48), patterns(16, seed=1, split="validation")


def data() -> tuple[Dataset, Dataset]:
    return TRAIN, VALIDATION


def site(folder: Path, **fields: Any) -> Site:
    return Site(data, folder / "work", device="cpu", quiet=True, **fields)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny one without its soup, since its cards have learned too little to lie in one basin; and a third card."""
    path = tmp_path_factory.mktemp("recipe") / "tiny.toml"
    path.write_text(RECIPE.split("[[soup]]")[0] + '\n[[card]]\nname = "third"\nseed = 6\n')
    return path


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_a_deck_is_built_whole_and_again_without_training(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = partial(build_deck, read_deck_recipe(recipe), site(tmp_path), tmp_path / "deck")
    build()
    deck = read_deck(tmp_path / "deck")
    cards = {card.name: card for card in deck.cards}
    assert (deck.name, deck.version, deck.gate.max_cards) == ("tiny", "2", 2)
    assert deck.measured["gate"]["most_loss"] == 0.1
    assert set(cards) == {"first", "second", "third"}
    assert cards["second"].record.parents == (cards["first"].id,)
    assert cards["second"].num_kept == cards["first"].num_kept
    assert not cards["third"].record.parents
    for name, epochs in (("first", 2), ("second", 1), ("third", 2)):
        lines = (tmp_path / "deck" / "logs" / f"{name}.jsonl").read_text().splitlines()
        assert json.loads(lines[-1])["epoch"] == len(lines) == epochs
        speed = json.loads((tmp_path / "deck" / "logs" / f"{name}.speed.json").read_text())
        assert speed["peak_operations_per_second"] > 1e8
    before = files(tmp_path / "deck")

    def never(*arguments: Any, **options: Any) -> None:
        raise AssertionError("it trains")

    monkeypatch.setattr(loop, "training_loss", never)
    build()
    assert files(tmp_path / "deck") == before


def test_two_processes_build_the_same_cards(recipe: Path, tmp_path: Path) -> None:
    decks = [
        build_deck(read_deck_recipe(recipe), site(tmp_path / name, processes=count), tmp_path / name / "deck")
        for count, name in ((1, "one"), (2, "two"))
    ]  # fmt: skip
    assert [card.id for card in decks[0].cards] == [card.id for card in decks[1].cards]


@pytest.mark.parametrize(("written", "shares"), [("", (0.5, 0.5)), ("alpha = 0.25\n", (0.75, 0.25))])
def test_a_trial_takes_every_step_on_few_images(tmp_path: Path, written: str, shares: tuple[float, ...]) -> None:
    path = tmp_path / "tiny.toml"
    smoke = '[smoke]\nimages = 40\nbatch_size = 8\nnetwork = { name = "resnet", widths = [4], blocks = [1] }\n'
    path.write_text('mirrored = ["both"]\n' + RECIPE + written + smoke)
    deck = build_deck(read_deck_recipe(path), site(tmp_path, smoke=True), tmp_path / "deck")
    originals = [deck.cards[place] for place in deck.originals]
    assert {card.record.network["widths"] == [4] for card in originals} == {True}
    both, look = sorted((card for card in deck.cards if card.averaged), key=lambda card: card.name)
    assert (look.name, look.mirrored, look.record.parents) == ("both-mirrored", True, both.record.parents)
    assert (both.name, tuple(both.record.method["coefficients"])) == ("both", shares)
    assert both.record.parents == tuple(next(c.id for c in originals if c.name == name) for name in ("first", "second"))
    assert {card.record.schedule["epochs"] for card in originals} == {1}


def fail_or_wait(card: Any) -> None:
    """What a worker does in the tests below: the first card is refused or kills its process, others take long."""
    if card.name == "refused":
        raise InputError("no such card")
    if card.name == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(300)


@pytest.mark.parametrize(("first", "says"), [("refused", "no such card"), ("killed", "was killed, for lack of memory")])
def test_what_stops_one_card_stops_those_beside_it(recipe: Path, first: str, says: str) -> None:
    card = read_deck_recipe(recipe).cards[0]
    cards = [replace(card, name=first), *(replace(card, name=f"slow-{place}") for place in range(3))]
    started = time.monotonic()
    with pytest.raises(CardsDeckError, match=says):
        building._side_by_side(fail_or_wait, cards, 2)
    assert time.monotonic() - started < 100
    deadline = time.monotonic() + 20
    while active_children() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not active_children()


def test_a_method_of_several_cards_is_refused(recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def two(*arguments: Any, **options: Any) -> tuple[Card | None, ...]:
        return None, None

    monkeypatch.setattr(building, "train_card", two)
    with pytest.raises(ValueError, match="card 'first': its method gives 2 cards"):
        build_deck(read_deck_recipe(recipe), site(tmp_path), tmp_path / "deck")
    with pytest.raises(ValueError, match="`processes` must be at least 1"):
        build_deck(read_deck_recipe(recipe), site(tmp_path, processes=0), tmp_path / "deck")


def test_throughput_is_that_of_whole_epochs_at_the_last_size(recipe: Path, tmp_path: Path) -> None:
    one = read_deck_recipe(recipe).cards[0].recipe
    deck = build_deck(read_deck_recipe(recipe), site(tmp_path), tmp_path / "deck")
    rows = [(1, 24, 5.0), (2, 24, 9.0), (3, 32, 20.0), (4, 32, 24.0), (5, 32, 2.0), (6, 32, 8.0)]  # resumed after 4
    log = tmp_path / "log.jsonl"
    lines = [json.dumps({"stage": "train", "epoch": e, "size": size, "seconds": s}) for e, size, s in rows]
    log.write_text("\n".join(lines))
    card = next(card for card in deck.cards if card.name == "first")
    found = throughput(log, card, one, 50, 32, torch.device("cpu"))
    assert found["epochs_timed"] == 3  # 11, 4 and 6 seconds
    assert found["training_seconds"] == 24 + 8
    assert found["images_per_second"] == pytest.approx(48 / 6)  # batches of 16: two images of an epoch are left out
    rate = found["images_per_second"] * found["operations_per_image"]
    assert found["share_of_peak"] == pytest.approx(rate / found["peak_operations_per_second"], abs=1e-4)
    assert peak_flops(torch.device("cpu"), torch.float32, repeats=2) > 1e8


def test_training_begins_anew_where_a_stage_does(recipe: Path, tmp_path: Path) -> None:
    """Two levels of a method, killed after the first; begun anew, and stopped once within the second."""
    one = read_deck_recipe(recipe).cards[0].recipe
    deck = build_deck(read_deck_recipe(recipe), site(tmp_path), tmp_path / "deck")
    rows = [("a", 1, 50.0), ("a", 2, 90.0), ("a", 1, 4.0), ("a", 2, 9.0), ("b", 1, 3.0), ("b", 2, 2.5)]
    log = tmp_path / "log.jsonl"
    lines = [json.dumps({"stage": stage, "epoch": e, "size": 32, "seconds": s}) for stage, e, s in rows]
    log.write_text("\n".join([*lines, '{"stage": "b", "epo']))
    card = next(card for card in deck.cards if card.name == "first")
    assert throughput(log, card, one, 50, 32, torch.device("cpu"))["training_seconds"] == 9 + 3 + 2.5


def test_the_command_builds_and_lists_the_deck(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_npz(patterns(80), tmp_path)
    where = ["--out", str(tmp_path / "deck"), "--work", str(tmp_path / "work")]
    flags = ["--data", str(tmp_path), "--name", "patterns", "--device", "cpu", "--quiet"]
    assert main(["build", str(recipe), *flags, *where]) == 0
    said = capsys.readouterr().out
    assert "deck tiny 2: 3 cards" in said
    assert read_deck(tmp_path / "deck").name == "tiny"
    assert main(["build", "no-such-recipe", *flags, *where]) == 2
    assert "cannot be read" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["build", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert (
        ", ".join(
            f"cifar10-{name}" for name in ("flagship", "independent", "medium", "search", "search-small", "starter")
        )
        in said
    )


def test_a_search_ranks_the_cards_by_themselves(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also cards of different settings of one augmentation, of which no deck could be made."""
    path = tmp_path / "trials.toml"
    path.write_text(
        recipe.read_text().replace("[gate]", "[gate]\ncorrupted_images = 8")
        + '[[card]]\nname = "fourth"\nseed = 7\naugmentation = { name = "augmix", width = 1 }\n'
    )
    save_npz(patterns(80), tmp_path)
    flags = ["--data", str(tmp_path), "--name", "patterns", "--device", "cpu", "--quiet"]
    where = ["--work", str(tmp_path / "work"), "--out", str(tmp_path / "search.json")]
    assert main(["search", str(path), *flags, *where]) == 0
    found = json.loads((tmp_path / "search.json").read_text())
    assert {row["name"] for row in found["trials"]} == {"first", "second", "third", "fourth"}
    scores = [row["validation"]["score"] for row in found["trials"]]
    assert scores == sorted(scores, reverse=True)
    row = next(row for row in found["trials"] if row["name"] == "fourth")
    assert row["recipe"]["augmentation"]["width"] == 1
    assert row["validation"]["n"] == 8
    accuracy, corrupted = row["validation"]["accuracy"], row["validation"]["corrupted"]
    assert row["validation"]["score"] == pytest.approx((accuracy + corrupted) / 2, abs=1e-6)
    said = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in said[1:-1]] == [row["name"] for row in found["trials"]]
    text = (tmp_path / "search.md").read_text()
    assert "| fourth |" in text
    assert "augmentation.width 1" in text
    assert f"{found['date'][:10]}" in text
    assert [row["against_first"] is None for row in found["trials"]].count(True) == 1
