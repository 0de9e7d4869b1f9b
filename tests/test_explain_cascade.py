"""What decides in a cascade and in a window is said with its numbers, and is what the gate went by."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.special
from fitted_gates import KINDS, STRANGE, fitted_deck
from photos import noisy
from PIL import Image
from serving_client import serving

from cards_deck.deck import Deck
from cards_deck.explaining import reasons, sentence, widenings
from cards_deck.explaining.page import explain, page
from cards_deck.inference.engines import EngineKind
from cards_deck.inference.fake_deck import fake_deck, fake_images
from cards_deck.inference.gates import GateConfig, gate_for
from cards_deck.inference.gates._profile import ring_count
from cards_deck.inference.gates._risk import NEVER
from cards_deck.inference.gates.guarded_cascade import GuardedCascadeGate
from cards_deck.inference.predictor import Prediction, Predictor
from cards_deck.spectrum import Images, log_amplitude
from serving.openapi import describe
from serving.settings import Settings

CASCADES = ("cascade", "spectrum_cascade", "hedged_cascade", "guarded_cascade", "refereed_cascade")
FLAT = np.full((1, 32, 32, 3), 130, np.uint8)
IMAGES = np.concatenate([fake_images(8), noisy(fake_images(8), 26), FLAT])
UNKNOWN = np.concatenate([FLAT.repeat(5, axis=0), fake_images(2)])  # its mean is unknown, its last two images are not


def cascade(kind: str, threshold: float | None = None) -> Deck:
    """The fake deck with a cascade of this kind; threshold None: such that half of the images need one card."""
    deck = fitted_deck(kind)
    if threshold is None:
        found = predict(cascade(kind, 1.0), fake_images(8))
        threshold = float(np.median(found.sure))
    if kind in STRANGE:  # which have one for each set of cards: here for each card, and no answer of several
        count = len(deck.cards)
        enough = np.full((len(deck.gate.arrays["risks"]), count), threshold, np.float32)
        arrays = {**deck.gate.arrays, "sets": np.eye(count, dtype=np.float32), "enough": enough}
        return dataclasses.replace(deck, gate=dataclasses.replace(deck.gate, arrays=arrays))
    return dataclasses.replace(deck, gate=dataclasses.replace(deck.gate, parameters={"threshold": threshold}))


def needed(deck: Deck) -> float:
    """What the first card's answer must reach, of a deck with the same for all cards."""
    return float(gate_for(deck).needed(np.eye(len(deck.cards), dtype=np.bool_))[0])


def predict(deck: Deck, images: Images, **options: Any) -> Prediction:
    return Predictor(deck, engine=EngineKind.FAKE).predict(images, **options)


@pytest.mark.parametrize("kind", CASCADES)
def test_the_first_confidence_is_that_of_the_first_card_at_its_temperature(kind: str) -> None:
    deck = cascade(kind)
    predictor = Predictor(deck, engine=EngineKind.FAKE)
    prediction, threshold = predictor.predict(IMAGES), needed(deck)
    seen = set()
    for row in np.flatnonzero(~prediction.unknown).tolist():
        why = reasons(deck, prediction, row)
        card = int(np.flatnonzero(prediction.first[row])[0])
        logits = predictor.card_logits(IMAGES[row : row + 1], card)[0].astype(np.float64)
        ranked = np.sort(scipy.special.softmax(logits / deck.gate.arrays["temperatures"][card]))
        lead = kind in STRANGE  # over the next class, else how probable it is
        expected = ranked[-1] - ranked[-2] if lead else ranked[-1]
        assert why.first_confidence == pytest.approx(expected, abs=1e-5)
        assert why.threshold == threshold
        assert why.numbers()["first_confidence"] == round(why.first_confidence or 0, 6)
        alone = len(why.cards) == 1
        assert alone == (np.float32(expected) >= np.float32(threshold) - 1e-6)
        shown = np.floor(1000 * threshold + 1e-3) if alone else np.ceil(1000 * threshold - 1e-3)
        unit, of = ("", " points over the next class") if lead else ("%", "%")
        assert f"{of} (calibrated; {shown / 10:g}{unit} are needed)" in sentence(why)
        how = f"{why.cards[0][0]} alone was sure with " if alone else "the first answer was sure only with "
        how += "a lead of " if lead else ""
        assert why.numbers()["sure_by"] == ("lead" if lead else "probability")
        assert f"{how}{np.floor(1000 * expected + 1e-3) / 10:g}{of} (calibrated; " in sentence(why)
        seen.add(alone)
    assert seen == {True, False}


