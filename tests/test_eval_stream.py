"""Streams on a fake deck: the orders, the sample, and that a predictor with a memory would be caught."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cards_deck.corruptions import CORRUPTIONS, corrupt
from cards_deck.data import Dataset, save_npz
from cards_deck.deck import Deck
from cards_deck.inference.engines import EngineKind
from cards_deck.inference.fake_deck import fake_deck, fake_images
from cards_deck.inference.predictor import Prediction, Predictor
from cards_deck.spectrum import Images
from eval.cells import RegeneratedCells
from eval.context import Settings
from eval.evaluate import evaluate
from eval.suites import SUITES
from eval.suites import _stream_orders as orders
from eval.suites.stream import clustered_mean, stream

CLASSES, TEST = 4, 30


@pytest.fixture(scope="module")
def deck() -> Deck:
    return fake_deck(classes=CLASSES)


@pytest.fixture(scope="module")
def test_set(deck: Deck) -> Dataset:
    images = fake_images(TEST, seed=1)
    labels = Predictor(deck, engine=EngineKind.FAKE).predict(images).labels
    labels[::4] = (labels[::4] + 1) % CLASSES
    return Dataset(images, labels, deck.classes, "cifar10", "test")


@pytest.fixture(scope="module")
def settings(test_set: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    root = tmp_path_factory.mktemp("data")
    save_npz(test_set, root)
    return Settings(SUITES["stream"], root, "cifar10", 12, resamples=100, engine=EngineKind.FAKE)


@pytest.fixture(scope="module")
def result(deck: Deck, settings: Settings) -> dict[str, Any]:
    return evaluate(deck, settings)


def sample_of(test_set: Dataset) -> orders.Sample:
    return orders.stream_sample(RegeneratedCells(test_set, 0), ("fog", "contrast"), 3)


def test_every_order_gives_the_batchs_answers(result: dict[str, Any]) -> None:
    rows = {row["order"]: row for row in result["orders"]}
    assert list(rows) == ["continual", "mixed", "correlated", "clean"]
    assert all(row["same_answers_as_batch"] for row in rows.values())
    assert result["same_answers_in_every_order"] is True
    assert rows["continual"]["error"] == rows["mixed"]["error"] == rows["correlated"]["error"]
    assert rows["clean"]["error"] != rows["mixed"]["error"]
    assert {row["n"] for row in rows.values() if row["order"] != "clean"} == {12 * 15}
    assert rows["clean"]["n"] == TEST


def test_errors_are_those_of_every_cell_at_severity_5(
    result: dict[str, Any], deck: Deck, test_set: Dataset, settings: Settings
) -> None:
    """12 images in the stream of each corruption are all there are: the stream and the cells agree."""
    predictor = Predictor(deck, engine=EngineKind.FAKE)
    part = orders.clean_sample(test_set, 12, 0)
    wrong = [predictor.predict(corrupt(part.images, name, 5)).labels != part.labels for name in CORRUPTIONS]
    assert result["errors"]["gated"]["value"] == pytest.approx(np.mean(wrong), abs=1e-6)
    assert result["orders"][0]["error"]["value"] == result["errors"]["gated"]["value"]
    assert set(result["errors"]) == {"gated", "uniform", "best_card"}
    assert (result["n"], result["severity"], result["source"]) == (12, 5, "regenerated")


def test_two_runs_differ_in_times_only(deck: Deck, settings: Settings, result: dict[str, Any]) -> None:
    again = evaluate(deck, settings)
    timed = {"provenance": 0, "timing": 0}
    assert again | timed == result | timed
    for level in ("p50_ms", "p99_ms"):
        assert all(value > 0 for value in result["timing"][level].values())
        assert set(result["timing"][level]) == {"continual", "mixed", "correlated", "clean"}
    assert evaluate(deck, dataclasses.replace(settings, timing=False))["timing"] is None


def test_a_predictor_with_a_memory_is_caught(deck: Deck, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that drifts with what it has seen answers a batch, and each order, differently."""
    plain, seen = Predictor.predict, [np.float32(0)]

    def drifting(self: Predictor, images: Images, **rest: Any) -> Prediction:
        answer = plain(self, images, **rest)
        seen[0] = np.float32(0.9) * seen[0] + np.float32(0.1) * np.float32(images.mean() / 255)
        tilted = answer.probabilities + seen[0] * np.eye(CLASSES, dtype=np.float32)[0]
        return dataclasses.replace(answer, probabilities=tilted / tilted.sum(axis=1, keepdims=True))

    monkeypatch.setattr(Predictor, "predict", drifting)
    found = evaluate(deck, settings)
    assert not any(row["same_answers_as_batch"] for row in found["orders"])
    assert found["same_answers_in_every_order"] is False


