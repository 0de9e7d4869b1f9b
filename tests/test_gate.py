"""Gates: which cards answer, with what weight, and what is unknown."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gate_rows import as_parts

from cards_deck.deck import GateConfig
from cards_deck.errors import InputError
from cards_deck.inference.fake_deck import fake_deck, fake_images
from cards_deck.inference.gates import Gate, Known, Routing, SpectralGate, UniformGate, gate_for
from cards_deck.spectrum import Images, References, build_references, log_amplitude

NAMES = ("a", "b", "c")
CARDS = ("b", "a", "a", "c", "b", "a")  # deck order: best first


def _references() -> References:
    return References(
        NAMES,
        np.zeros((3, 32, 17), np.float32),
        np.ones(3, np.float32),
        np.linspace(0, 1, 101, dtype=np.float32),
    )


def _spectral(references: References, cards: tuple[str, ...], **fields: Any) -> SpectralGate:
    margin = fields.pop("margin", 0.1)
    config = GateConfig(parameters={"margin": margin}, **fields)
    return SpectralGate(config, Known(references, cards, tuple(range(len(cards))), as_parts(np.eye(len(cards)))))


def _routed(gate: Gate, images: Images) -> Routing:
    return gate.route(log_amplitude(images))


def _weights(found: list[float], *, max_cards: int, margin: float = 0.1) -> list[float]:
    gate = _spectral(_references(), CARDS, max_cards=max_cards, margin=margin)
    routing = gate.route_distances(np.array([found], np.float32))
    assert routing.weights.sum() == pytest.approx(1)
    assert (routing.weights > 0).sum() <= max_cards
    return [round(float(weight), 3) for weight in routing.weights[0]]


@pytest.mark.parametrize(
    ("found", "max_cards", "expected"),
    [
        # clearly a: its first cards in deck order, as many as allowed
        ([0.5, 0.9, 0.9], 1, [0, 1, 0, 0, 0, 0]),
        ([0.5, 0.9, 0.9], 2, [0, 0.5, 0.5, 0, 0, 0]),
        ([0.5, 0.9, 0.9], 3, [0, 0.333, 0.333, 0, 0, 0.333]),
        ([0.5, 0.9, 0.9], 6, [0, 0.333, 0.333, 0, 0, 0.333]),
        # c has one card only
        ([0.9, 0.9, 0.5], 2, [0, 0, 0, 1, 0, 0]),
        # a, and b is close: the best b takes the last place, or a free one
        ([0.5, 0.52, 0.9], 1, [0, 1, 0, 0, 0, 0]),
        ([0.5, 0.52, 0.9], 2, [0.5, 0.5, 0, 0, 0, 0]),
        ([0.5, 0.52, 0.9], 3, [0.333, 0.333, 0.333, 0, 0, 0]),
        ([0.5, 0.52, 0.9], 6, [0.25, 0.25, 0.25, 0, 0, 0.25]),
        # only the second nearest joins, even where the third is close too
        ([0.52, 0.51, 0.5], 3, [0.5, 0, 0, 0.5, 0, 0]),
        # ties go to the first reference
        ([0.5, 0.5, 0.9], 2, [0.5, 0.5, 0, 0, 0, 0]),
        ([0, 0, 0], 2, [0, 0.5, 0.5, 0, 0, 0]),
    ],
)
def test_weights(found: list[float], max_cards: int, expected: list[float]) -> None:
    assert _weights(found, max_cards=max_cards) == expected


def test_the_margin_is_relative_and_zero_never_mixes() -> None:
    assert _weights([0.5, 0.549, 9], max_cards=2)[0] == 0.5
    assert _weights([0.5, 0.551, 9], max_cards=2)[0] == 0
    assert _weights([5, 5.49, 9], max_cards=2)[0] == 0.5
    assert _weights([0.5, 0.5, 9], max_cards=2, margin=0)[0] == 0


def test_beyond_the_quantile_is_unknown() -> None:
    gate = _spectral(_references(), CARDS, unknown_quantile=0.75)
    routing = gate.route_distances(np.array([[0.74, 2, 2], [0.76, 2, 2], [2, 2, 0.7]], np.float32))
    assert routing.unknown.tolist() == [False, True, False]
    assert routing.choice.tolist() == [0, 0, 2]


def test_one_reference_is_always_chosen_and_never_mixed() -> None:
    references = build_references({"a": fake_images(16)})
    routing = _routed(_spectral(references, ("a", "a"), margin=1e6), fake_images(3, seed=9))
    assert routing.weights.tolist() == [[0.5, 0.5]] * 3
    assert routing.distances.shape == (3, 1)


def test_noise_goes_to_the_cards_that_know_noise() -> None:
    deck = fake_deck()
    clean = fake_images(40, seed=5)
    noisy = np.clip(clean + np.random.default_rng(1).normal(0, 26, clean.shape), 0, 255).astype(np.uint8)
    gate = gate_for(deck)
    assert set(_routed(gate, clean).choice) == {0}
    assert set(_routed(gate, noisy).choice) == {1}
    for routing, trained in ((_routed(gate, clean), "augmix"), (_routed(gate, noisy), "gaussian")):
        answering = {deck.cards[k].augmentation for k in np.flatnonzero(routing.weights.any(axis=0))}
        assert answering == {trained}


def test_known_images_are_known_and_flat_ones_are_not() -> None:
    gate = gate_for(fake_deck())
    assert _routed(gate, fake_images(100, seed=6)).unknown.mean() < 0.2
    flat = np.stack([np.full((32, 32, 3), value, np.uint8) for value in (0, 128, 255)])
    routing = _routed(gate, flat)
    assert routing.unknown.all()
    assert np.isfinite(routing.distances).all()
    np.testing.assert_allclose(routing.weights.sum(axis=1), 1)


def test_a_row_is_the_same_in_any_batch() -> None:
    gate = gate_for(fake_deck())
    images = fake_images(70, seed=2)
    together = _routed(gate, images)
    for index in (0, 31, 32, 69):
        alone = _routed(gate, images[index : index + 1])
        np.testing.assert_array_equal(alone.distances[0], together.distances[index])
        np.testing.assert_array_equal(alone.weights[0], together.weights[index])


def test_the_uniform_gate_asks_every_card() -> None:
    gate = gate_for(fake_deck(gate=GateConfig("uniform")))
    assert isinstance(gate, UniformGate)
    routing = _routed(gate, fake_images(3))
    np.testing.assert_allclose(routing.weights, 0.25)
    assert routing.choice.tolist() == [-1, -1, -1]
    assert routing.distances.shape == (3, 2)


def test_other_images_and_references_without_cards_are_refused() -> None:
    with pytest.raises(InputError, match="32 pixels"):
        _routed(gate_for(fake_deck()), fake_images(1, 64))
    with pytest.raises(InputError, match="no card was trained under c"):
        _spectral(_references(), ("a", "b"))