@pytest.mark.parametrize("kind", CASCADES)
def test_an_unknown_image_says_how_many_cards_it_was_given_and_no_confidence(kind: str) -> None:
    deck = cascade(kind)
    why = reasons(deck, predict(deck, FLAT), 0)
    assert (why.asked, why.widened, why.first_confidence) == (3, "unknown_spectrum", None)
    assert "of the training images, so 3 cards were asked: " in sentence(why)
    assert "sure" not in sentence(why)


def test_what_does_not_reach_the_threshold_does_not_look_as_if_it_had() -> None:
    deck = cascade("cascade", 0.575)
    found = dataclasses.replace(predict(deck, fake_images(1)), sure=np.array([0.57499], np.float32))
    narrow = {"ran": found.first, "weights": found.first.astype(np.float32), "in_time": np.zeros(1, np.bool_)}
    text = sentence(reasons(deck, dataclasses.replace(found, **narrow), 0))
    assert "sure only with 57.4% (calibrated; 57.5% are needed)" in text
    assert text.endswith("time was up before the other cards.")
    assert "sure" not in sentence(reasons(deck, dataclasses.replace(found, sure=np.full(1, np.nan, np.float32)), 0))


def test_what_reaches_an_uneven_threshold_does_not_look_as_if_it_had_not() -> None:
    deck = cascade("guarded_cascade", 0.77105)
    found = predict(deck, fake_images(1))
    alone = {"ran": found.first, "weights": found.first.astype(np.float32)}
    found = dataclasses.replace(found, sure=np.array([0.7715], np.float32), **alone)
    text = sentence(reasons(deck, found, 0))
    assert "alone was sure with a lead of 77.1 points over the next class (calibrated; 77.1 are needed)" in text
    assert "(calibrated; any answer is enough)" in sentence(reasons(cascade("guarded_cascade", 0.0), found, 0))


@pytest.mark.parametrize(
    ("threshold", "sure", "says"),
    [
        (4e-4, 5e-4, "alone was sure with a lead of under 0.1 points over the next class (calibrated; under 0.1 are n"),
        (5e-7, 1e-7, "sure only with a lead of under 0.1 points over the next class (calibrated; under 0.1 are needed"),
        (1e-3, 0.0, "was sure only with a lead of 0 points over the next class (calibrated; 0.1 are needed)"),
    ],
)
def test_a_small_lead_is_no_answer_that_is_enough_whatever_it_is(threshold: float, sure: float, says: str) -> None:
    deck = cascade("guarded_cascade", threshold)
    found = dataclasses.replace(predict(deck, fake_images(1)), sure=np.array([sure], np.float32))
    if sure >= threshold:
        found = dataclasses.replace(found, ran=found.first, weights=found.first.astype(np.float32))
    else:
        found = dataclasses.replace(found, ran=np.ones_like(found.ran), in_time=np.ones(1, np.bool_))
    assert says in sentence(reasons(deck, found, 0))


@pytest.mark.parametrize(
    ("kind", "what"), [("cascade", "probability"), ("guarded_cascade", "lead over the next class")]
)
def test_the_page_says_what_sureness_is(kind: str, what: str, tmp_path: Path) -> None:
    Image.fromarray(IMAGES[0]).save(tmp_path / "one.png")
    case = explain(Predictor(cascade(kind), engine=EngineKind.FAKE), tmp_path / "one.png")
    assert case.why.first_confidence is not None
    row = f"<th>the first answer&#x27;s {what}, calibrated</th><td>{case.why.first_confidence:.1%}</td>"
    assert row in page(case)


def test_how_strange_the_spectrum_is_is_said_where_cards_are_preferred_by_that() -> None:
    images, gate = fake_images(1), gate_for(fitted_deck("guarded_cascade"))
    assert isinstance(gate, GuardedCascadeGate)
    strange = gate.features(log_amplitude(images))[0, 0]
    clean = math.sqrt(ring_count(32))
    for kind, value, words in (
        ("guarded_cascade", strange, f", by how strange it is ({strange:.1f}; clean images are about {clean:.1f}),"),
        ("router", None, ""),
    ):
        why = reasons(fitted_deck(kind), predict(fitted_deck(kind), images), 0)
        assert f" and{words} speaks for " in sentence(why)
        assert why.numbers()["strangeness"] == (None if value is None else pytest.approx(value, rel=1e-4))


