"""Prometheus metrics, merged over workers at each scrape. Every label comes from a closed set and starts at 0."""

from __future__ import annotations

import os
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, multiprocess

from cards_deck.deck import Deck, card_sizes
from cards_deck.explaining import widenings
from cards_deck.inference.engines import EngineKind
from cards_deck.inference.predictor import Prediction
from serving.errors import CODES

STAGES = ("read", "decode", "queue", "predict")
STATUSES = ("2xx", "3xx", "4xx", "5xx")
NONE = "none"  # of gates that read no reference
FALLBACKS = ("low_confidence", "out_of_time", "unknown_spectrum")
_DURATIONS = (0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.125, 0.25, 0.5, 1.0, 2.5)
_DISTANCES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.25, 1.5, 2.0, 3.0, 5.0)
_BATCHES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0)


class Metrics:
    """The metrics of one loaded deck (prefix `cards_deck_`); durations in seconds, sizes in bytes.

    `engines`: in which engine each card of the deck runs.
    """

    def __init__(
        self,
        deck: Deck,
        engines: tuple[EngineKind, ...],
        routes: tuple[str, ...],
        registry: CollectorRegistry | None = None,
    ) -> None:
        self._registry = CollectorRegistry() if registry is None else registry
        self._cards = tuple(card.name for card in deck.cards)
        self._deck = deck
        self._choices = (*deck.references.augmentations, NONE)
        self._routes = (*routes, "other")
        self._declare()
        self._start_at_zero()
        self._describe(deck, engines)

    def _declare(self) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"cards_deck_{name}", text, labels, registry=self._registry)

        def histogram(name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
            return Histogram(f"cards_deck_{name}", text, labels, buckets=buckets, registry=self._registry)

        def gauge(name: str, text: str, mode: str, *labels: str) -> Gauge:
            return Gauge(f"cards_deck_{name}", text, labels, multiprocess_mode=mode, registry=self._registry)  # type: ignore[arg-type]

        self.predictions = counter("predictions", "Images a card had a part in answering.", "card")
        self.choices = counter(
            "gate_choices",
            "Images by the augmentation whose reference is nearest, none for gates that read no spectrum.",
            "choice",
        )
        self.distance = histogram("gate_distance", "Distance to the nearest reference spectrum.", _DISTANCES)
        self.fallbacks = counter(
            "gate_fallbacks",
            "Images answered by other cards than their spectrum named, by why: more were asked, or time was up.",
            "reason",
        )
        self.abstentions = counter("abstentions", "Images of an unknown spectrum for which no class was named.")
        self.unknown = counter("unknown_spectrum", "Images farther from every reference than the training images.")
        self.shadow = counter(
            "shadow_disagreements",
            "Images whose label differs from that of a shadow deck. This release runs none: it stays 0.",
        )
        self.rejected = counter("rejected_inputs", "Requests refused, by the code of the refusal.", "code")
        self.requests = counter("http_requests", "Requests by route and class of status.", "route", "status")
        self.request_seconds = histogram(
            "http_request_duration_seconds", "From the request to its answer.", _DURATIONS, "route"
        )
        self.stages = histogram("stage_duration_seconds", "Time in a stage of a request.", _DURATIONS, "stage")
        self.batches = histogram("batch_images", "Images predicted together.", _BATCHES)
        self.depth = gauge("queue_depth", "Images waiting for the predictor.", "livesum")
        # Workers measure for themselves: each may have chosen other engines.
        self.info = gauge(
            "deck_info", "1 for the deck that answers, in these engines.", "livemax", "name", "version", "engines"
        )
        self.card_engine = gauge("card_engine", "1 for the engine a card runs in.", "livemax", "card", "engine")
        self.card_bytes = gauge("card_size_bytes", "Size of a card's file.", "max", "card")

    def _start_at_zero(self) -> None:
        for card in self._cards:
            self.predictions.labels(card)
        for choice in self._choices:
            self.choices.labels(choice)
        for reason in FALLBACKS:
            self.fallbacks.labels(reason)
        for code in CODES:
            self.rejected.labels(code)
        for route in self._routes:
            self.request_seconds.labels(route)
            for status in STATUSES:
                self.requests.labels(route, status)
        for stage in STAGES:
            self.stages.labels(stage)
        self.depth.set(0)

    def _describe(self, deck: Deck, engines: tuple[EngineKind, ...]) -> None:
        self.info.labels(deck.name, deck.version, "+".join(sorted(set(engines)))).set(1)
        for name, engine in zip(self._cards, engines, strict=True):
            self.card_engine.labels(name, engine.value).set(1)
        for name, size in card_sizes(deck).items():
            self.card_bytes.labels(name).set(size)

    def observe_prediction(self, prediction: Prediction) -> None:
        """Count the rows of one answered request."""
        for label, used in zip(self._cards, prediction.ran.sum(axis=0).tolist(), strict=True):
            if used:
                self.predictions.labels(label).inc(used)
        for row, choice in enumerate(prediction.choice.tolist()):
            self.choices.labels(self._choices[choice]).inc()  # -1 is the last, "none"
            self.distance.observe(float(prediction.distances[row].min()))
        for widened in widenings(self._deck, prediction):
            if widened in FALLBACKS:
                self.fallbacks.labels(widened).inc()
        for counter, rows in (
            (self.fallbacks.labels("out_of_time"), ~prediction.in_time),
            (self.unknown, prediction.unknown),
            (self.abstentions, prediction.abstained),
        ):
            if rows.any():
                counter.inc(int(rows.sum()))

    def observe_stage(self, stage: str, seconds: float) -> None:
        """Time one stage of `STAGES`."""
        self.stages.labels(stage).observe(seconds)

    def observe_response(self, route: str, status: int, seconds: float) -> None:
        """Count one answered request under a known route, or under "other"."""
        route = route if route in self._routes else "other"
        self.requests.labels(route, f"{status // 100}xx").inc()
        self.request_seconds.labels(route).observe(seconds)

    def render(self) -> bytes:
        """The text exposition; of all workers where the server runs them with PROMETHEUS_MULTIPROC_DIR."""
        directory = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
        if not directory:
            return generate_latest(self._registry)
        _forget_dead_workers(Path(directory))
        merged = CollectorRegistry()
        multiprocess.MultiProcessCollector(merged, path=directory)  # type: ignore[no-untyped-call]
        return generate_latest(merged)


def _forget_dead_workers(directory: Path) -> None:
    """Drop the gauges of killed workers, which would otherwise be summed for ever."""
    for file in directory.glob("gauge_live*.db"):
        pid = file.stem.rpartition("_")[2]
        if pid.isdigit() and not Path(f"/proc/{pid}").exists() and Path("/proc/self").exists():
            multiprocess.mark_process_dead(int(pid), path=str(directory))  # type: ignore[no-untyped-call]
