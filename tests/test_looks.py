"""Second looks: cards of another's weights that see images mirrored; their files, engines and place in a deck."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from families import family, family_deck
from tiny_family import TRAIN, VALIDATION, cards  # noqa: F401  (the fixture)
from tiny_training import one_thread  # noqa: F401  (the fixture acts by being here)

from cards_deck.__main__ import main
from cards_deck.averages import average_bytes, average_from_bytes
from cards_deck.card import Card, card_bytes, card_from_bytes
from cards_deck.commands.show import table
from cards_deck.deck import Deck, card_sizes, read_deck, write_deck
from cards_deck.deck_cards import originals_of, parts_of
from cards_deck.errors import CardError, InputError
from cards_deck.inference.engines import EngineKind, Mirrored, available, load, load_all
from cards_deck.inference.fake_deck import fake_images
from cards_deck.tensorfile import decode, encode
from cards_deck.training.averaging.admission import admitted
from cards_deck.training.averaging.average import average
from cards_deck.training.averaging.batch_norm import AugmentedImages, BatchNorm
from cards_deck.training.averaging.blends import place_card
from cards_deck.training.averaging.looks import add_looks, look_name, mirrored
from cards_deck.training.decks import make_deck
from cards_deck.training.quantizers import QUANTIZERS
from cards_deck.training.quantizing import _quantized
from eval.validation import best_place

BASE, *_ = CARDS = family()
SOUP = family_deck().cards[-1]
KINDS = [kind for kind in EngineKind if kind is not EngineKind.AUTO]
Family = tuple[Card, Card, Card]


def with_looks(deck: Deck) -> Deck:
    """The deck of a family, with second looks of a card and of an average of three."""
    return dataclasses.replace(deck, cards=(*deck.cards, mirrored(BASE), mirrored(SOUP)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("card", [BASE, SOUP], ids=lambda card: card.name)
def test_a_second_look_answers_as_the_card_does_to_the_mirror_image(card: Card, kind: EngineKind) -> None:
    if not available(kind):
        pytest.skip(f"{kind} is not installed")
    images = fake_images(5, 16, seed=3)
    found, plain = load(mirrored(card), kind, image_size=16)(images), load(card, kind, image_size=16)
    if kind is EngineKind.FAKE:  # makes up answers by the card's id
        runner = load(mirrored(card), kind, image_size=16)
        assert isinstance(runner, Mirrored)
        plain = runner.runner
    np.testing.assert_allclose(found, plain(np.ascontiguousarray(images[:, :, ::-1])), atol=1e-6)
    assert np.abs(found - plain(images)).max() > 1e-3


@pytest.mark.parametrize("kind", [EngineKind.SPARSE, EngineKind.TORCH])
def test_a_deck_loads_weights_once(kind: EngineKind) -> None:
    deck, images = with_looks(family_deck()), fake_images(5, 16, seed=3)
    runners = [runner for _, runner in load_all(deck.cards, kind, image_size=16)]
    for card, runner in zip(deck.cards, runners, strict=True):
        np.testing.assert_allclose(runner(images), load(card, kind, image_size=16)(images), atol=1e-6)
        if card.mirrored:
            (place,) = (place for place, other in enumerate(deck.cards) if other.id == card.record.weights_of)
            assert isinstance(runner, Mirrored)
            assert runner.runner is runners[place]
    ((_, alone),) = load_all([mirrored(SOUP)], kind, image_size=16)
    np.testing.assert_allclose(alone(images), runners[-1](images), atol=1e-6)


def test_it_is_a_card_of_its_own_that_stands_for_the_same_cards() -> None:
    deck = with_looks(family_deck())
    assert [card.name for card in deck.cards[-2:]] == ["base-mirrored", "soup-mirrored"]
    assert len({card.id for card in deck.cards}) == len(deck.cards)
    assert originals_of(deck.cards) == originals_of(family_deck().cards), "the plain average leaves it out"
    parts = parts_of(deck.cards)
    names = [card.name for card in deck.cards]
    for name in ("base", "soup"):
        assert parts[names.index(f"{name}-mirrored")] == parts[names.index(name)]


def test_a_deck_keeps_it_without_weights(tmp_path: Path) -> None:
    deck = with_looks(family_deck())
    write_deck(deck, tmp_path)
    again = read_deck(tmp_path)
    for card, found in zip(deck.cards, again.cards, strict=True):
        assert (found.name, found.id, found.mirrored) == (card.name, card.id, card.mirrored)
        assert all(np.array_equal(found.tensors[name], array) for name, array in card.tensors.items())
    sizes = card_sizes(again)
    assert sizes["base-mirrored"] < sizes["base"] / 2
    assert abs(sizes["soup-mirrored"] - sizes["soup"]) < 100
    assert "base-mirrored = 1 base, on mirrored images" in table(again)


def test_older_readers_refuse_it_and_a_file_that_disagrees_with_its_record_is_refused() -> None:
    """A reader that did not know of mirrored images would give the answers of another card."""
    by_id = {card.id: card for card in CARDS}
    for card, version in ((SOUP, "1"), (mirrored(SOUP), "2"), (mirrored(BASE), "2")):
        entries, metadata = decode(average_bytes(card))
        assert metadata["version"] == version
        assert average_from_bytes(average_bytes(card), "here", by_id).mirrored == card.mirrored
        other = encode(entries, {**metadata, "version": "1" if version == "2" else "2"})
        with pytest.raises(CardError, match=f"of version {version}"):
            average_from_bytes(other, "here", by_id)
    for card, version in ((BASE, "2"), (mirrored(BASE), "3"), (mirrored(SOUP), "3")):
        entries, metadata = decode(card_bytes(card))
        assert metadata["version"] == version
        assert card_from_bytes(card_bytes(card)).mirrored == card.mirrored
        other = encode(entries, {**metadata, "version": "2" if version == "3" else "3"})
        with pytest.raises(CardError, match="which its record does not go with"):
            card_from_bytes(other)


def test_without_its_parts_a_second_look_stands_for_its_card() -> None:
    """A deck of one average and its second look, say: the plain average is that card alone."""
    look = mirrored(SOUP)
    assert originals_of([look, SOUP]) == (1,)
    assert parts_of([look, SOUP]) == ((0, 1), (0, 1))
    assert originals_of([look]) == (0,)


@pytest.mark.parametrize(
    ("method", "says"),
    [
        ({"name": "average", "coefficients": [1.0]}, "numbers in"),  # not mirrored: the card itself
        ({"name": "average", "coefficients": [0.5], "mirrored": True}, "sum to 1"),
        ({"name": "average", "coefficients": [1.0], "mirrored": False}, "only as true and in an average, not False"),
        ({"name": "average", "coefficients": [1.0], "mirrored": 1}, "only as true and in an average, not 1"),
        ({"name": "rigl", "mirrored": True}, "in an average, not True in 'rigl'"),
    ],
)
def test_records_that_make_no_sense_are_refused(method: dict[str, object], says: str) -> None:
    with pytest.raises(CardError, match=says):
        dataclasses.replace(BASE.record, method=method, parents=(BASE.id,))


def test_a_quantized_one_still_sees_images_mirrored() -> None:
    quantizer = QUANTIZERS.restore({"name": "int8"})
    small = _quantized("base", BASE, quantizer, BASE)
    look = _quantized("look", mirrored(BASE), quantizer, mirrored(BASE))
    assert look.mirrored
    images = fake_images(5, 16, seed=3)
    expected = load(small, EngineKind.TORCH, image_size=16)(np.ascontiguousarray(images[:, :, ::-1]))
    np.testing.assert_allclose(load(look, EngineKind.TORCH, image_size=16)(images), expected, atol=1e-6)
    assert card_from_bytes(card_bytes(look)).mirrored
    assert look.record.average_of == (BASE.id,)
    assert originals_of([small, look]) == (0,)
    with pytest.raises(InputError, match="quantized to 8 bits"):
        mirrored(small)
    with pytest.raises(InputError, match="sees images mirrored already"):
        mirrored(mirrored(BASE))


def test_looks_are_added_measured_and_in_their_place(cards: Family) -> None:  # noqa: F811
    deck = make_deck("tiny", "1", cards, TRAIN, VALIDATION, gate="uniform", reference_images=50)
    name = cards[0].name
    more = add_looks(deck, [name], VALIDATION)
    (look,) = (card for card in more.cards if card.mirrored)
    measured = more.measured[look.id]["validation"]
    assert measured["n"] == len(VALIDATION)
    runner = load(cards[0], image_size=VALIDATION.image_size)
    answers = runner(np.ascontiguousarray(VALIDATION.images[:, :, ::-1])).argmax(axis=1)
    assert measured["accuracy"] == pytest.approx(float((answers == VALIDATION.labels).mean()), abs=1e-6)
    names = [card.name for card in more.cards]
    assert names.index(look.name) == names.index(name) + 1, "right behind the card, whatever its score"
    assert best_place(more, [float(card.mirrored) for card in more.cards]) == 0, "which is no second look"
    with pytest.raises(InputError, match=f"has a card '{look.name}' already"):
        add_looks(more, [name], VALIDATION)
    with pytest.raises(InputError, match="leaves no room for the '-mirrored'"):
        look_name("a" * 95)
    with pytest.raises(InputError, match="has no card 'other': its cards are"):
        add_looks(deck, [name, "other"], VALIDATION)
    with pytest.raises(InputError, match="is named 2 times: name it once"):
        add_looks(deck, [name, name], VALIDATION)


def test_a_deck_packed_with_them_tells_of_no_barrier_but_that_of_their_average(cards: Family) -> None:  # noqa: F811
    half = average(cards[:2], (0.5, 0.5), AugmentedImages(TRAIN, BatchNorm(96, 32)), name="half", statistics="averaged")
    packed = [*cards[:2], half, mirrored(half), mirrored(cards[0])]
    found = admitted(packed, TRAIN, VALIDATION, allow_barrier=True)
    assert found == {half.id: found[half.id], mirrored(half).id: found[half.id]}
    alone = admitted([mirrored(half), *cards[:2]], TRAIN, VALIDATION, allow_barrier=True)
    assert set(alone) == {mirrored(half).id}


def test_a_blend_takes_its_place_among_the_cards_that_are_no_looks(cards: Family) -> None:  # noqa: F811
    deck = make_deck("tiny", "1", cards, TRAIN, VALIDATION, gate="uniform", reference_images=50)
    more = add_looks(deck, [card.name for card in deck.cards], VALIDATION)
    half = average(cards[:2], (0.5, 0.5), AugmentedImages(TRAIN, BatchNorm(96, 32)), name="half", statistics="averaged")
    made = place_card(more, half, VALIDATION, {})
    plain = [made.measured[card.id]["validation"]["score"] for card in made.cards if not card.mirrored]
    assert plain == sorted(plain, reverse=True)
    names = [card.name for card in made.cards]
    for card in cards:
        assert names[names.index(card.name) + 1] == look_name(card.name)


def test_the_command_adds_them_and_fits_a_gate(
    cards: Family,  # noqa: F811
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    deck = make_deck("tiny", "1", cards, TRAIN, VALIDATION, gate="uniform", reference_images=50)
    folder, names = write_deck(deck, tmp_path / "deck"), [card.name for card in cards[:2]]
    np.savez(tmp_path / "patterns_train.npz", images=TRAIN.images, labels=TRAIN.labels, classes=np.array(TRAIN.classes))
    data = ["--data", str(tmp_path), "--name", "patterns", "--gate", "uniform", "--out", str(tmp_path / "looks")]
    assert main(["blend", str(folder), "--mirror", ",".join(names), *data, "--soup", "greedy", "--union"]) != 0
    assert "leave out --soup, --union" in capsys.readouterr().err
    assert main(["blend", str(folder), "--mirror", ",".join(names), *data]) == 0
    found = read_deck(tmp_path / "looks")
    assert sorted(card.name for card in found.cards if card.mirrored) == sorted(f"{name}-mirrored" for name in names)
    assert f"{names[0]}-mirrored = 1 {names[0]}, on mirrored images" in capsys.readouterr().out
    manifest = json.loads((tmp_path / "looks" / "deck.json").read_text())
    for card in manifest["cards"]:
        assert card["record"]["method"].get("mirrored", False) == card["name"].endswith("-mirrored")
