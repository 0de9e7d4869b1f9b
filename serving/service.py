"""The BentoML service: one worker process (by default) that loads a deck, warms it and answers with `serving.http`.

CARDS_DECK_PATH=models/cifar10-medium bentoml serve serving.service:CardsDeck
"""

from __future__ import annotations

import logging
import os
import sys

os.environ.setdefault(
    "BENTOML_DO_NOT_TRACK", "True"
)  # before bentoml is used: it reports usage to its maker by default

import bentoml
from starlette.types import ASGIApp, Receive, Scope, Send

from cards_deck.deck import read_deck
from cards_deck.errors import CardsDeckError
from cards_deck.inference.predictor import Predictor
from serving.http import Application
from serving.settings import Settings

SETTINGS = Settings.from_environment()
# What a worker's environment holds before Python starts, where it is not set already.
WORKER_ENVIRONMENT = {
    # More threads than cores only make each other wait.
    "OMP_NUM_THREADS": str(SETTINGS.threads),
    "OPENBLAS_NUM_THREADS": str(SETTINGS.threads),
    # glibc: give the pixels of a large image back to the system once it is answered, instead of keeping the peak.
    "MALLOC_ARENA_MAX": "2",
    "MALLOC_MMAP_THRESHOLD_": str(4 * 2**20),
}


def show_log() -> None:
    """Print what this project logs from INFO on, as the engine of each card; BentoML shows its own loggers only."""
    logger = logging.getLogger("cards_deck")
    logger.setLevel(logging.INFO)
    if not logger.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(
            logging.Formatter("%(asctime)s [%(levelname)s] [%(name)s] %(message)s", "%Y-%m-%dT%H:%M:%S%z")
        )
        logger.addHandler(handler)
        logger.propagate = False


class FrontDoor:
    """Hands every HTTP request to the live application and only health checks on to BentoML."""

    application: Application | None = None

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection; what is not HTTP (the lifespan) is BentoML's."""
        if scope["type"] == "http" and FrontDoor.application is not None:
            await FrontDoor.application(scope, receive, send, health=self._app)
        else:
            await self._app(scope, receive, send)


@bentoml.service(
    name="cards_deck",
    workers=SETTINGS.workers,
    traffic={"timeout": 2 * SETTINGS.deadline + 5},  # ours come first: one for the body, one for the answer, both JSON
    metrics={"enabled": False},  # BentoML labels by raw path, without bound; /metrics is ours
    http={"host": SETTINGS.host, "port": SETTINGS.port},
    envs=[{"name": name, "value": value} for name, value in WORKER_ENVIRONMENT.items()],
)
class CardsDeck:
    """A deck of sparse networks behind a spectral gate."""

    def __init__(self) -> None:
        show_log()
        deck = read_deck(SETTINGS.deck_path)
        self.application = Application(Predictor(deck, engine=SETTINGS.engine, threads=SETTINGS.threads), SETTINGS)

    @bentoml.on_deployment  # type: ignore[untyped-decorator]
    @staticmethod
    def check() -> None:
        """Before any worker starts: a deck that cannot be read ends the server instead of a worker over and over."""
        try:
            read_deck(SETTINGS.deck_path)
        except CardsDeckError as error:
            sys.exit(f"cards-deck: the deck is refused and the server does not start: {error}")

    @bentoml.on_startup  # type: ignore[untyped-decorator]
    async def start(self) -> None:
        """Ready means warm: the queue is open and the predictor has run."""
        await self.application.start()
        FrontDoor.application = self.application

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    async def stop(self) -> None:
        """BentoML has answered every request by now."""
        FrontDoor.application = None
        await self.application.stop()


CardsDeck.add_asgi_middleware(FrontDoor)  # type: ignore[attr-defined]