def test_the_sample_holds_other_images_for_each_corruption(test_set: Dataset, monkeypatch: Any) -> None:
    monkeypatch.setattr(orders, "STREAM", 10)
    sample = sample_of(test_set)
    assert len(sample.labels) == 20
    assert len(set(sample.sources.tolist())) == 20
    for place in (0, 7, 10, 19):
        source = sample.sources[place]
        made = corrupt(test_set.images[source : source + 1], ("fog", "contrast")[place // 10], 5)
        assert (sample.images[place] == made[0]).all()
        assert sample.labels[place] == test_set.labels[source]


def test_orders_are_orders(test_set: Dataset) -> None:
    sample = sample_of(test_set)
    found = orders.stream_orders(sample, 0)
    for order in found.values():
        assert sorted(order.tolist()) == list(range(2 * TEST))
    domains = {name: sample.domains[order] for name, order in found.items()}
    assert np.count_nonzero(np.diff(domains["continual"])) == np.count_nonzero(np.diff(domains["correlated"])) == 1
    assert np.count_nonzero(np.diff(domains["mixed"])) > 10
    assert orders.stream_orders(sample, 1)["mixed"].tolist() != found["mixed"].tolist()
    assert orders.stream_orders(sample, 0)["correlated"].tolist() == found["correlated"].tolist()


def test_correlated_labels_come_in_runs() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 10, 600)
    changes = {
        c: np.count_nonzero(np.diff(labels[orders.correlated_order(labels, rng, c)])) for c in (0.01, 0.1, 100.0)
    }
    assert changes[0.01] < changes[0.1] < changes[100.0] < 110  # 10 slots of at most 10 runs each
    assert changes[0.1] < 60 < 500 < np.count_nonzero(np.diff(labels))


def test_an_interval_knows_that_one_image_came_often() -> None:
    """Ten copies of 30 images tell as much as 30 images."""
    rng = np.random.default_rng(0)
    values, copies = rng.random(30), np.repeat(np.arange(30), 10)
    once = clustered_mean(values, np.arange(30), resamples=2000, seed=0)
    often = clustered_mean(np.repeat(values, 10), copies, resamples=2000, seed=0)
    apart = clustered_mean(np.repeat(values, 10), np.arange(300), resamples=2000, seed=0)
    assert (often.low, often.high) == pytest.approx((once.low, once.high))
    assert once.value == pytest.approx(values.mean())
    assert (apart.high - apart.low) < 0.5 * (once.high - once.low)


def test_a_stream_keeps_places_and_times_every_image(deck: Deck) -> None:
    images = fake_images(9, seed=4)
    order = np.random.default_rng(0).permutation(9)
    predictor = Predictor(deck, engine=EngineKind.FAKE)
    found = stream(predictor, images, order)
    whole = predictor.predict(images)
    assert found.probabilities == pytest.approx(whole.probabilities, abs=1e-6)
    assert (found.choice == whole.choice).all()
    assert found.cards.tolist() == np.count_nonzero(whole.weights, axis=1).tolist()
    assert found.seconds.shape == (9,)


def test_official_files_are_streamed_where_they_lie(deck: Deck, test_set: Dataset, tmp_path: Path) -> None:
    save_npz(test_set, tmp_path)
    folder = tmp_path / "CIFAR-10-C"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in CORRUPTIONS:
        np.save(folder / f"{name}.npy", rng.integers(0, 256, (25, 32, 32, 3), np.uint8))
    np.save(folder / "labels.npy", np.tile(np.arange(5) % CLASSES, 5))
    found = evaluate(deck, Settings(SUITES["stream"], tmp_path, "cifar10", resamples=10, engine=EngineKind.FAKE))
    assert (found["source"], found["n"], found["n_stream"]) == ("official", 5, 75)
    assert found["title"] == "Streams of CIFAR-10-C, severity 5"