def test_where_cards_are_preferred_alike_their_preference_tells_no_strangeness() -> None:
    gate = gate_for(fitted_deck("guarded_cascade"))
    assert isinstance(gate, GuardedCascadeGate)
    alike = {**gate.config.arrays, "weights": np.zeros((1, gate.cards), np.float32)}
    flat = GuardedCascadeGate(dataclasses.replace(gate.config, arrays=alike), gate.known)
    assert flat.strange(flat.preference(log_amplitude(fake_images(1)))[0]) is None
    certain = np.zeros(gate.cards, np.float32)
    certain[0] = 1
    assert gate.strange(certain) is None


HEARD = "by the spectrum and by what they said"


def test_that_cards_were_heard_is_said_where_several_answered_a_known_spectrum() -> None:
    images = np.concatenate([fake_images(2), UNKNOWN[:1]])
    for kind, says in (("guarded_cascade", [False] * 3), ("refereed_cascade", [True, True, False])):
        deck = cascade(kind, NEVER)
        found = predict(deck, images)
        assert found.unknown.tolist() == [False, False, True]
        assert (found.ran.sum(axis=1) > 1).all()
        assert [HEARD in sentence(reasons(deck, found, row)) for row in range(3)] == says
        alone = dataclasses.replace(found, ran=found.first)
        late = dataclasses.replace(found, in_time=np.zeros(3, np.bool_))
        assert not any(HEARD in sentence(reasons(deck, one, 0)) for one in (alone, late))
        parameters = {**deck.gate.parameters, "trust": 0.0}
        deaf = dataclasses.replace(deck, gate=dataclasses.replace(deck.gate, parameters=parameters))
        assert HEARD not in sentence(reasons(deaf, predict(deaf, images), 0))


def test_of_a_window_cards_are_heard_where_its_mean_is_known() -> None:
    """Where it is not, all its images have the plain average, also those that are known by themselves."""
    deck = cascade("refereed_cascade", NEVER)
    found = predict(deck, UNKNOWN, window=True)
    assert not found.unknown[-2:].any()
    plain = predict(dataclasses.replace(deck, gate=dataclasses.replace(deck.gate, parameters={"trust": 0.0})), UNKNOWN)
    np.testing.assert_allclose(found.weights, np.tile(plain.weights[0], (len(UNKNOWN), 1)))
    assert not any(HEARD in sentence(reasons(deck, found, row, window=7)) for row in range(7))
    deck = dataclasses.replace(deck, gate=dataclasses.replace(deck.gate, unknown_quantile=0.9))
    images = fake_images(40)
    found, apart = predict(deck, images, window=True), predict(deck, images)
    row = int(found.unknown.argmax())
    assert found.unknown[row]
    assert all(HEARD in sentence(reasons(deck, found, row, window=40)) for row in range(40))
    assert np.abs(found.weights[row] - apart.weights[row]).max() > 0.01


def test_a_card_whose_answers_are_never_enough_has_no_threshold() -> None:
    deck = cascade("guarded_cascade", NEVER)
    why = reasons(deck, predict(deck, fake_images(1)), 0)
    assert why.first_confidence is not None
    assert (why.threshold, why.widened) == (None, "low_confidence")
    assert "and the first answer was not sure enough" in sentence(why)


@pytest.mark.parametrize("kind", KINDS)
def test_only_cascades_have_a_confidence_of_the_first_answer(kind: str) -> None:
    deck = fitted_deck(kind)
    prediction = predict(deck, IMAGES)
    assert (prediction.sure >= 0).all() == (kind in CASCADES)
    assert (predict(deck, IMAGES, weights=np.full(4, 0.25, np.float32)).sure == -1).all()
    late = predict(deck, FLAT, seconds=0.0)
    assert (late.sure == -1).all() or late.in_time.all()
    if kind not in CASCADES:
        why = reasons(deck, prediction, 0).numbers()
        assert (why["first_confidence"], why["sure_by"], why["threshold"]) == (None, None, None)


