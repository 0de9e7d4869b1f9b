"""The HTTP face of a deck: routes, request ids, JSON errors, metrics. A plain ASGI application that BentoML runs.

BentoML's own parsing never sees a body: it answers broken images with 500, fetches addresses and has no size limit.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
import uuid
from collections.abc import Awaitable, Callable

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cards_deck.inference.predictor import Predictor
from serving.endpoints import Endpoints
from serving.errors import RequestError
from serving.metrics import Metrics
from serving.openapi import describe
from serving.pages import PAGES, page_response
from serving.settings import Settings

Handler = Callable[[Request], Awaitable[Response]]
HEALTH = ("/livez", "/readyz", "/healthz")
ROUTES = ("/classify", "/classify_batch", "/metrics", "/docs.json", *PAGES, *HEALTH)
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_log = logging.getLogger("cards_deck.serving")


class Application:
    """An ASGI application around one predictor: `await start()` before the first request, `await stop()` at the end."""

    def __init__(self, predictor: Predictor, settings: Settings, registry: CollectorRegistry | None = None) -> None:
        self.metrics = Metrics(predictor.deck, predictor.engines, ROUTES, registry)
        self._endpoints = Endpoints(predictor, settings, self.metrics)
        self._document = describe(predictor.deck, settings)
        self._started = False
        self._handlers: dict[str, tuple[str, Handler]] = {
            "/classify": ("POST", self._endpoints.classify),
            "/classify_batch": ("POST", self._endpoints.classify_batch),
            "/metrics": ("GET", self._metrics),
            "/docs.json": ("GET", self._docs),
            **dict.fromkeys(PAGES, ("GET", page_response)),
            **dict.fromkeys(HEALTH, ("GET", self._health)),
        }

    async def start(self) -> None:
        """Warm the predictor and open the queue."""
        await self._endpoints.start()
        self._started = True

    async def stop(self) -> None:
        """Finish the batch at work and refuse the rest."""
        self._started = False
        await self._endpoints.stop()

    async def __call__(self, scope: Scope, receive: Receive, send: Send, health: ASGIApp | None = None) -> None:
        """Answer one HTTP request: every response has X-Request-ID, every refusal the JSON error body.

        Health paths go to `health` where one is given (BentoML's own application).
        """
        request, started, status = Request(scope, receive), time.perf_counter(), 500
        request_id = _request_id(request)

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", []), (b"x-request-id", request_id.encode())]
            await send(message)

        try:
            if health is not None and request.url.path in HEALTH:
                await health(scope, receive, send_with_id)
            else:
                await (await self._respond(request, request_id))(scope, receive, send_with_id)
        except ClientDisconnect:
            status = 499  # nobody is left to read an answer; the number is nginx's for this case
        self.metrics.observe_response(request.url.path, status, time.perf_counter() - started)

    async def _respond(self, request: Request, request_id: str) -> Response:
        try:
            return await self._dispatch(request)
        except RequestError as error:
            return self._refuse(error, request_id)
        except ClientDisconnect:
            raise
        except Exception:  # the boundary: a fault of ours must still be JSON with a request id
            _log.exception("request %s failed", request_id)
            return self._refuse(RequestError("internal", "The server failed; its log has this request id."), request_id)

    async def _dispatch(self, request: Request) -> Response:
        if request.url.path not in self._handlers:
            raise RequestError("not_found", "There is nothing here; see /docs.json.")
        method, handler = self._handlers[request.url.path]
        allowed = ("GET", "HEAD") if method == "GET" else (method,)
        if request.method not in allowed:
            allow = ", ".join(allowed)
            raise RequestError("method_not_allowed", f"This path takes {allow}.", headers={"Allow": allow})
        return await handler(request)

    def _refuse(self, error: RequestError, request_id: str) -> Response:
        self.metrics.rejected.labels(error.code).inc()
        content = {"error": str(error), "code": error.code, "request_id": request_id}
        return JSONResponse(content, error.status, error.headers)

    async def _health(self, request: Request) -> Response:
        if not self._started and request.url.path == "/readyz":
            raise RequestError("not_ready", "The server is starting or stopping.", headers={"Retry-After": "1"})
        return Response("\n", media_type="text/plain")

    async def _metrics(self, request: Request) -> Response:
        return Response(await asyncio.to_thread(self.metrics.render), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _docs(self, request: Request) -> Response:
        return JSONResponse(self._document)


def _request_id(request: Request) -> str:
    """The sender's own id where it is harmless in logs and headers, else a new one."""
    given = request.headers.get("x-request-id", "")
    return given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
