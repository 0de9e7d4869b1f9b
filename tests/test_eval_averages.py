"""A deck that holds an average of two of its cards: gates may choose it, the plain average leaves it out."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from eval_tiny import CLASSES, tiny_settings

from cards_deck.deck import Deck
from cards_deck.inference.fake_deck import fake_card
from eval.context import Context
from eval.evaluate import evaluate


@pytest.fixture(scope="module")
def deck(eval_deck: Deck) -> Deck:
    """With a fifth card that says of itself that it is the average of the first two."""
    first, second = eval_deck.cards[:2]
    card = fake_card("blend", classes=CLASSES, seed=9)
    record = dataclasses.replace(
        card.record,
        method={"name": "average", "coefficients": [0.5, 0.5], "batch_norm": {"name": "averaged"}},
        parents=(first.id, second.id),
        augmentation={"name": "mixed", "of": ["augmix", "gaussian"]},
    )
    return dataclasses.replace(
        eval_deck, cards=(*eval_deck.cards, dataclasses.replace(card, record=record)), measured={}
    )


@pytest.fixture(scope="module")
def result(deck: Deck, eval_root: Path) -> dict[str, Any]:
    return evaluate(deck, tiny_settings(eval_root, None))


def test_only_cards_of_their_own_are_averaged_drawn_and_asked(result: dict[str, Any]) -> None:
    costs = {name: row["cards_per_image"] for name, row in result["routes"].items()}
    assert costs["uniform"] == costs["confidence"] == 4
    assert costs["oracle"] == 5
    assert [card["averaged"] for card in result["cards"]] == [False] * 4 + [True]
    assert {card["epochs"] for card in result["cards"]} == {0}


def test_the_plain_average_is_the_one_without_it(
    deck: Deck, eval_deck: Deck, eval_root: Path, result: dict[str, Any]
) -> None:
    plain = evaluate(dataclasses.replace(eval_deck, measured={}), tiny_settings(eval_root, None))
    assert result["cells"]["routes"]["uniform"] == plain["cells"]["routes"]["uniform"]
    assert result["cells"]["routes"]["random_card"] == plain["cells"]["routes"]["random_card"]
    assert len(result["cells"]["cards"]) == len(plain["cells"]["cards"]) + 1


def test_a_learned_gate_may_run_it(deck: Deck, eval_root: Path) -> None:
    context = Context(deck, tiny_settings(eval_root, None))
    chosen = context.routes.chosen
    assert chosen is not None
    assert chosen.candidates["router"][-1].gate.config.arrays["bias"].shape == (5,)