@pytest.mark.parametrize("kind", CASCADES)
def test_a_window_whose_mean_is_unknown_is_the_reason_for_all_its_images(kind: str) -> None:
    deck = cascade(kind, 0.0)
    prediction = predict(deck, UNKNOWN, window=True)
    assert prediction.unknown.tolist() == [True] * 5 + [False] * 2
    assert prediction.ran.sum(axis=1).tolist() == [3] * 7
    assert widenings(deck, prediction) == ("unknown_spectrum",) * 7
    text = sentence(reasons(deck, prediction, 6, window=7))
    assert "yet the request's images are on average farther from every reference than 99.5%" in text
    assert "so 3 cards were asked" in text
    assert ", as the request's images are on average, so 3" in sentence(reasons(deck, prediction, 0, window=7))
    assert widenings(deck, predict(deck, UNKNOWN)) == (("unknown_spectrum",) * 5 + (None, None))


def test_an_unknown_image_of_a_known_window_is_no_reason() -> None:
    deck = fitted_deck("spectrum_cascade", 3, 0.9)
    deck = dataclasses.replace(deck, gate=dataclasses.replace(deck.gate, parameters={"threshold": 0.0}))
    prediction = predict(deck, fake_images(40), window=True)
    row = int(prediction.unknown.argmax())
    assert prediction.unknown[row]
    assert prediction.ran.sum(axis=1).tolist() == [1] * 40
    assert widenings(deck, prediction) == (None,) * 40
    text = sentence(reasons(deck, prediction, row, window=40))
    assert ", yet farther from every reference" in text
    assert "cards were asked" not in text
    assert "on average farther" not in text


def test_what_a_window_is_routed_by_is_the_mean_and_else_the_image_s_own() -> None:
    deck = fake_deck(gate=GateConfig(parameters={"margin": 0.0}))
    window, alone = predict(deck, IMAGES, window=True), predict(deck, IMAGES)
    np.testing.assert_allclose(window.routed, np.tile(alone.distances.mean(axis=0), (len(IMAGES), 1)), rtol=1e-5)
    np.testing.assert_array_equal(window.distances, alone.distances)
    np.testing.assert_array_equal(window.routed.argmin(axis=1), window.choice)
    for one in (alone, predict(deck, IMAGES[:1], window=True), predict(deck, IMAGES[:0], window=True)):
        np.testing.assert_array_equal(one.routed, one.distances)


def test_a_window_speaks_for_a_card_together() -> None:
    deck = cascade("spectrum_cascade")
    prediction = predict(deck, IMAGES[:12], window=True)
    for row in range(12):
        why = reasons(deck, prediction, row, window=12)
        assert f", and together the 12 speak for {why.preferred[0]} with {why.preferred[1]:.0%}" in sentence(why)  # type: ignore[index]
        assert " and speaks for " not in sentence(why)
    assert len({reasons(deck, prediction, row, window=12).preferred for row in range(12)}) == 1


def test_the_server_says_and_counts_it_as_it_describes_it() -> None:
    deck = cascade("spectrum_cascade", 0.0)
    schema = describe(deck, Settings())["components"]["schemas"]["Explanation"]["properties"]["why"]
    reason = "cards_deck_gate_fallbacks_total", (("reason", "unknown_spectrum"),)
    with serving(Predictor(deck, engine=EngineKind.FAKE), Settings()) as client:
        before = client.samples()[reason]
        found = client.batch(UNKNOWN, window=True, explain=True).json()["answers"]
        assert client.samples()[reason] - before == 7
        one = client.batch(IMAGES[:1], window=True, explain=True).json()["answers"][0]["explanation"]
    assert {answer["explanation"]["why"]["widened"] for answer in found} == {"unknown_spectrum"}
    assert {answer["explanation"]["why"]["asked"] for answer in found} == {3}
    assert set(one["why"]) == set(schema["properties"]) == set(schema["required"])
    assert (one["why"]["window"], one["why"]["threshold"]) == (0, 0.0)
    assert "this request" not in one["sentence"]
    assert f"alone was sure with {np.floor(1000 * one['why']['first_confidence']) / 10:g}%" in one["sentence"]
