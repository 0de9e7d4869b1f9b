"""Nothing is remembered between requests: an image's answer does not depend on what others asked before or beside it.

Run as a script it does the same for longer, and saves how long in benchmarks/results/stateless.json:
`PYTHONPATH=. python tests/test_serving_stateless.py --kinds spectral spectrum_cascade --images 1000000`.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
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

MANY, FEW = 600, 100  # hostile images
AT_ONCE = 24
MOST = 16  # images in a request of the long run: the server's batch


def hostile(seed: int = 0, most: int = 4) -> Iterator[dict[str, Any]]:
    """Requests without end, of up to `most` images, to leave something behind: extreme spectra, floods of one routing,
    windows, broken ones."""
    rng = np.random.default_rng(seed)
    rows = np.arange(32)
    stripes = np.where((rows // 1 % 2)[:, None, None], 255, 0) * np.ones((1, 32, 3))
    extreme = [np.zeros((32, 32, 3)), np.full((32, 32, 3), 255), stripes, stripes.transpose(1, 0, 2)]
    for index in itertools.count():
        kind = index % 6
        if kind < 2:
            images = rng.integers(0, 256, (int(rng.integers(1, most + 1)), 32, 32, 3), dtype=np.uint8)
        elif kind < 4:
            images = extreme[int(rng.integers(len(extreme)))].astype(np.uint8)[None].repeat(most - 1, axis=0)
        else:
            images = noisy(fake_images(most // 2, seed=index % 50), float(rng.integers(1, 90)))
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


def check(images: int, kind: str, engine: EngineKind = EngineKind.FAKE, most: int = 4) -> tuple[int, int]:
    """The watched answers, before and after so many hostile images at least, up to `most` in a request; how many
    (requests, images) it took."""
    with serving(predictor(kind, engine), Settings(max_batch=16)) as client:
        before = watched(client)
        stream, requests, answered = hostile(most=most), 0, 0
        while answered < images:
            block = list(itertools.islice(stream, AT_ONCE))
            found = [response.status_code for response in ask(client, block)]
            assert set(found) <= {200, 400, 429}
            requests += len(block)
            answered += sum(request["shape"][0] for request, code in zip(block, found, strict=True) if code == 200)
        assert watched(client) == before
    return requests, answered


@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_is_the_same_before_and_after_hostile_others(kind: str) -> None:
    requests, images = check(MANY if kind == "spectral" else FEW, kind)
    assert FEW <= images <= 4 * requests


@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_is_the_same_whoever_shares_its_batch(kind: str) -> None:
    asked = np.concatenate([fake_images(3, seed=5), noisy(fake_images(3, seed=6), 26)])
    mates = [request for request in itertools.islice(hostile(seed=1), 60) if len(request["data"]) > 4]
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


def main() -> None:
    """Check the kinds for longer, print and save what was asked."""
    from benchmarks.harness import write
    from eval.provenance import provenance

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=["spectral", "spectrum_cascade"])
    parser.add_argument("--images", type=int, default=10_000, help="hostile images answered, of each kind (10000)")
    arguments = parser.parse_args()
    rows = []
    for kind in arguments.kinds:
        requests, images = check(arguments.images, kind, most=MOST)
        rows.append({"gate": kind, "engine": EngineKind.FAKE.value, "requests": requests, "images": images})
        print(f"{kind}: the answers are the same after {images} hostile images in {requests} requests")
    write("stateless", {"rows": rows, "provenance": provenance(["python", *sys.argv])})


if __name__ == "__main__":
    main()
