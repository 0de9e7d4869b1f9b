"""Soups on functions that are known, and on cards."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from tiny_family import bench, cards  # noqa: F401  (fixtures)
from tiny_training import one_thread  # noqa: F401  (the fixture acts by being here)

from cards_deck.averages import statistics_names
from cards_deck.card import Card
from cards_deck.errors import InputError
from cards_deck.inference.engines.torch import TorchNetwork
from cards_deck.training.averaging.average import average
from cards_deck.training.averaging.blends import Bench
from cards_deck.training.averaging.candidates import Candidates
from cards_deck.training.averaging.judge import score
from cards_deck.training.averaging.soups import Soup, alone, greedy, learned, trimmed, uniform

Family = tuple[Card, Card, Card]
POINTS = np.array([[1.0, 0.0], [-0.5, 0.9], [-0.5, -0.9], [4.0, 4.0]])  # "cards" of two weights


def height(soup: Soup) -> float:
    """Of a hill over the weights' plane, highest at its origin."""
    return -float(((np.array(soup) @ POINTS[: len(soup)]) ** 2).sum())


def slope(soup: Soup) -> NDArray[np.float64]:
    """Of the loss -height, by the coefficients."""
    points = POINTS[: len(soup)]
    found: NDArray[np.float64] = 2 * points @ (np.array(soup) @ points)
    return found


def test_uniform_is_the_mean() -> None:
    assert uniform(4) == (0.25,) * 4
    assert alone(1, 3) == (0.0, 1.0, 0.0)
    for count in (0, 1):
        with pytest.raises(InputError, match="at least 2 cards"):
            uniform(count)
        with pytest.raises(InputError, match="at least 2 cards"):
            greedy(count, height)


def test_greedy_by_hand() -> None:
    """Best first: 0 (-1), then 1 and 2 (-1.06); each of them helps, the far fourth does not."""
    asked: list[Soup] = []

    def tasted(soup: Soup) -> float:
        asked.append(soup)
        return height(soup)

    assert greedy(4, tasted) == (1 / 3, 1 / 3, 1 / 3, 0.0)
    assert asked[4:] == [(0.5, 0.5, 0, 0), (1 / 3, 1 / 3, 1 / 3, 0), (0.25,) * 4]


def test_greedy_starts_from_the_best_and_goes_by_rank() -> None:
    single: dict[Soup, float] = {(1.0, 0.0, 0.0): 0.5, (0.0, 1.0, 0.0): 0.7, (0.0, 0.0, 1.0): 0.6}
    assert greedy(3, lambda soup: single.get(soup, 0.65 if soup == (0, 0.5, 0.5) else 0.8)) == (0.5, 0.5, 0.0)


def test_greedy_needs_a_strict_gain() -> None:
    assert greedy(3, lambda soup: 0.5) == (1.0, 0.0, 0.0)


@given(st.lists(st.floats(0, 1), min_size=8, max_size=8))
def test_greedy_is_never_worse_than_the_best_card(values: list[float]) -> None:
    def tasted(soup: Soup) -> float:
        members = [place for place, share in enumerate(soup) if share > 0]
        return values[sum(1 << place for place in members)]

    assert tasted(greedy(3, tasted)) >= max(tasted(alone(place, 3)) for place in range(3))


def test_learned_finds_the_top() -> None:
    """Which is at the mean of the three."""
    soup = learned((0.6, 0.35, 0.05), height, slope, steps=40)
    assert sum(soup) == pytest.approx(1)
    assert soup == pytest.approx((1 / 3,) * 3, abs=0.05)
    assert height(soup) > -1e-2


def test_learned_drops_a_card_that_only_hurts() -> None:
    soup = learned((0.25,) * 4, height, slope, steps=40, rate=3)
    assert soup[3] == 0.0
    assert height(soup) > -0.05


@given(st.lists(st.floats(0.01, 1), min_size=3, max_size=3), st.integers(0, 5))
def test_learned_is_never_worse_than_its_start(weights: list[float], seed: int) -> None:
    start = tuple(weight / sum(weights) for weight in weights)
    rng = np.random.default_rng(seed)
    misled = learned(start, height, lambda soup: rng.normal(size=3), steps=3)
    assert height(misled) >= height(start)


def test_learned_keeps_its_start_where_nothing_is_better() -> None:
    start = (1.0, 0.0, 0.0)
    assert learned(start, lambda soup: float(soup == start), slope) == start
    for still in (np.zeros(3), np.full(3, np.nan)):
        assert learned(start, height, lambda soup, still=still: still) == start  # type: ignore[misc]
    with pytest.raises(InputError, match="steps and a rate"):
        learned(start, height, slope, steps=0)


def test_small_shares_are_left_out() -> None:
    assert trimmed((0.005, 0.495, 0.5)) == pytest.approx((0, 0.495 / 0.995, 0.5 / 0.995))


def test_the_score_of_a_soup_is_that_of_its_card(cards: Family, bench: Bench) -> None:  # noqa: F811
    candidates = Candidates(cards, bench.judge, bench.images)
    made = average((cards[0], cards[2]), (0.5, 0.5), bench.images, name="x")
    assert candidates.score((0.5, 0.0, 0.5)) == score(bench.judge.accuracies(made))
    assert candidates.score((0.0, 1.0, 0.0)) == score(bench.judge.accuracies(cards[1]))
    assert candidates.card((0.0, 1.0, 0.0), "x") is cards[1]
    with pytest.raises(InputError, match="two or more"):
        Candidates(cards[:1], bench.judge, bench.images)


def test_the_gradient_is_that_of_the_held_out_loss(cards: Family, bench: Bench) -> None:  # noqa: F811
    """Against differences of the loss, all but the coefficients kept: cards of 32 bits, no rounding between."""
    wide = [replace(card, record=replace(card.record, bits=32)) for card in cards]
    candidates, soup = Candidates(wide, bench.judge, bench.images), (0.5, 0.3, 0.2)
    found = candidates.gradient(soup)
    blend = candidates.card(soup, "blend")
    step = 1e-3
    for place in range(3):
        ends = [_loss(wide, soup, place, sign * step, blend, bench) for sign in (1, -1)]
        assert found[place] == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=0.05, abs=0.02)


def _loss(cards: list[Card], soup: Soup, place: int, move: float, blend: Card, bench: Bench) -> float:  # noqa: F811
    """Weighted cross-entropy in numpy, the blend's statistics kept."""
    shares = [share + (move if index == place else 0) for index, share in enumerate(soup)]
    network = TorchNetwork(blend)
    kept = {name for kind in statistics_names(blend.graph) for name in kind}
    for name in network.tensors:
        if name not in kept:
            mixed = sum(
                share * card.tensors[name].astype(np.float64) for share, card in zip(shares, cards, strict=True)
            )
            network.tensors[name] = torch.from_numpy(np.asarray(mixed, np.float32))
    total = 0.0
    for domain, (images, labels) in bench.judge.domains.items():
        logits = network.logits(torch.from_numpy(images.transpose(0, 3, 1, 2).copy()).float() / 255).numpy()
        logits = logits.astype(np.float64) - logits.max(1, keepdims=True)
        losses = np.log(np.exp(logits).sum(1)) - logits[np.arange(len(labels)), labels]
        total += losses.mean() * (0.5 if domain == "clean" else 0.125)
    return total
