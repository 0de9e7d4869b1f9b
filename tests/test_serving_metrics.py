"""Metrics count what happened, and no client can make a new series."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from serving_client import Client, Samples, batch_document, png, serving

from cards_deck.inference.engines import EngineKind
from cards_deck.inference.fake_deck import fake_deck, fake_images
from cards_deck.inference.predictor import Predictor
from serving import metrics
from serving.errors import CODES

DESIGNED = (
    "predictions_total",
    "gate_choices_total",
    "gate_distance_bucket",
    "gate_fallbacks_total",
    "abstentions_total",
    "stage_duration_seconds_bucket",
    "rejected_inputs_total",
    "unknown_spectrum_total",
    "shadow_disagreements_total",
    "queue_depth",
    "deck_info",
    "card_engine",
    "card_size_bytes",
)


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with serving() as client:
        yield client


def difference(before: Samples, after: Samples) -> Samples:
    assert set(before) <= set(after)
    return {key: after[key] - before.get(key, 0) for key in after if after[key] != before.get(key, 0)}


def test_every_metric_and_label_is_there_before_it_is_needed(client: Client) -> None:
    samples = client.samples()
    assert {name for name, _ in samples} >= {f"cards_deck_{name}" for name in DESIGNED}
    for code in CODES:
        assert ("cards_deck_rejected_inputs_total", (("code", code),)) in samples
    for reason in metrics.FALLBACKS:
        assert ("cards_deck_gate_fallbacks_total", (("reason", reason),)) in samples
    for card in fake_deck().cards:
        assert ("cards_deck_predictions_total", (("card", card.name),)) in samples
        assert samples["cards_deck_card_size_bytes", (("card", card.name),)] > 1000
    assert samples["cards_deck_deck_info", (("engines", "fake"), ("name", "fake"), ("version", "1"))] == 1


def test_the_engines_that_auto_took_are_shown() -> None:
    predictor = Predictor(dataclasses.replace(fake_deck(), name="mixed"), engine=EngineKind.FAKE)
    predictor.engines = (EngineKind.SPARSE, EngineKind.ONNX, EngineKind.SPARSE, EngineKind.SPARSE)
    with serving(predictor) as client:
        samples = client.samples()
    for card, engine in zip(fake_deck().cards, ("sparse", "onnx", "sparse", "sparse"), strict=True):
        assert samples["cards_deck_card_engine", (("card", card.name), ("engine", engine))] == 1
    shown = ("engines", "onnx+sparse"), ("name", "mixed"), ("version", "1")
    assert samples["cards_deck_deck_info", shown] == 1


def test_answers_are_counted_by_card_and_choice(client: Client) -> None:
    before = client.samples()
    noisy = np.clip(fake_images(3, seed=4) + np.random.default_rng(0).normal(0, 26, (3, 32, 32, 3)), 0, 255)
    images = np.concatenate([fake_images(2), noisy.astype(np.uint8), np.zeros((1, 32, 32, 3), np.uint8)])
    answers = client.request("POST", "/classify_batch", json=batch_document(images)).json()["answers"]
    changed = difference(before, client.samples())

    def count(name: str, **labels: str) -> float:
        return changed.get((f"cards_deck_{name}", tuple(sorted(labels.items()))), 0)

    nearest = [min(answer["distances"], key=answer["distances"].get) for answer in answers]
    assert len(set(nearest)) == 2
    for choice in set(nearest):
        assert count("gate_choices_total", choice=choice) == nearest.count(choice)
    for card in fake_deck().cards:
        ran = sum(card.name in {c["name"] for c in answer["cards"]} for answer in answers)
        assert count("predictions_total", card=card.name) == ran
    assert count("unknown_spectrum_total") == sum(answer["unknown_spectrum"] for answer in answers) > 0
    assert count("gate_distance_count") == 6
    assert count("gate_distance_sum") == pytest.approx(sum(min(a["distances"].values()) for a in answers), abs=1e-4)
    assert count("gate_fallbacks_total", reason="unknown_spectrum") == 0  # two cards answer known spectra as well
    assert count("gate_fallbacks_total", reason="out_of_time") == count("abstentions_total") == 0
    for stage in metrics.STAGES:
        assert count("stage_duration_seconds_count", stage=stage) == 1
    assert count("http_requests_total", route="/classify_batch", status="2xx") == 1
    assert count("batch_images_sum") == 6


def test_refusals_are_counted_by_code(client: Client) -> None:
    before = client.samples()
    client.classify(b"junk")
    client.classify(b"")
    changed = difference(before, client.samples())
    assert changed["cards_deck_rejected_inputs_total", (("code", "invalid_image"),)] == 1
    assert changed["cards_deck_rejected_inputs_total", (("code", "empty_body"),)] == 1
    assert changed["cards_deck_http_requests_total", (("route", "/classify"), ("status", "4xx"))] == 2


def test_no_request_makes_a_new_series(client: Client) -> None:
    client.upload(png())
    before = set(client.samples())
    for index in range(50):
        client.request("GET", f"/{index}/secret")
        client.request(f"METHOD{index}", "/classify", headers={"X-Request-ID": f"id-{index}"})
        client.upload(b"x", name=f"name-{index}")
    tag = client.request("GET", "/").headers["etag"]
    assert client.request("GET", "/", headers={"If-None-Match": tag}).status_code == 304
    assert set(client.samples()) == before


def test_gauges_of_dead_workers_are_dropped(tmp_path: Path) -> None:
    dead, alive = tmp_path / "gauge_livesum_4194399.db", tmp_path / "gauge_livesum_1.db"
    counter = tmp_path / "counter_4194399.db"
    for file in (dead, alive, counter):
        file.write_bytes(b"")
    metrics._forget_dead_workers(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [counter.name, alive.name]
