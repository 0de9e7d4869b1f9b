"""What the server answers, and how it stands up to many clients, its own faults and its start and stop; in process."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
from serving_client import SMALL, Client, batch_document, png, refused, serving

from cards_deck.deck import GateConfig
from cards_deck.inference.engines import EngineKind
from cards_deck.inference.fake_deck import fake_deck, fake_images
from cards_deck.inference.predictor import Prediction, Predictor
from serving.settings import Settings


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with serving(settings=SMALL) as client:
        yield client


def test_an_upload_and_a_raw_body_get_the_predictors_answer(client: Client) -> None:
    deck = fake_deck()
    expected = Predictor(deck, engine=EngineKind.FAKE).predict(fake_images(1, 32, 3))
    for response in (client.upload(png(3)), client.classify(png(3))):
        assert response.status_code == 200
        answer = response.json()
        assert answer["label_index"] == expected.labels[0]
        assert answer["label"] == deck.classes[answer["label_index"]]
        assert list(answer["probabilities"]) == list(deck.classes)
        np.testing.assert_allclose(list(answer["probabilities"].values()), expected.probabilities[0], atol=1e-5)
        assert answer["distances"] == pytest.approx(
            dict(zip(deck.references.augmentations, expected.distances[0].tolist(), strict=True)), abs=1e-5
        )
        ran = {deck.cards[k].name: float(w) for k, w in enumerate(expected.weights[0]) if w > 0}
        assert {card["name"]: card["weight"] for card in answer["cards"]} == pytest.approx(ran)
        assert {card["augmentation"] for card in answer["cards"]} <= set(deck.references.augmentations)
        assert answer["unknown_spectrum"] is bool(expected.unknown[0])
        assert answer["deck"] == {"name": deck.name, "version": deck.version}
        assert "explanation" not in answer


def test_curls_octet_stream_for_an_unknown_ending_is_sniffed(client: Client) -> None:
    assert client.upload(png(), "photo.jfif", "application/octet-stream").status_code == 200


def test_an_explanation_has_the_sentence_and_the_spectra(client: Client) -> None:
    answer = client.classify(png(1, 64), path="/classify?explain=1").json()
    explanation = answer["explanation"]
    near = min(answer["distances"], key=answer["distances"].get)
    assert f"nearest to {near} (distance {answer['distances'][near]:.2f}" in explanation["sentence"]
    assert all(card["name"] in explanation["sentence"] for card in answer["cards"])
    assert len(explanation["profile"]) == len(explanation["frequencies"]) == 16
    assert {len(profile) for profile in explanation["references"].values()} == {16}


def test_a_uniform_deck_says_that_it_averages() -> None:
    deck = fake_deck(gate=GateConfig(kind="uniform"))
    with serving(Predictor(deck, engine=EngineKind.FAKE)) as client:
        none = ("cards_deck_gate_choices_total", (("choice", "none"),))
        before = client.samples().get(none, 0)
        answer = client.classify(png(), path="/classify?explain=1").json()
        assert [card["weight"] for card in answer["cards"]] == [0.25] * 4
        assert set(answer["distances"]) == set(deck.references.augmentations)
        assert "but this deck averages its cards whatever the spectrum is" in answer["explanation"]["sentence"]
        assert client.samples()[none] == before + 1


@pytest.mark.parametrize("size", [32, 48])
def test_an_image_alone_is_answered_as_in_a_batch(client: Client, size: int) -> None:
    images = np.concatenate([fake_images(4, size), np.zeros((1, size, size, 3), np.uint8)])
    together = client.batch(images).json()["answers"]
    assert len(together) == 5
    for image, answer in zip(images, together, strict=True):
        alone = client.batch(image[None]).json()["answers"][0]
        assert alone["probabilities"] == pytest.approx(answer["probabilities"], abs=1e-5)
        assert {k: v for k, v in alone.items() if k != "probabilities"} == {
            k: v for k, v in answer.items() if k != "probabilities"
        }


def test_many_clients_at_once_each_get_their_own_answer() -> None:
    with serving() as client:
        files = [png(seed) for seed in range(24)]
        alone = [client.classify(data).json() for data in files]

        async def all_at_once() -> list[httpx.Response]:
            headers = {"Content-Type": "image/png"}
            return await asyncio.gather(
                *(client.request_soon("POST", "/classify", content=data, headers=headers) for data in files)
            )

        together = [response.json() for response in client.run(all_at_once())]
        for one, other in zip(alone, together, strict=True):
            assert one["label"] == other["label"]
            assert one["probabilities"] == pytest.approx(other["probabilities"], abs=1e-5)


def test_request_ids_are_kept_where_harmless_and_replaced_where_not(client: Client) -> None:
    for given_id, kept in (("a-1.b_2", True), ("x" * 129, False), ("a b", False), ("<script>", False)):
        response = client.request("GET", "/livez", headers={"X-Request-ID": given_id})
        assert (response.headers["x-request-id"] == given_id) is kept
    assert len(client.request("GET", "/").headers.get_list("x-request-id")) == 1


def test_a_full_queue_says_when_to_come_back() -> None:
    with serving(settings=Settings(max_images=2, max_queue=2, max_batch=1)) as client:
        images = batch_document(np.zeros((2, 32, 32, 3), np.uint8))

        async def burst() -> list[httpx.Response]:
            return await asyncio.gather(
                *(client.request_soon("POST", "/classify_batch", json=images) for _ in range(40))
            )

        responses = client.run(burst())
        busy = [response for response in responses if response.status_code != 200]
        assert busy
        assert len(busy) < 40
        for response in busy:
            refused(response, "overloaded")
            assert int(response.headers["retry-after"]) >= 1


class BrokenPredictor(Predictor):
    """Fails, or answers with nonsense, on request."""

    fault = "none"

    def predict(self, images: np.ndarray, **options: Any) -> Prediction:
        if self.fault == "raise":
            raise RuntimeError("secret detail")
        prediction = super().predict(images, **options)
        if self.fault == "nan":
            prediction.probabilities[:] = np.nan
        return prediction


@pytest.mark.parametrize("fault", ["raise", "nan"])
def test_a_fault_of_the_server_is_json_without_details(fault: str) -> None:
    predictor = BrokenPredictor(fake_deck(), engine=EngineKind.FAKE)
    with serving(predictor) as client:
        predictor.fault = fault
        response = client.classify(png())
        refused(response, "internal")
        assert "secret" not in response.text
        predictor.fault = "none"
        assert client.classify(png()).status_code == 200


def test_before_the_start_and_after_the_stop_nothing_is_accepted() -> None:
    with serving() as client:
        client.run(client.application.stop())
        refused(client.request("GET", "/readyz"), "not_ready")
        assert client.request("GET", "/livez").status_code == 200
        client.run(client.application.start())
        assert client.request("GET", "/readyz").status_code == 200
        assert client.classify(png()).status_code == 200
