"""An average stays an average when it is quantized, and so does one of cards that are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tiny_family import TRAIN, VALIDATION, bench, cards  # noqa: F401  (fixtures)
from tiny_training import one_thread  # noqa: F401  (the fixture acts by being here)

from cards_deck.card import Card, CardRecord
from cards_deck.commands.repack import check_same
from cards_deck.commands.show import table
from cards_deck.deck import originals_of, read_deck, write_deck
from cards_deck.errors import CardError, InputError
from cards_deck.inference.predictor import Predictor
from cards_deck.training.averaging.average import average
from cards_deck.training.averaging.blends import Bench
from cards_deck.training.decks import make_deck
from cards_deck.training.quantizers.floats import Half
from cards_deck.training.quantizers.int8 import Int8
from cards_deck.training.quantizing import quantize_card
from cards_deck.training.schedule import Schedule

Family = tuple[Card, Card, Card]
Named = dict[str, Card]


@pytest.fixture(scope="module")
def named(cards: Family, bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> Named:  # noqa: F811
    """Two cards, their average, and all three in 8 bits; the average in fp16, and one trained on from it in 8 bits."""
    folder = tmp_path_factory.mktemp("quantized")
    base, noisy, _ = cards
    half = average((base, noisy), (0.25, 0.75), bench.images, name="half", statistics="averaged")
    found = {card.name: card for card in (base, noisy, half)}
    for card in (base, noisy, half):
        name = f"{card.name}8"
        found[name] = quantize_card(card, Int8(images=20), TRAIN, VALIDATION, folder / name)
    found["half16"] = quantize_card(half, Half(), TRAIN, VALIDATION, folder / "half16")
    found["tuned8"] = quantize_card(
        half, Int8(images=20), TRAIN, VALIDATION, folder / "tuned8", schedule=Schedule(1, 16), device="cpu", quiet=True
    )
    return found


@pytest.mark.parametrize(
    ("names", "originals"),
    [
        ("base noisy half", "base noisy"),
        ("base noisy half half8", "base noisy"),
        ("half8 noisy base", "noisy base"),
        ("base8 half8 noisy8", "base8 noisy8"),
        ("base8 noisy8 half", "base8 noisy8"),
        ("base noisy8 half8 half16", "base noisy8"),
        ("half8", "half8"),
        ("half half8", "half half8"),
        ("base half8 half16", "base half8 half16"),
        ("base base8 noisy noisy8 half8", "base base8 noisy noisy8"),
        ("base noisy tuned8", "base noisy tuned8"),
    ],
)
def test_originals_are_those_that_are_no_average_of_others(names: str, originals: str, named: Named) -> None:
    cards = [named[name] for name in names.split()]  # noqa: F811
    assert [cards[place].name for place in originals_of(cards)] == originals.split()


def test_the_record_says_what_a_quantized_average_is_made_of(named: Named) -> None:
    half, base, noisy = named["half"], named["base"], named["noisy"]
    for name in ("half8", "half16"):
        record = named[name].record
        assert record.average_of == half.record.average_of == (base.id, noisy.id)
        assert (record.parents, record.averaged) == ((half.id,), False)
        assert CardRecord.from_json(record.to_json()) == record
    for name in ("base", "base8", "tuned8"):
        assert named[name].record.average_of == ()


def test_a_quantized_deck_answers_with_its_originals_and_shows_the_average(named: Named, tmp_path: Path) -> None:
    family = [named[name] for name in ("base8", "noisy8", "half8")]
    deck = make_deck("small", "1", family, TRAIN, VALIDATION, gate="spectral", reference_images=20, corrupted_images=0)
    assert deck.references.augmentations == ("crop_flip", "gaussian")
    again = read_deck(write_deck(deck, tmp_path / "small"))
    check_same(deck, again)
    assert again.originals == deck.originals
    assert "half8 = 0.25 base8 + 0.75 noisy8" in table(again)
    plain = Predictor(replace(again, gate=replace(again.gate, kind="uniform", parameters={})))
    weights = plain.predict(VALIDATION.images[:3]).weights
    assert [set(row) for row in (weights[:, place].tolist() for place in range(3))] == [
        {0.0 if card.name == "half8" else 0.5} for card in again.cards
    ]


def test_a_quantized_average_is_not_averaged_again(named: Named, bench: Bench) -> None:  # noqa: F811
    with pytest.raises(InputError, match="card 'half16' is an average already"):
        average((named["base"], named["half16"]), (0.5, 0.5), bench.images, name="again")


def _of(change: Callable[[list[str]], Any]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda method: {**method, "of": change(method["of"])}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_of(lambda ids: "".join(ids)), "as `of`, the cards' ids"),
        (_of(lambda ids: [ids, ids]), "as `of`, the cards' ids"),
        (_of(lambda ids: None), "as `of`, the cards' ids"),
        (_of(lambda ids: ids[:1]), "2 for 1"),
        (_of(lambda ids: [ids[0], ids[0]]), "distinct parents"),
        (lambda method: {**method, "coefficients": [0.5, 0.6]}, "sum to 1"),
    ],
)
def test_a_malformed_record_is_refused(
    change: Callable[[dict[str, Any]], dict[str, Any]], says: str, named: Named
) -> None:
    record = named["half8"].record
    with pytest.raises(CardError, match=says):
        replace(record, method=change(record.method))


def test_averages_that_name_each_other_are_originals(named: Named) -> None:
    """Records can claim anything: some card has to answer."""
    eight = named["half8"]
    crossed = []
    for name, parent, of in (("one", "a" * 12, "b" * 12), ("other", "b" * 12, "a" * 12)):
        method = {**eight.record.method, "of": [of, parent]}
        crossed.append(replace(eight, name=name, record=replace(eight.record, parents=(parent,), method=method)))
    assert originals_of(crossed) == (0, 1)
