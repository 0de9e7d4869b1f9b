"""Where a gate trusts cards by the class that they name, the sentence says what the weights come from."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from fitted_gates import KINDS, fitted_deck
from photos import noisy
from serving_client import serving

from cards_deck.deck import Deck
from cards_deck.explaining import reasons, sentence
from cards_deck.inference.engines import EngineKind
from cards_deck.inference.fake_deck import fake_images
from cards_deck.inference.predictor import Prediction, Predictor
from serving.openapi import describe
from serving.settings import Settings

FLAT = np.full((1, 32, 32, 3), 130, np.uint8)
IMAGES = np.concatenate([fake_images(6), noisy(fake_images(6), 26), FLAT])


def trusting(power: float = 1.0, max_cards: int = 3) -> Deck:
    """The fake deck with a gate of the reliability kind, of this power, whose cards are trusted by class."""
    deck = fitted_deck("reliability", max_cards)
    table = np.random.default_rng(1).uniform(0.2, 1, deck.gate.arrays["reliability"].shape).astype(np.float32)
    arrays = {**deck.gate.arrays, "reliability": table}
    return dataclasses.replace(deck, gate=dataclasses.replace(deck.gate, parameters={"power": power}, arrays=arrays))


def predict(deck: Deck, **options: Any) -> tuple[Predictor, Prediction]:
    predictor = Predictor(deck, engine=EngineKind.FAKE)
    return predictor, predictor.predict(IMAGES, **options)


@pytest.mark.parametrize("power", [1.0, 2.0, 0.5])
def test_the_votes_give_the_weights(power: float) -> None:
    """Against the cards' own logits, the spectrum's preference and the table, image by image."""
    deck = trusting(power)
    predictor, prediction = predict(deck)
    classes = np.stack([predictor.card_logits(IMAGES, card).argmax(axis=1) for card in range(len(deck.cards))])
    for row in range(len(IMAGES)):
        found = {vote.card: vote for vote in reasons(deck, prediction, row).votes}
        ran = np.flatnonzero(prediction.ran[row])
        assert set(found) == {deck.cards[card].name for card in ran}
        preference = np.where(prediction.unknown[row], 1.0, prediction.preference[row, ran])
        for card, share in zip(ran, preference / preference.sum(), strict=True):
            vote = found[deck.cards[card].name]
            assert vote.named == deck.classes[classes[card, row]]
            assert vote.reliability == deck.gate.arrays["reliability"][card, classes[card, row]]
            assert vote.share == pytest.approx(share, rel=1e-3, abs=1e-6)
        products = np.array([vote.share * vote.reliability**power for vote in found.values()])
        weights = dict(reasons(deck, prediction, row).cards)
        assert products / products.sum() == pytest.approx([weights[name] for name in found], abs=1e-5)
    assert prediction.unknown.any()
    assert not prediction.unknown.all()


def test_the_sentence_says_them_with_their_numbers() -> None:
    for power, written in ((1.0, ""), (2.0, "^2")):
        deck = trusting(power)
        _, prediction = predict(deck)
        why = reasons(deck, prediction, 0)
        text = sentence(why)
        assert ", each weighed by the spectrum's share times how often it was right on validation images" in text
        for vote in why.votes:
            assert f"{vote.card} {vote.share:.0%} x {vote.reliability:.0%}{written} as it named {vote.named}" in text
        assert f" answered {why.label} with {why.confidence:.0%}." in text
        assert (text.count(". "), text[-1]) == (0, ".")


def test_a_window_is_weighed_by_the_shares_of_its_mean() -> None:
    deck = trusting()
    _, prediction = predict(deck, window=True)
    found = [{vote.card: vote.share for vote in reasons(deck, prediction, row).votes} for row in range(len(IMAGES))]
    assert all(one == pytest.approx(found[0], rel=1e-3) for one in found)


def test_nothing_is_said_where_nothing_was_weighed() -> None:
    for deck, options in ((trusting(power=0.0), {}), (trusting(max_cards=1), {}), (trusting(), {"seconds": 0.0})):
        _, prediction = predict(deck, **options)
        for row in range(len(IMAGES)):
            why = reasons(deck, prediction, row)
            assert why.votes == ()
            assert "each weighed" not in sentence(why)
    for kind in KINDS:
        if kind != "reliability":
            deck = fitted_deck(kind)
            assert reasons(deck, predict(deck)[1], 0).votes == ()


def test_a_prediction_tells_what_each_card_named() -> None:
    deck = fitted_deck("router", 2)
    predictor, prediction = predict(deck)
    for card in range(len(deck.cards)):
        classes = predictor.card_logits(IMAGES, card).argmax(axis=1)
        np.testing.assert_array_equal(prediction.named[:, card], np.where(prediction.ran[:, card], classes, -1))
    assert (prediction.named == -1).any()


def test_the_server_says_them_as_it_describes_them() -> None:
    deck = trusting()
    schema = describe(deck, Settings())["components"]["schemas"]["Explanation"]["properties"]["why"]
    with serving(Predictor(deck, engine=EngineKind.FAKE), Settings()) as client:
        answer = client.batch(IMAGES[:1], explain=True).json()["answers"][0]["explanation"]
    assert set(answer["why"]) == set(schema["properties"]) == set(schema["required"])
    votes, described = answer["why"]["votes"], schema["properties"]["votes"]["items"]
    assert len(votes) > 1
    for vote in votes:
        assert set(vote) == set(described["properties"])
        assert vote["named"] in described["properties"]["named"]["enum"]
        assert f"as it named {vote['named']}" in answer["sentence"]
