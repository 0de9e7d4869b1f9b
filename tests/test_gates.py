"""What holds for every kind of gate: limits, independence of rows, no memory, the same after a round trip."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from fitted_gates import KINDS, fitted_deck
from hypothesis import given, settings
from hypothesis import strategies as st

from cards_deck.deck import Deck, GateConfig, read_deck, write_deck
from cards_deck.errors import DeckError, InputError
from cards_deck.inference.engines import EngineKind
from cards_deck.inference.fake_deck import fake_images
from cards_deck.inference.gates import GATES, BaseGate, Decision, decide, gate_for
from cards_deck.inference.predictor import Predictor
from cards_deck.spectrum import Floats, Images, log_amplitude

CLASSES, SIZE = 10, 32
NATURAL = fake_images(12, seed=31)


def hostile_images() -> Images:
    """Noise, constants, checkerboards, stripes, single bright pixels: far from anything a camera makes."""
    rng = np.random.default_rng(0)
    grid = np.indices((SIZE, SIZE)).sum(axis=0) % 2
    spot = np.zeros((SIZE, SIZE))
    spot[5, 7] = 1
    planes = [grid, np.indices((SIZE, SIZE))[0] % 2, spot, *(np.full((SIZE, SIZE), value) for value in (0, 0.5, 1))]
    fixed = np.stack([np.repeat(255 * plane[..., None], 3, axis=2) for plane in planes]).astype(np.uint8)
    return np.concatenate([fixed, rng.integers(0, 256, (6, SIZE, SIZE, 3), np.uint8), 255 * (NATURAL > 128)]).astype(
        np.uint8
    )


SPECTRA = np.concatenate([log_amplitude(NATURAL), log_amplitude(hostile_images())])


def look_up(logits: Floats):  # type: ignore[no-untyped-def]
    return lambda card, rows: logits[card, rows]


def answers(cards: int, rows: int, seed: int = 0) -> Floats:
    """Logits, some of them sure and some of them not; the first image of all has the same ones in any batch."""
    rng = np.random.default_rng(seed)
    return (
        (rng.normal(size=(rows, cards, CLASSES)) * rng.choice([0.1, 1, 10], (rows, 1, 1)))
        .transpose(1, 0, 2)
        .astype(np.float32)
    )


def check(decision: Decision, gate: BaseGate) -> None:
    np.testing.assert_allclose(decision.weights.sum(axis=1), 1, atol=1e-5)
    assert (decision.weights >= 0).all()
    assert not (decision.weights[~decision.ran] > 0).any(), "a card that did not run has no part in the answer"
    assert (decision.ran.sum(axis=1) >= 1).all()
    assert (decision.ran.sum(axis=1) <= gate.limit).all()
    for rows in (decision.routing.weights, decision.routing.preference):
        np.testing.assert_allclose(rows.sum(axis=1), 1, atol=1e-5)
    assert np.isfinite(decision.routing.distances).all()
    assert decision.in_time.all()


def test_every_kind_is_registered_and_documented() -> None:
    assert set(GATES.names()) == {
        "cascade", "guarded_cascade", "hedged_cascade", "refereed_cascade", "reliability", "router", "softmax",
        "spectral", "spectrum_cascade", "uniform",
    }  # fmt: skip
    assert all(GATES[kind].__doc__ for kind in KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_a_gate_of_the_decks_own_kind_has_what_that_has_learned(kind: str) -> None:
    deck = fitted_deck(kind)
    assert GATES[kind].from_deck(deck).config == deck.gate


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("max_cards", [1, 2, 3, 9])
def test_never_more_cards_than_allowed(kind: str, max_cards: int) -> None:
    deck = fitted_deck(kind, max_cards)
    gate = gate_for(deck)
    assert gate.limit <= (len(deck.cards) if kind == "uniform" else max_cards)
    check(decide(gate, SPECTRA, look_up(answers(len(deck.cards), len(SPECTRA)))), gate)


HOSTILE = [np.nan, np.inf, -np.inf, 1e38, -1e38, 0.0]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", HOSTILE, ids=str)
def test_hostile_logits_break_no_limit(kind: str, value: float) -> None:
    gate = gate_for(fitted_deck(kind))
    logits = answers(4, len(SPECTRA))
    logits[:, ::2] = value
    logits[1, :, 3] = value
    with np.errstate(all="ignore"):
        check(decide(gate, SPECTRA, look_up(logits)), gate)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), height=st.floats(-50, 50), spread=st.floats(0, 50))
def test_no_spectrum_breaks_a_limit(kind: str, seed: int, height: float, spread: float) -> None:
    rng = np.random.default_rng(seed)
    spectra = (height + spread * rng.normal(size=(3, SIZE, SIZE // 2 + 1))).astype(np.float32)
    gate = gate_for(fitted_deck(kind))
    check(decide(gate, spectra, look_up(answers(4, 3, seed % 100))), gate)


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_is_the_same_alone_and_among_any_others(kind: str) -> None:
    """Bit for bit, in batches of several sizes and orders."""
    gate, logits = gate_for(fitted_deck(kind)), answers(4, len(SPECTRA))
    alone = [decide(gate, SPECTRA[i : i + 1], look_up(logits[:, i : i + 1])) for i in range(len(SPECTRA))]
    rng = np.random.default_rng(1)
    for count in (2, 7, 17, len(SPECTRA)):
        rows = rng.permutation(len(SPECTRA))[:count]
        together = decide(gate, SPECTRA[rows], look_up(logits[:, rows]))
        for place, row in enumerate(rows):
            assert np.array_equal(together.weights[place], alone[row].weights[0])
            assert np.array_equal(together.ran[place], alone[row].ran[0])
            for name in ("weights", "preference", "distances", "unknown", "choice"):
                own = getattr(alone[row].routing, name)[0]
                assert np.array_equal(getattr(together.routing, name)[place], own), name


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_remembered(kind: str) -> None:
    """The answer to an image is the same before and after a thousand hostile others."""
    predictor = Predictor(fitted_deck(kind), engine=EngineKind.FAKE)
    before = predictor.predict(NATURAL)
    rng = np.random.default_rng(5)
    for _ in range(8):
        predictor.predict(rng.integers(0, 256, (64, SIZE, SIZE, 3), np.uint8))
        predictor.predict(np.repeat(hostile_images(), 3, axis=0)[:64], window=True)
    after = predictor.predict(NATURAL)
    for field in dataclasses.fields(before):
        assert np.array_equal(getattr(before, field.name), getattr(after, field.name)), field.name


@pytest.mark.parametrize("kind", KINDS)
def test_a_gate_is_the_same_after_a_round_trip(kind: str, tmp_path) -> None:  # type: ignore[no-untyped-def]
    deck = fitted_deck(kind)
    config = deck.gate
    again = GateConfig.from_scalars(json.loads(json.dumps(config.scalars())), dict(config.arrays))
    assert again == config
    assert hash(again) == hash(config)
    read = read_deck(write_deck(deck, tmp_path / "deck"))
    assert read.gate == config
    logits = answers(4, len(SPECTRA))
    one, other = (decide(gate_for(each), SPECTRA, look_up(logits)) for each in (deck, read))
    assert np.array_equal(one.weights, other.weights)


@pytest.mark.parametrize("kind", KINDS)
def test_unknown_images_take_every_place(kind: str) -> None:
    """With the quantile at 0 every image is unknown: as many cards run as may, at once."""
    for max_cards in (1, 2, 3):
        gate = gate_for(fitted_deck(kind, max_cards, 0.0))
        decision = decide(gate, SPECTRA, look_up(answers(4, len(SPECTRA))))
        assert decision.routing.unknown.all()
        assert (decision.ran.sum(axis=1) == gate.limit).all()
        assert ((decision.routing.weights > 0) == decision.ran).all(), "known from the spectrum alone"


@pytest.mark.parametrize("kind", KINDS)
def test_no_images_and_other_sizes(kind: str) -> None:
    gate = gate_for(fitted_deck(kind))
    nothing = decide(gate, SPECTRA[:0], look_up(answers(4, 0)))
    assert (nothing.weights.shape, nothing.logits.shape) == ((0, 4), (4, 0, CLASSES))
    with pytest.raises(InputError, match="32 pixels"):
        gate.route(np.zeros((1, 16, 9), np.float32))


@pytest.mark.parametrize("kind", KINDS)
def test_what_does_not_fit_the_deck_is_refused(kind: str) -> None:
    deck = fitted_deck(kind)

    def refused(says: str, **fields: object) -> None:
        with pytest.raises(DeckError, match=says):
            dataclasses.replace(deck, gate=dataclasses.replace(deck.gate, **fields))  # type: ignore[arg-type]

    refused("no parameter nonsense", parameters={"nonsense": 1.0})
    refused("needs the arrays", arrays={**deck.gate.arrays, "nonsense": np.zeros(1, np.float32)})
    for name in GATES[kind].PARAMETERS:
        refused(f"{name} must be a number from 0", parameters={name: -0.1})
        refused(f"{name} must be a number from 0", parameters={name: 1e7})
    for name, array in deck.gate.arrays.items():
        refused("needs the arrays", arrays={key: value for key, value in deck.gate.arrays.items() if key != name})
        refused(name, arrays={**deck.gate.arrays, name: array[None]})
        if name != "order":
            fits = "enough" if name in ("sets", "risks") else name  # of any length, but all three of the same
            refused(fits, arrays={**deck.gate.arrays, name: array[:-1]})


def test_a_deck_of_another_gate_has_other_cards_in_mind() -> None:
    deck: Deck = fitted_deck("router")
    with pytest.raises(DeckError, match="weights must have shape"):
        dataclasses.replace(deck, cards=deck.cards[:2])
    with pytest.raises(DeckError, match="unknown gate 'magic': choose one of cascade"):
        dataclasses.replace(deck, gate=GateConfig("magic"))
