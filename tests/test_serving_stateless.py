"""Nothing is remembered between requests: an image's answer does not depend on what others asked before or beside it.

Run as a script it does the same for longer: `python tests/test_serving_stateless.py 1000000`.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
from fitted_gates import KINDS, fitted_deck
from photos import noisy
from serving_client import Client, batch_document, png, serving

from cards_deck.inference.engines import EngineKind
from cards_deck.inference.fake_deck import fake_images
from cards_deck.inference.predictor import Predictor
from serving.settings import Settings

HOSTILE = 300
AT_ONCE = 24


def hostile(count: int, seed: int = 0) -> Iterator[dict[str, Any]]:
    """Requests made to leave something behind: extreme spectra, floods of one routing, windows, and broken ones."""
    rng = np.random.default_rng(seed)
    rows = np.arange(32)
    stripes = np.where((rows // 1 % 2)[:, None, None], 255, 0) * np.ones((1, 32, 3))
    extreme = [np.zeros((32, 32, 3)), np.full((32, 32, 3), 255), stripes, stripes.transpose(1, 0, 2)]
    for index in range(count):
        kind = index % 6
        if kind < 2:
            images = rng.integers(0, 256, (int(rng.integers(1, 5)), 32, 32, 3), dtype=np.uint8)
        elif kind < 4:
            images = extreme[int(rng.integers(len(extreme)))].astype(np.uint8)[None].repeat(3, axis=0)
        else:
            images = noisy(fake_images(2, seed=index % 50), float(rng.integers(1, 90)))
        request = batch_document(images) | {"window": kind % 2 == 1}
        yield {"shape": [1, 32, 32, 3], "data": "AAAA"} if kind == 5 and index % 4 else request


def ask(client: Client, requests: list[dict[str, Any]]) -> list[httpx.Response]:
    """All at once, so that the server mixes them into batches."""

    async def at_once() -> list[httpx.Response]:
        return await asyncio.gather(
            *(client.request_soon("POST", "/classify_batch", json=request) for request in requests)
        )

    found: list[httpx.Response] = client.run(at_once())
    return found


def watched(client: Client) -> list[bytes]:
    """The answers, to the byte, to requests that are always the same."""
    images = np.concatenate([fake_images(2, seed=7), noisy(fake_images(2, seed=8), 26)])
    found = [client.classify(png(seed), path="/classify?explain=1") for seed in (1, 2)]
    found += [client.batch(image[None], explain=True) for image in images]
    found.append(client.batch(images, window=True, explain=True))
    assert all(response.status_code == 200 for response in found)
    return [response.content for response in found]


def predictor(kind: str, engine: EngineKind) -> Predictor:
    return Predictor(fitted_deck(kind), engine=engine)


def check(count: int, kind: str = "spectral", engine: EngineKind = EngineKind.FAKE) -> None:
    """The watched answers, before and after `count` hostile requests."""
    with serving(predictor(kind, engine), Settings(max_batch=16)) as client:
        before = watched(client)
        block: list[dict[str, Any]] = []
        for request in hostile(count):
            block.append(request)
            if len(block) == AT_ONCE:
                assert all(response.status_code in (200, 400, 429) for response in ask(client, block))
                block = []
        assert watched(client) == before


@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_is_the_same_before_and_after_hostile_others(kind: str) -> None:
    check(HOSTILE if kind == "spectral" else 2 * AT_ONCE, kind)


@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_is_the_same_whoever_shares_its_batch(kind: str) -> None:
    asked = np.concatenate([fake_images(3, seed=5), noisy(fake_images(3, seed=6), 26)])
    mates = [request for request in hostile(60, seed=1) if len(request["data"]) > 4]
    with serving(predictor(kind, EngineKind.FAKE), Settings(max_batch=16)) as client:
        alone = [client.batch(image[None]).json()["answers"][0] for image in asked]
        for seed in range(2):
            order = np.random.default_rng(seed).permutation(len(asked)).tolist()
            own = [batch_document(asked[index][None]) for index in order]
            others = [mates[index] for index in np.random.default_rng(seed).choice(len(mates), 12).tolist()]
            mixed = [request for pair in zip(own, others[:6], others[6:], strict=True) for request in pair]
            found = [response.json()["answers"][0] for response in ask(client, mixed)[::3]]
            for index, answer in zip(order, found, strict=True):
                assert answer["probabilities"] == pytest.approx(alone[index]["probabilities"], abs=1e-5)
                assert {**answer, "probabilities": 0} == {**alone[index], "probabilities": 0}


def test_a_batch_of_any_mates_gives_the_predictor_s_own_answer() -> None:
    """In process and for every image of a large batch, also where a window of the same images was answered between."""
    images = np.concatenate([fake_images(20, seed=1), noisy(fake_images(20, seed=2), 26)])
    rng = np.random.default_rng(0)
    asked = predictor("spectral", EngineKind.FAKE)
    expected = asked.predict(images)
    for _ in range(5):
        order = rng.permutation(len(images))[: int(rng.integers(1, len(images)))]
        asked.predict(images[order], window=True)
        found = asked.predict(images[order])
        np.testing.assert_array_equal(found.weights, expected.weights[order])
        np.testing.assert_array_equal(found.distances, expected.distances[order])
        np.testing.assert_allclose(found.probabilities, expected.probabilities[order], atol=1e-5)


if __name__ == "__main__":
    check(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
    print("the answers are the same")
