"""Averages put into a deck: chosen, measured, admitted or refused; and the command that does it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_family import BASE, TRAIN, VALIDATION, bench, cards  # noqa: F401  (fixtures)
from tiny_training import one_thread  # noqa: F401  (the fixture acts by being here)

from cards_deck.__main__ import main
from cards_deck.averages import is_average
from cards_deck.card import Card
from cards_deck.commands.repack import check_same
from cards_deck.deck import Deck, card_sizes, read_deck, write_deck
from cards_deck.errors import InputError
from cards_deck.inference.engines import EngineKind
from cards_deck.inference.predictor import Predictor
from cards_deck.training.averaging import blends
from cards_deck.training.averaging.barrier import Barrier
from cards_deck.training.averaging.blends import Bench, add_blend, blend_cards, soup, wise_ft
from cards_deck.training.averaging.candidates import Candidates
from cards_deck.training.averaging.judge import score
from cards_deck.training.decks import make_deck
from cards_deck.training.run import train_card

Family = tuple[Card, Card, Card]


@pytest.fixture(scope="module")
def deck(cards: Family) -> Deck:  # noqa: F811
    return make_deck("tiny", "1", cards, TRAIN, VALIDATION, reference_images=50)


def test_wise_ft_with_a_given_share(cards: Family, bench: Bench) -> None:  # noqa: F811
    made = wise_ft(cards[0], cards[1], bench, alpha=0.3, statistics="averaged")
    assert made.card.record.method["coefficients"] == [0.7, 0.3]
    assert made.card.name == "base-noisy-0.3"
    assert made.record["score"] == pytest.approx(score(bench.judge.accuracies(made.card)), abs=1e-6)
    (path,) = made.record["paths"]
    assert path["between"] == [cards[0].id, cards[1].id]
    assert path["alphas"] == [0, 0.25, 0.3, 0.5, 0.75, 1]
    for alpha in (0, 1, -0.5, 1.5, float("nan")):
        with pytest.raises(InputError, match="between 0"):
            wise_ft(cards[0], cards[1], bench, alpha=alpha)


def test_wise_ft_chooses_share_and_statistics_on_validation(cards: Family, bench: Bench) -> None:  # noqa: F811
    made = wise_ft(cards[0], cards[1], bench)
    share = made.card.record.method["coefficients"][1]
    kind = made.card.record.method["batch_norm"]["name"]
    scores = made.record["scores"]
    assert set(scores) == {"averaged", "recomputed"}
    inner = {each: values[1:-1] for each, values in scores.items()}
    assert made.record["score"] == max(max(values) for values in inner.values())
    assert inner[kind][round(share * 10) - 1] == made.record["score"]


@pytest.mark.parametrize("kind", ["uniform", "greedy", "learned"])
def test_soups_of_cards(kind: str, cards: Family, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    """From two cards and their mean, which here scores highest, so that no soup is one card alone."""
    measure = Candidates.score
    monkeypatch.setattr(
        Candidates, "score", lambda self, shares: measure(self, shares) - 0.5 * max(shares) - (shares[0] == 0)
    )
    made = soup(cards[:2], bench, kind=kind, statistics="averaged", name="soup")
    assert made.card.name == "soup"
    assert made.record["soup"] == kind
    assert list(made.paths) == [(cards[0].id, cards[1].id)]
    assert made.card.record.method["coefficients"] == [0.5, 0.5]
    assert made.record["score"] == pytest.approx(score(bench.judge.accuracies(made.card)) - 0.25, abs=1e-6)


def test_the_better_statistics_are_taken(cards: Family, bench: Bench) -> None:  # noqa: F811
    made = soup(cards, bench, kind="uniform")
    kind = made.card.record.method["batch_norm"]["name"]
    assert made.record["scores"][kind] == max(made.record["scores"].values())
    assert len(made.paths) == 3
    assert made.height == max(path.height for path in made.paths.values())


def test_a_soup_of_one_is_none(cards: Family, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    monkeypatch.setattr(blends, "greedy", lambda count, score: (0.0, 1.0, 0.0))
    with pytest.raises(InputError, match="the greedy soup is card 'noisy' alone"):
        soup(cards, bench, statistics="averaged")
    with pytest.raises(InputError, match="one of uniform, greedy, learned"):
        soup(cards, bench, kind="tomato")


def test_a_blend_stands_in_its_place_and_is_measured(deck: Deck, bench: Bench, tmp_path: Path) -> None:  # noqa: F811
    more = blend_cards(
        deck, ("base", "noisy"), bench, alpha=0.5, statistics="recomputed", name="half", allow_barrier=True
    )
    assert len(more.cards) == len(deck.cards) + 1
    assert [card.id for card in more.cards if not card.averaged] == [card.id for card in deck.cards]
    scores = [more.measured[card.id]["validation"]["score"] for card in more.cards]
    assert scores == sorted(scores, reverse=True)
    half = next(card for card in more.cards if card.name == "half")
    predictor = Predictor(more, engine=EngineKind.TORCH)
    place = more.cards.index(half)
    right = (predictor.card_logits(VALIDATION.images, place).argmax(1) == VALIDATION.labels).mean()
    record = more.measured[half.id]
    assert record["validation"]["accuracy"] == pytest.approx(right, abs=1e-6)
    assert set(record["validation"]["domains"]) == {"clean", "crop_flip", "gaussian"}
    assert record["barrier"]["height"] == record["barrier"]["paths"][0]["height"]
    assert [card.id for card in deck.cards] == [more.cards[place].id for place in more.originals]
    again = read_deck(write_deck(more, tmp_path / "more"))
    check_same(more, again)
    answers = [Predictor(each, engine=EngineKind.TORCH).predict(VALIDATION.images) for each in (more, again)]
    np.testing.assert_array_equal(answers[0].probabilities, answers[1].probabilities)
    assert card_sizes(again)["half"] < min(card_sizes(again)[card.name] for card in deck.cards)


def test_a_blend_of_blends_is_refused(deck: Deck, bench: Bench) -> None:  # noqa: F811
    more = blend_cards(
        deck, ("base", "noisy"), bench, alpha=0.5, statistics="averaged", name="half", allow_barrier=True
    )
    with pytest.raises(InputError, match="card 'half' is an average already"):
        blend_cards(more, ("half", "again"), bench, alpha=0.5)


def test_the_same_average_twice_is_refused(deck: Deck, bench: Bench) -> None:  # noqa: F811
    names = [card.name for card in deck.cards][:2]
    once = blend_cards(deck, names, bench, alpha=0.5, statistics="averaged", name="half", allow_barrier=True)
    with pytest.raises(InputError, match="has this very average already, as 'half': average other cards"):
        blend_cards(once, names, bench, alpha=0.5, statistics="averaged", name="twice", allow_barrier=True)


def test_a_barrier_is_refused_unless_asked_for(deck: Deck, bench: Bench) -> None:  # noqa: F811
    made = wise_ft(deck.cards[0], deck.cards[1], bench, alpha=0.5, statistics="averaged", name="half")
    pair = next(iter(made.paths))
    for height, refused in ((0.0199, False), (0.021, True)):
        steep = replace(made, paths={pair: Barrier((0, 0.5, 1), (0.1, 0.1 + height, 0.1))})
        if refused:
            with pytest.raises(InputError, match=r"rises by 2\.10 points"):
                add_blend(deck, steep, bench)
        allowed = add_blend(deck, steep, bench, allow_barrier=refused)
        assert allowed.measured[made.card.id]["barrier"]["height"] == pytest.approx(height)


def test_a_gate_that_no_longer_fits_gives_way(deck: Deck, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    def fits(deck: Deck) -> None:
        if deck.gate.kind != "uniform" and len(deck.cards) != 3:
            raise InputError("fitted to 3 cards")

    monkeypatch.setattr("cards_deck.deck.gate_for", fits)
    more = blend_cards(deck, ("base", "noisy"), bench, alpha=0.5, statistics="averaged", allow_barrier=True)
    assert more.gate.kind == "uniform"
    monkeypatch.setattr("cards_deck.deck.gate_for", lambda deck: None)
    assert (
        blend_cards(deck, ("base", "noisy"), bench, alpha=0.5, statistics="averaged", allow_barrier=True).gate
        == deck.gate
    )


@pytest.mark.parametrize(
    ("names", "fields", "says"),
    [
        (("base", "nobody"), {}, "no card 'nobody': its cards are"),
        (("base",), {}, "WiSE-FT needs two cards, got 1"),
        (("base", "noisy", "again"), {}, "WiSE-FT needs two cards, got 3"),
        (("base", "base"), {}, "two or more different cards"),
        (("base", "noisy"), {"name": "again"}, "has a card 'again' already"),
        (("base", "noisy"), {"kind": "greedy", "alpha": 0.5}, "leave alpha out"),
        (("base",), {"kind": "uniform"}, "two or more different cards"),
    ],
)
def test_wrong_requests_are_refused(
    names: tuple[str, ...], fields: dict[str, Any], says: str, deck: Deck, bench: Bench  # noqa: F811
) -> None:  # fmt: skip
    with pytest.raises(InputError, match=says):
        blend_cards(deck, names, bench, **fields)


def test_other_data_and_independent_cards_are_refused(deck: Deck, bench: Bench, tmp_path: Path) -> None:  # noqa: F811
    small = Bench(TRAIN, replace(VALIDATION, classes=("a", "b", "c", "d")), bench.batch_norm)
    with pytest.raises(InputError, match="give the data that the cards come from"):
        blend_cards(deck, ("base", "noisy"), small)
    (alone,) = train_card(replace(BASE, seed=9), TRAIN, VALIDATION, tmp_path / "alone", device="cpu", quiet=True)
    two = make_deck("two", "1", [deck.cards[0], replace(alone)], TRAIN, VALIDATION, reference_images=20)
    names = tuple(card.name for card in two.cards)
    with pytest.raises(InputError, match="have different masks"):
        blend_cards(two, names, bench, alpha=0.5)
    more = blend_cards(two, names, bench, alpha=0.5, statistics="recomputed", union=True, allow_barrier=True)
    union = next(card for card in more.cards if card.averaged)
    assert union.density > max(card.density for card in two.cards)
    check_same(more, read_deck(write_deck(more, tmp_path / "union")))


@pytest.fixture
def folder(deck: Deck, tmp_path: Path) -> Path:
    np.savez(tmp_path / "patterns_train.npz", images=TRAIN.images, labels=TRAIN.labels, classes=np.array(TRAIN.classes))
    return write_deck(deck, tmp_path / "deck")


@pytest.fixture
def command(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """`cards-deck blend` on the tiny deck: (status, output, errors)."""

    def run(*more: str) -> tuple[int, str, str]:
        data = ["--data", str(tmp_path), "--name", "patterns", "--images", "60", "--out", str(tmp_path / "blended")]
        status = main(["blend", str(folder), *data, *more])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


def test_the_command_adds_a_blend(command: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    status, out, _ = command("--of", "base,noisy", "--alpha", "0.5", "--card-name", "half", "--allow-barrier")
    assert status == 0
    assert "half = 0.5 base + 0.5 noisy; barrier" in out
    deck = read_deck(tmp_path / "blended")
    assert (deck.name, len(deck.cards), len(deck.originals)) == ("blended", 4, 3)
    assert is_average(next((tmp_path / "blended").glob("half-*")).read_bytes())
    assert main(["show", str(tmp_path / "blended")]) == 0
    manifest = json.loads((tmp_path / "blended" / "deck.json").read_text())
    assert manifest["schema_version"] == 3


def test_the_command_refuses_in_one_line(command: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    for argv, says in (
        (("--of", "base,nobody"), "no card 'nobody'"),
        (("--of", "base,noisy", "--alpha", "half"), "--alpha must be auto or a number"),
        (("--of", "base,noisy", "--alpha", "0.5", "--soup", "greedy"), "leave one of them out"),
        (("--of", "base,noisy", "--alpha", "2"), "between 0"),
    ):
        status, _, err = command(*argv)
        assert status == 2
        assert says in err
        assert err.count("\n") == 1
    assert not (tmp_path / "blended").exists()


def test_decks_are_packed_with_averages_among_their_cards(cards: Family, bench: Bench) -> None:  # noqa: F811
    half = wise_ft(cards[0], cards[1], bench, alpha=0.5, statistics="averaged", name="half").card
    deck = make_deck("tiny", "1", [half, *cards], TRAIN, VALIDATION, reference_images=50)
    assert len(deck.originals) == 3
    assert deck.references.augmentations == ("crop_flip", "gaussian")
    assert deck.measured["gate"]["kind"] == deck.gate.kind
    alone = make_deck("alone", "1", [half], TRAIN, VALIDATION, reference_images=50)
    assert alone.references.augmentations == ("mixed",)
