"""The predictor: rows, weights and probabilities, with the fake engine."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.special

from cards_deck.deck import GateConfig
from cards_deck.errors import InputError
from cards_deck.inference import engines
from cards_deck.inference import predictor as module
from cards_deck.inference.engines import EngineKind
from cards_deck.inference.fake_deck import fake_deck, fake_images
from cards_deck.inference.gates import UniformGate
from cards_deck.inference.predictor import Predictor, combine
from cards_deck.spectrum import log_amplitude

DECK = fake_deck()
IMAGES = np.concatenate([fake_images(8, seed=3), np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), np.uint8)])


@pytest.fixture(scope="module")
def fake() -> Predictor:
    return Predictor(DECK, engine=EngineKind.FAKE)


def test_combine_is_the_weighted_mean_of_softmaxes() -> None:
    rng = np.random.default_rng(0)
    logits, weights = rng.normal(0, 5, (3, 4, 6)).astype(np.float32), rng.dirichlet(np.ones(3), 4).astype(np.float32)
    expected = np.einsum("knc,nk->nc", scipy.special.softmax(logits, axis=2), weights)
    found = combine(logits, weights)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_combine_does_not_look_at_cards_that_did_not_run() -> None:
    logits = np.array([[[1, 2]], [[np.nan, np.inf]]], np.float32)
    np.testing.assert_allclose(
        combine(logits, np.array([[1, 0]], np.float32)), scipy.special.softmax(logits[0], axis=1)
    )


def test_combine_holds_out_with_huge_logits() -> None:
    assert combine(np.array([[[1e30, 0]]], np.float32), np.ones((1, 1), np.float32)).tolist() == [[1, 0]]


def test_combine_refuses_shapes_that_do_not_fit() -> None:
    with pytest.raises(InputError, match="combine needs"):
        combine(np.zeros((2, 3, 4), np.float32), np.zeros((2, 3), np.float32))


def test_a_prediction_is_the_gates_mixture_of_the_cards(fake: Predictor) -> None:
    prediction = fake.predict(IMAGES)
    logits = np.stack([fake.card_logits(IMAGES, card) for card in range(4)])
    np.testing.assert_array_equal(prediction.weights, fake.gate.route(log_amplitude(IMAGES)).weights)
    np.testing.assert_allclose(prediction.probabilities, combine(logits, prediction.weights), atol=1e-6)
    np.testing.assert_array_equal(prediction.labels, prediction.probabilities.argmax(axis=1))
    assert prediction.labels.dtype == np.int64
    np.testing.assert_allclose(prediction.probabilities.sum(axis=1), 1, atol=1e-6)
    assert len({tuple(row) for row in prediction.weights.tolist()}) > 1  # both routes are in this batch


def test_rows_do_not_depend_on_the_batch(fake: Predictor) -> None:
    together = fake.predict(IMAGES)
    for index in range(len(IMAGES)):
        alone = fake.predict(IMAGES[index : index + 1])
        np.testing.assert_allclose(alone.probabilities[0], together.probabilities[index], atol=1e-5)
        np.testing.assert_array_equal(alone.weights[0], together.weights[index])


def test_a_card_runs_once_and_only_on_its_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, int]] = []

    def load(card, kind, *, image_size, threads):  # type: ignore[no-untyped-def]
        def run(images):  # type: ignore[no-untyped-def]
            calls.append((card.name, len(images)))
            return np.zeros((len(images), 10), np.float32)

        return kind, run

    monkeypatch.setattr(engines, "load_chosen", load)
    weights = Predictor(DECK).predict(IMAGES).weights
    expected = [(card.name, int(n)) for card, n in zip(DECK.cards, (weights > 0).sum(axis=0), strict=True) if n]
    assert calls == expected
    assert sum(n for _, n in calls) <= 2 * len(IMAGES)


def test_large_batches_run_in_parts(fake: Predictor) -> None:
    images = fake_images(module.BATCH + 3)
    np.testing.assert_allclose(fake.card_logits(images, 1)[-3:], fake.card_logits(images[-3:], 1), atol=1e-6)


@pytest.mark.parametrize("weights", [np.array([0, 0, 1, 0]), np.tile([0.25, 0.25, 0.5, 0], (16, 1))])
def test_given_weights_replace_the_gates(fake: Predictor, weights: np.ndarray) -> None:
    prediction = fake.predict(IMAGES, weights=weights)
    np.testing.assert_allclose(prediction.weights, np.broadcast_to(weights, (16, 4)))
    logits = np.stack([fake.card_logits(IMAGES, card) for card in range(4)])
    np.testing.assert_allclose(prediction.probabilities, combine(logits, prediction.weights), atol=1e-6)
    np.testing.assert_array_equal(prediction.distances, fake.gate.route(log_amplitude(IMAGES)).distances)


@pytest.mark.parametrize(
    "weights", [[1, 0], [0.5, 0, 0, 0], [2, -1, 0, 0], [np.nan, 1, 0, 0], [[1, 0, 0, 0]] * 3], ids=str
)
def test_impossible_weights_are_refused(fake: Predictor, weights: list[float]) -> None:
    with pytest.raises(InputError, match="weights must"):
        fake.predict(IMAGES, weights=np.array(weights, np.float32))


def test_another_gate_can_be_given() -> None:
    fake = Predictor(DECK, gate=UniformGate.from_deck(DECK), engine=EngineKind.FAKE)
    prediction = fake.predict(IMAGES)
    np.testing.assert_allclose(prediction.weights, 0.25)
    assert (prediction.choice == -1).all()


@pytest.mark.parametrize("seconds", [float("nan"), -1e-9, -float("inf")])
def test_a_time_that_is_none_is_refused(fake: Predictor, seconds: float) -> None:
    with pytest.raises(InputError, match="seconds must be a number of at least 0"):
        fake.predict(IMAGES, seconds=seconds)


def test_no_images_give_no_answers(fake: Predictor) -> None:
    prediction = fake.predict(IMAGES[:0])
    assert prediction.probabilities.shape == (0, 10)
    assert fake.card_logits(IMAGES[:0], 0).shape == (0, 10)


def test_flat_images_get_finite_answers(fake: Predictor) -> None:
    assert np.isfinite(fake.predict(np.zeros((2, 32, 32, 3), np.uint8)).probabilities).all()


@pytest.mark.parametrize(
    "images", [np.zeros((1, 32, 32, 3)), np.zeros((1, 64, 64, 3), np.uint8), np.zeros((32, 32, 3), np.uint8)], ids=str
)
def test_other_images_are_refused(fake: Predictor, images: np.ndarray) -> None:
    for call in (fake.predict, lambda x: fake.card_logits(x, 0)):
        with pytest.raises(InputError):
            call(images)


def test_an_unknown_card_is_refused(fake: Predictor) -> None:
    for card in (-1, 4):
        with pytest.raises(InputError, match="card must be 0 to 3"):
            fake.card_logits(IMAGES, card)


def test_a_deck_of_other_size_and_classes() -> None:
    deck = fake_deck(64, 4, cards_per_augmentation=3, gate=GateConfig(max_cards=3))
    prediction = Predictor(deck, engine=EngineKind.FAKE).predict(fake_images(5, 64))
    assert prediction.probabilities.shape == (5, 4)
    assert prediction.weights.shape == (5, 6)
