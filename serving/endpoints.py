"""POST /classify and POST /classify_batch: from a request to the predictor's answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from cards_deck.inference.predictor import Prediction, Predictor
from serving.answers import Explainer, answers, because
from serving.batching import MicroBatcher, joined
from serving.bodies import parse_batch, read_body
from serving.errors import RequestError
from serving.images import Limits, decode_image
from serving.metrics import Metrics
from serving.multipart import image_file
from serving.settings import Settings

T = TypeVar("T")
Images = npt.NDArray[np.uint8]


class Endpoints:
    """Decoding in one thread, predicting in another, the event loop free for everyone else."""

    def __init__(self, predictor: Predictor, settings: Settings, metrics: Metrics) -> None:
        self._predictor, self._settings, self._metrics = predictor, settings, metrics
        self._deck = predictor.deck
        self._limits = Limits(settings.max_side, settings.max_pixels, settings.min_side, settings.max_aspect)
        self._explainer = Explainer(self._deck)
        own = self._deck.gate.seconds
        limit = settings.card_seconds if own is None else min(own, settings.card_seconds)
        # Past the deadline nobody waits for an answer, and without a limit each card runs once for all its rows.
        self._card_seconds = limit if limit < settings.deadline else None
        self._decoder: ThreadPoolExecutor | None = None
        self._batcher = MicroBatcher(
            self._predict,
            max_batch=settings.max_batch,
            max_queue=settings.max_queue,
            on_wait=lambda seconds: metrics.observe_stage("queue", seconds),
            on_batch=self._observe_batch,
            on_depth=metrics.depth.set,
        )

    async def start(self) -> None:
        """Open the queue and run the predictor once, so that no request pays for its first call."""
        self._decoder = ThreadPoolExecutor(1, thread_name_prefix="decode")
        await self._batcher.start()
        size = self._deck.image_size
        await asyncio.to_thread(self._predictor.predict, np.full((1, size, size, 3), 127, np.uint8))

    async def stop(self) -> None:
        """Finish the batch at work and refuse the rest."""
        await self._batcher.stop()
        if self._decoder is not None:
            await asyncio.to_thread(self._decoder.shutdown)
        self._decoder = None

    async def classify(self, request: Request) -> Response:
        """Answer the one image of a form or of a raw body; with ?explain=1 say why."""
        options = _options(request, {"explain"})
        if options.get("explain", "0") not in ("0", "1"):
            raise RequestError("bad_parameter", "explain must be 0 or 1.")
        image = await self._image(request)
        prediction = await self._answer(request, image[None])
        answer = answers(self._deck, prediction)[0]
        if options.get("explain") == "1":
            answer["explanation"] = await self._in_decoder(self._explainer.explain, image, prediction)
        return JSONResponse(answer)

    async def classify_batch(self, request: Request) -> Response:
        """Answer the images of a JSON body, in order."""
        _options(request, set())
        if media_type(request) != "application/json":
            raise RequestError("unsupported_media_type", "Send JSON with Content-Type: application/json.")
        body = await self._body(request)
        started = time.perf_counter()
        size, most = self._deck.image_size, self._settings.max_images
        batch = await self._in_decoder(parse_batch, body, size, most, self._limits)
        self._metrics.observe_stage("decode", time.perf_counter() - started)
        prediction = await self._answer(request, batch.images, window=batch.window)
        found = answers(self._deck, prediction)
        if batch.explain:
            for row, answer in enumerate(found):
                answer["explanation"] = because(self._deck, prediction, row, window=len(found) * batch.window)
        return JSONResponse({"answers": found})

    async def _image(self, request: Request) -> Images:
        kind = media_type(request)
        if kind != "multipart/form-data" and not kind.startswith("image/"):
            raise RequestError(
                "unsupported_media_type",
                "Send the file in the field `image` of multipart/form-data, or as the body with Content-Type "
                "image/png, image/jpeg or image/webp.",
            )
        body = await self._body(request)
        started = time.perf_counter()
        declared: str | None = kind
        if kind == "multipart/form-data":
            body, declared = image_file(body, request.headers["content-type"])
        image = await self._in_decoder(decode_image, body, declared, self._deck.image_size, self._limits)
        self._metrics.observe_stage("decode", time.perf_counter() - started)
        return image

    async def _body(self, request: Request) -> bytes:
        started = time.perf_counter()
        body = await read_body(request, self._settings.max_body_bytes, self._settings.deadline)
        self._metrics.observe_stage("read", time.perf_counter() - started)
        return body

    async def _answer(self, request: Request, images: Images, *, window: bool = False) -> Prediction:
        """The prediction, unless the deadline passes (504) or the sender goes away (ClientDisconnect)."""
        try:
            async with asyncio.timeout(self._settings.deadline):
                prediction = await _unless_gone(request, self._batcher.submit(images, window=window))
        except TimeoutError:
            message = f"No answer within {self._settings.deadline:g} s."
            raise RequestError("deadline_exceeded", message, headers={"Retry-After": "1"}) from None
        self._metrics.observe_prediction(prediction)
        return prediction

    def _predict(self, images: Images, window: bool) -> Prediction:
        """Runs in the batcher's thread; in pieces, so that a large request does not raise the peak of memory.

        A window is one piece, or its parts would be routed apart. All pieces share the time for cards.
        """
        step = len(images) if window else self._settings.max_batch
        started = time.monotonic()
        pieces = [
            self._predictor.predict(images[at : at + step], window=window, seconds=self._left(started))
            for at in range(0, len(images), step)
        ]
        for piece in pieces:
            if not np.isfinite(piece.probabilities).all():
                raise ArithmeticError("a card gave probabilities that are not finite numbers")
        return pieces[0] if len(pieces) == 1 else joined(pieces)

    def _left(self, started: float) -> float | None:
        """Seconds left for cards."""
        return None if self._card_seconds is None else max(started + self._card_seconds - time.monotonic(), 0)

    def _observe_batch(self, images: int, seconds: float) -> None:
        self._metrics.batches.observe(images)
        self._metrics.observe_stage("predict", seconds)

    async def _in_decoder(self, function: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._decoder, function, *arguments)


def media_type(request: Request) -> str:
    """The media type of the body in lower case without its options, "" where none is declared."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _options(request: Request, allowed: set[str]) -> dict[str, str]:
    if set(request.query_params) - allowed:
        known = ", ".join(sorted(allowed)) or "none"
        raise RequestError("unknown_field", f"There is an unknown query option; known: {known}.")
    return dict(request.query_params)


async def _unless_gone(request: Request, answer: Awaitable[T]) -> T:
    """Await `answer`; cancel it and raise ClientDisconnect where the sender closes the connection first."""
    task = asyncio.ensure_future(answer)
    gone = asyncio.create_task(_disconnected(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise ClientDisconnect
    finally:
        task.cancel()
        gone.cancel()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
