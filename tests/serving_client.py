"""Talks to the server's ASGI application in this process, without sockets, from ordinary functions."""

from __future__ import annotations

import asyncio
import base64
import io
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import numpy as np
from PIL import Image
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from cards_deck.inference.engines import EngineKind
from cards_deck.inference.fake_deck import fake_deck, fake_images
from cards_deck.inference.predictor import Predictor
from serving.errors import CODES
from serving.http import Application
from serving.settings import Settings

SMALL = Settings(max_body_bytes=200_000, max_images=8, max_queue=8, max_batch=4)
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


class Client:
    """Synchronous requests to an `Application` that runs on an event loop in another thread."""

    def __init__(self, application: Application, loop: asyncio.AbstractEventLoop) -> None:
        self.application = application
        self._loop = loop
        transport = httpx.ASGITransport(application)
        self._http = httpx.AsyncClient(transport=transport, base_url="http://deck", trust_env=False, timeout=60)

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        return self.run(self.request_soon(method, path, **options))

    async def request_soon(self, method: str, path: str, **options: Any) -> httpx.Response:
        return await self._http.request(method, path, **options)

    def classify(self, data: bytes, media_type: str | None = "image/png", path: str = "/classify") -> httpx.Response:
        headers = {} if media_type is None else {"Content-Type": media_type}
        return self.request("POST", path, content=data, headers=headers)

    def upload(self, data: bytes, name: str = "photo.png", media_type: str = "image/png") -> httpx.Response:
        return self.request("POST", "/classify", files={"image": (name, data, media_type)})

    def batch(self, images: np.ndarray, **options: Any) -> httpx.Response:
        return self.request("POST", "/classify_batch", json=batch_document(images) | options)

    def samples(self) -> Samples:
        return parse_samples(self.request("GET", "/metrics").text)


@contextmanager
def serving(predictor: Predictor | None = None, settings: Settings | None = None) -> Iterator[Client]:
    """A started application; by default the fake deck on the fake engine."""
    predictor = predictor or Predictor(fake_deck(), engine=EngineKind.FAKE)
    application = Application(predictor, settings or Settings(), CollectorRegistry())
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    client = Client(application, loop)
    try:
        client.run(application.start())
        yield client
        client.run(application.stop())
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


def refused(response: httpx.Response, code: str) -> None:
    """Assert that the response is this refusal, in the form of every refusal."""
    body = response.json()
    assert (response.status_code, body["code"]) == (CODES[code][0], code), body
    assert set(body) == {"error", "code", "request_id"}
    assert body["error"]
    assert response.headers["x-request-id"] == body["request_id"]


def parse_samples(text: str) -> Samples:
    """Every sample of a text exposition by its name and labels."""
    families = text_string_to_metric_families(text)
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for f in families for s in f.samples}


def batch_document(images: np.ndarray) -> dict[str, Any]:
    return {"shape": list(images.shape), "data": base64.b64encode(images.tobytes()).decode()}


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def picture(seed: int = 0, size: int = 32) -> Image.Image:
    return Image.fromarray(fake_images(1, size, seed)[0])


def png(seed: int = 0, size: int = 32) -> bytes:
    return encoded(picture(seed, size))
