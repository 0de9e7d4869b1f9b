"""What a request can ask of the gate: one routing for its images, an answer in time, no guesses, and why."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
from photos import noisy
from serving_client import SMALL, Client, batch_document, refused, serving

from cards_deck.deck import GateConfig
from cards_deck.inference.engines import EngineKind
from cards_deck.inference.fake_deck import fake_deck, fake_images
from cards_deck.inference.predictor import Prediction, Predictor
from serving.metrics import FALLBACKS
from serving.settings import Settings

FLAT = np.full((1, 32, 32, 3), 130, np.uint8)  # no photograph: unlike every reference


def predictor(**gate: Any) -> Predictor:
    return Predictor(fake_deck(gate=GateConfig(**{"parameters": {"margin": 0.0}, **gate})), engine=EngineKind.FAKE)


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with serving(predictor(), Settings(max_batch=4, max_images=32)) as client:
        yield client


def counted(client: Client) -> dict[str, float]:
    """What the metrics of this file count, by name and, of fallbacks, reason."""
    samples = client.samples()
    names = {reason: ("gate_fallbacks_total", (("reason", reason),)) for reason in FALLBACKS}
    names |= {name: (name, ()) for name in ("abstentions_total", "unknown_spectrum_total")}
    return {key: samples[f"cards_deck_{name}", labels] for key, (name, labels) in names.items()}


def added(client: Client, before: dict[str, float]) -> dict[str, float]:
    return {name: value - before[name] for name, value in counted(client).items() if value != before[name]}


def routes(response: httpx.Response) -> list[tuple[str, ...]]:
    """The cards of each answer."""
    assert response.status_code == 200, response.text
    return [tuple(card["name"] for card in answer["cards"]) for answer in response.json()["answers"]]


def mixed() -> np.ndarray:
    """Nine noisy images and one that is clean: more than the server predicts at a time."""
    return np.concatenate([noisy(fake_images(9, seed=3), 26), fake_images(1, seed=8)])


def test_images_of_one_window_share_a_routing_and_keep_their_own_distances(client: Client) -> None:
    alone = client.batch(mixed())
    together = client.batch(mixed(), window=True)
    gaussian = routes(alone)[0]
    assert gaussian != routes(alone)[9] == ("augmix_1", "augmix_2")
    assert routes(together) == [gaussian] * 10
    for one, other in zip(alone.json()["answers"], together.json()["answers"], strict=True):
        assert one["distances"] == other["distances"]
        assert one["unknown_spectrum"] == other["unknown_spectrum"]
    expected = predictor().predict(mixed(), window=True)
    found = [list(answer["probabilities"].values()) for answer in together.json()["answers"]]
    np.testing.assert_allclose(found, expected.probabilities, atol=1e-5)


def test_a_window_of_one_image_and_none_asked_for_change_nothing(client: Client) -> None:
    for image in mixed()[8:]:
        expected = client.batch(image[None]).json()
        assert client.batch(image[None], window=True).json() == expected
        assert client.batch(image[None], window=False).json() == expected


def test_a_window_is_the_images_of_one_request_whoever_asks_at_the_same_time() -> None:
    clean, noise = fake_images(2, seed=1), noisy(fake_images(6, seed=2), 26)
    with serving(predictor(), Settings(max_batch=64)) as client:
        requests = [batch_document(clean) | {"window": True}, batch_document(noise) | {"window": True}]
        requests += [batch_document(clean), batch_document(noise)]
        alone = [client.request("POST", "/classify_batch", json=request) for request in requests]

        async def at_once() -> list[httpx.Response]:
            asked = [
                client.request_soon("POST", "/classify_batch", json=requests[index % len(requests)])
                for index in np.random.default_rng(0).permutation(24).tolist()
            ]
            return await asyncio.gather(*asked)

        order = [index % len(requests) for index in np.random.default_rng(0).permutation(24).tolist()]
        for index, response in zip(order, client.run(at_once()), strict=True):
            assert routes(response) == routes(alone[index])


def test_options_other_than_true_and_false_are_refused(client: Client) -> None:
    for options in ({"window": 1}, {"window": None}, {"explain": "yes"}):
        refused(client.batch(FLAT, **options), "bad_parameter")
    refused(client.batch(FLAT, windows=True), "unknown_field")


class Slow(Predictor):
    """Each call of a card takes a hundredth of a second."""

    def _run(self, card: int, images: np.ndarray) -> np.ndarray:
        time.sleep(0.01)
        return super()._run(card, images)


@pytest.mark.parametrize("where", ["settings", "deck"])
def test_when_time_is_up_the_cards_that_ran_answer_and_it_is_said(where: str) -> None:
    gate = GateConfig(parameters={"margin": 0.0}, seconds=1e-6 if where == "deck" else None)
    slow = Slow(fake_deck(gate=gate), engine=EngineKind.FAKE)
    with serving(slow, Settings(card_seconds=1e-6 if where == "settings" else 30)) as client:
        before = counted(client)
        answers = client.batch(mixed(), explain=True).json()["answers"]
        assert added(client, before) == {"out_of_time": 10}
    for answer in answers:
        assert answer["pooled_early"]
        assert [card["weight"] for card in answer["cards"]] == [1]
        assert answer["explanation"]["sentence"].endswith("time was up before the other cards.")
    assert len({answer["cards"][0]["name"] for answer in answers}) == 2


def test_with_time_enough_nothing_is_pooled_early(client: Client) -> None:
    assert not any(answer["pooled_early"] for answer in client.batch(mixed()).json()["answers"])


def test_an_unknown_spectrum_is_flagged_counted_and_asked_of_more_cards() -> None:
    with serving(predictor(max_cards=3), SMALL) as client:
        before = counted(client)
        known, answer = client.batch(np.concatenate([fake_images(1), FLAT]), explain=True).json()["answers"]
        assert added(client, before) == {"unknown_spectrum": 1, "unknown_spectrum_total": 1}
    assert (known["unknown_spectrum"], len(known["cards"])) == (False, 2)
    assert (answer["unknown_spectrum"], len(answer["cards"])) == (True, 3)
    assert not answer["abstained"]
    assert answer["label"] is not None
    assert (known["explanation"]["why"]["widened"], answer["explanation"]["why"]["widened"]) == (
        None,
        "unknown_spectrum",
    )
    assert "farther from every reference than 99.5% of the training images" in answer["explanation"]["sentence"]


def test_an_unknown_image_that_no_card_is_sure_of_gets_no_label() -> None:
    with serving(predictor(abstain_below=1.0), SMALL) as client:
        before = counted(client)
        known, unknown = client.batch(np.concatenate([fake_images(1), FLAT]), explain=True).json()["answers"]
        assert (unknown["label"], unknown["label_index"], unknown["abstained"]) == (None, None, True)
        assert sum(unknown["probabilities"].values()) == pytest.approx(1, abs=1e-4)
        assert "needs 100%, so no class is named" in unknown["explanation"]["sentence"]
        assert known["label"] == max(known["probabilities"], key=known["probabilities"].get)
        assert not known["abstained"]
        assert added(client, before)["abstentions_total"] == 1


def test_the_cards_that_ran_are_named_with_their_weights_even_without_any(client: Client) -> None:
    class Reweighed(Predictor):
        """As a gate that has asked a card and then leaves it out."""

        def predict(self, images: np.ndarray, **options: Any) -> Prediction:
            found = super().predict(images, **options)
            found.ran[:] = True
            return found

    with serving(Reweighed(fake_deck(), engine=EngineKind.FAKE), SMALL) as other:
        answer = other.batch(fake_images(1)).json()["answers"][0]
    assert [card["weight"] for card in answer["cards"]] == [0.5, 0.5, 0, 0]
    assert {card["name"] for card in answer["cards"]} == {card.name for card in fake_deck().cards}


def test_why_is_said_with_numbers(client: Client) -> None:
    window = client.batch(mixed(), window=True, explain=True).json()["answers"]
    single = client.batch(mixed(), explain=True).json()["answers"]
    for number, answers in ((0, single), (10, window)):
        for answer in answers:
            why, distances = answer["explanation"]["why"], sorted(answer["distances"].values())
            assert why["distance"] == distances[0]
            assert why["margin"] == pytest.approx(distances[1] / distances[0] - 1, abs=1e-4)
            assert 0 <= why["tail"] <= 1
            assert why["confidence"] == max(answer["probabilities"].values())
            assert why["window"] == number
    assert "as those of the 10 images of this request are on average" in window[0]["explanation"]["sentence"]
    assert "but the request's mean is nearest to gaussian" in window[9]["explanation"]["sentence"]
    assert "explanation" not in client.batch(mixed()).json()["answers"][0]
