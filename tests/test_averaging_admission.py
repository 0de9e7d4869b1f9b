"""Averages are packed only where no barrier lies between their parents, or where somebody asks for them by name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tiny_family import TRAIN, VALIDATION, bench, cards  # noqa: F401  (fixtures)
from tiny_training import one_thread  # noqa: F401  (the fixture acts by being here)

from cards_deck.__main__ import main
from cards_deck.card import Card, write_card
from cards_deck.data import save_npz
from cards_deck.deck import read_deck
from cards_deck.errors import InputError
from cards_deck.training.averaging import admission
from cards_deck.training.averaging.admission import admitted
from cards_deck.training.averaging.average import average
from cards_deck.training.averaging.barrier import Barrier, barrier, check_basin, even_alphas
from cards_deck.training.averaging.batch_norm import AugmentedImages, BatchNorm
from cards_deck.training.averaging.blends import Bench, soup, wise_ft
from cards_deck.training.averaging.judge import CLEAN, Judge
from cards_deck.training.quantizers.int8 import Int8
from cards_deck.training.quantizing import quantize_card
from cards_deck.training.run import SUFFIX, pack_deck

Family = tuple[Card, Card, Card]


@pytest.fixture(scope="module")
def half(cards: Family, bench: Bench) -> Card:  # noqa: F811
    return average(cards[:2], (0.5, 0.5), bench.images, name="half", statistics="averaged")


@pytest.fixture(scope="module")
def small(half: Card, tmp_path_factory: pytest.TempPathFactory) -> Card:
    return quantize_card(half, Int8(images=20), TRAIN, VALIDATION, tmp_path_factory.mktemp("small"), name="small")


def of_height(monkeypatch: pytest.MonkeyPatch, height: float) -> list[tuple[str, str]]:
    """Every path has this barrier; returns the pairs that are asked for, as they come."""
    asked: list[tuple[str, str]] = []

    def measured(one: Card, other: Card, *more: object, **options: object) -> Barrier:
        asked.append((one.name, other.name))
        return Barrier((0, 0.5, 1), (0.1, 0.1 + height, 0.1))

    monkeypatch.setattr(admission, "barrier", measured)
    return asked


def test_the_barrier_is_measured_as_the_average_was_made(cards: Family, bench: Bench, half: Card) -> None:  # noqa: F811
    recomputed = average(cards[:2], (0.25, 0.75), bench.images, name="recomputed")
    found = admitted([half, *cards, recomputed], TRAIN, VALIDATION, allow_barrier=True)
    assert set(found) == {half.id, recomputed.id}
    judge, images = Judge.of(VALIDATION, corrupted=0), AugmentedImages(TRAIN, BatchNorm(len(TRAIN), len(TRAIN)))
    for card, statistics in ((half, "averaged"), (recomputed, "recomputed")):
        path = barrier(cards[0], cards[1], judge, images, alphas=even_alphas(5), statistics=statistics)  # type: ignore[arg-type]
        assert found[card.id]["height"] == pytest.approx(path.height, abs=1e-6)
        assert found[card.id]["paths"] == [{"between": [cards[0].id, cards[1].id], **path.record}]


def test_a_barrier_is_refused_unless_asked_for(
    cards: Family, half: Card, tmp_path: Path, monkeypatch: pytest.MonkeyPatch  # noqa: F811
) -> None:  # fmt: skip
    of_height(monkeypatch, 0.021)
    with pytest.raises(InputError, match=r"card 'half': the error rises by 2\.10 points.*--allow-barrier"):
        pack_deck([*cards, half], TRAIN, VALIDATION, tmp_path / "refused", gate="uniform")
    assert not (tmp_path / "refused").exists()
    deck = pack_deck([*cards, half], TRAIN, VALIDATION, tmp_path / "steep", gate="uniform", allow_barrier=True)
    assert deck.measured[half.id]["barrier"]["height"] == pytest.approx(0.021)
    assert "validation" in deck.measured[half.id]
    of_height(monkeypatch, 0.0199)
    low = pack_deck([*cards, half], TRAIN, VALIDATION, tmp_path / "low", gate="uniform")
    assert read_deck(tmp_path / "low").measured == low.measured
    assert low.measured[half.id]["barrier"]["height"] == pytest.approx(0.0199)


def test_the_highest_barrier_counts_and_every_pair_is_measured_once(
    cards: Family, bench: Bench, half: Card, monkeypatch: pytest.MonkeyPatch  # noqa: F811
) -> None:  # fmt: skip
    three = average(cards, (0.25, 0.25, 0.5), bench.images, name="soup", statistics="averaged")
    asked = of_height(monkeypatch, 0.0)
    monkeypatch.setattr(admission, "centre", lambda *given: None)
    admitted([three, half, *cards], TRAIN, VALIDATION)
    assert sorted(asked) == [("base", "again"), ("base", "noisy"), ("noisy", "again")]
    last = replace(cards[2], name="last")

    def uneven(one: Card, other: Card, *more: object, **options: object) -> Barrier:
        return Barrier((0, 0.5, 1), (0.1, 0.4 if other.name == "last" else 0.1, 0.1))

    monkeypatch.setattr(admission, "barrier", uneven)
    with pytest.raises(InputError, match=r"card 'soup': the error rises by 30\.00 points"):
        admitted([*cards[:2], last, half, three], TRAIN, VALIDATION)


def test_an_average_without_its_parents_is_refused_by_name(cards: Family, half: Card, small: Card) -> None:  # noqa: F811
    base, noisy, again = cards
    for given, name in (([half, base, again], "half"), ([small, base, half], "small")):
        with pytest.raises(InputError, match=rf"card '{name}' is an average, and .*{noisy.id} are not; pack them too"):
            admitted(given, TRAIN, VALIDATION)
        assert admitted(given, TRAIN, VALIDATION, allow_barrier=True) == {}
    old = replace(small, record=replace(small.record, method={**half.record.method}))  # does not say what it is made of
    with pytest.raises(InputError, match=r"'small' is an average.*those of its record are not"):
        admitted([old, *cards], TRAIN, VALIDATION)


def test_a_quantized_average_has_the_barrier_of_its_floats(
    cards: Family, small: Card, monkeypatch: pytest.MonkeyPatch  # noqa: F811
) -> None:  # fmt: skip
    asked = of_height(monkeypatch, 0.021)
    with pytest.raises(InputError, match=r"card 'small': the error rises by 2\.10 points"):
        admitted([*cards, small], TRAIN, VALIDATION)
    assert asked == [("base", "noisy")]


def test_decks_without_averages_measure_no_barrier(cards: Family, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    asked = of_height(monkeypatch, 1.0)
    assert admitted(cards, TRAIN, VALIDATION) == {}
    assert not asked


def test_the_command_refuses_in_one_line_and_takes_what_is_allowed(
    cards: Family, half: Card, tmp_path: Path, capsys: pytest.CaptureFixture[str]  # noqa: F811
) -> None:  # fmt: skip
    save_npz(TRAIN, tmp_path)
    paths = [tmp_path / f"{card.name}{SUFFIX}" for card in (cards[0], half)]
    for card, path in zip((cards[0], half), paths, strict=True):
        write_card(card, path)
    argv = ["pack", *map(str, paths), "--data", str(tmp_path), "--name", "patterns", "--gate", "uniform"]
    argv += ["--out", str(tmp_path / "deck"), "--abstain-below", "0.25", "--gate-seconds", "1.5"]
    assert main(argv) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "card 'half' is an average" in line
    assert not (tmp_path / "deck").exists()
    assert main([*argv, "--allow-barrier"]) == 0
    gate = read_deck(tmp_path / "deck").gate
    assert (gate.abstain_below, gate.seconds) == (0.25, 1.5)


def test_the_middle_of_three_is_judged_too(cards: Family, bench: Bench) -> None:  # noqa: F811
    """Three flat paths with a hill between them: only the average's own error shows it."""
    members = list(cards)
    made = soup(members, bench, kind="uniform", statistics="averaged")
    errors = [1 - bench.judge.clean().accuracies(card)[CLEAN] for card in (*members, made.card)]
    assert made.middle == pytest.approx(errors[3] - sum(errors[:3]) / 3)
    assert made.record["centre"] == pytest.approx(made.middle, abs=1e-6)
    assert made.height == max(made.middle, *(path.height for path in made.paths.values()))
    assert wise_ft(*members[:2], bench, alpha=0.5, statistics="averaged").middle is None
    flat = {pair: Barrier((0, 0.5, 1), (0.1, 0.1, 0.1)) for pair in made.paths}
    hill = replace(made, paths=flat, middle=0.03)
    with pytest.raises(InputError, match=r"rises by 3\.00 points"):
        check_basin(hill.card.name, hill.height)
    found = admitted([*members, made.card], bench.train, bench.validation, allow_barrier=True)
    assert found[made.card.id]["centre"] == pytest.approx(made.middle, abs=1e-6)
