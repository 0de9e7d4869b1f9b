"""One evaluation from settings to the JSON of its report."""

from __future__ import annotations

import time
from typing import Any

from cards_deck.deck import Deck, size_on_disk
from eval.context import Context, Settings
from eval.provenance import provenance
from eval.report.files import SCHEMA_VERSION

__all__ = ["Settings", "evaluate"]


def evaluate(deck: Deck, settings: Settings, *, command: list[str] | None = None) -> dict[str, Any]:
    """Measure `deck` and return the report's JSON; errors in the data are raised before the long part starts."""
    start = time.monotonic()
    context = Context(deck, settings)
    measured = settings.suite.measure(context)
    made = provenance(command) | {"seconds": round(time.monotonic() - start, 1)}
    return _identity(context) | measured | {"provenance": made}


def _identity(context: Context) -> dict[str, Any]:
    """Which deck was measured how; `engine` is what ran the cards."""
    deck, settings = context.deck, context.settings
    return {
        "schema_version": SCHEMA_VERSION,
        "deck": deck.name,
        "deck_version": deck.version,
        "deck_size_bytes": size_on_disk(deck.folder) if deck.folder is not None else None,
        "suite": settings.suite.name,
        "kind": settings.suite.kind,
        "title": settings.suite.title,
        "seed": settings.seed,
        "engine": ", ".join(dict.fromkeys(map(str, context.predictor.engines))),
        "gate": deck.gate.summary(),
        "bootstrap": {"resamples": settings.resamples, "level": 0.95, "unit": "image", "seed": settings.seed},
    }
