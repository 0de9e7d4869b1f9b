"""AUTO: measure the engines on the card at hand, and take the fastest that agrees with the reference.

Times on a busy machine vary, and a choice should not: the preferred engine stays unless another is clearly faster, and
what was chosen for a card holds for the process.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cards_deck.card import Card
from cards_deck.inference import engines
from cards_deck.inference.engines import EngineKind, Runner
from cards_deck.spectrum import Floats, Images

logger = logging.getLogger("cards_deck.engines")

BATCHES = (1, 8)
MARGIN = 1.1  # how many times as fast another engine must be to replace a preferred one
HOPELESS = 2.0  # an engine this many times slower on one image is not tried on more
ROUNDS, ENOUGH = 3, 0.03  # at least these rounds, then until so many seconds were spent on an engine
TOLERANCE = 1e-3  # of the range of the reference's logits
TOLERANCE_8_BITS = 0.1  # roundings of activations may fall either way
REFERENCE = EngineKind.ONNX

_chosen: dict[tuple[str, int, int, tuple[EngineKind, ...]], EngineKind] = {}


@dataclass(frozen=True)
class Choice:
    """The engine taken, the card in it, and what was measured: seconds per image, at each of BATCHES."""

    kind: EngineKind
    runner: Runner
    seconds: Mapping[EngineKind, tuple[float, ...]]


def golden_images(count: int, image_size: int) -> Images:
    """uint8 [count, s, s, 3]: the same smooth and noisy patterns everywhere."""
    rng = np.random.default_rng(20200)
    axis = np.linspace(0, 6, image_size)
    waves = np.sin(axis[None, :, None, None] * rng.uniform(0.5, 3, (count, 1, 1, 3))) + np.cos(
        axis[None, None, :, None] * rng.uniform(0.5, 3, (count, 1, 1, 3))
    )
    noisy = 128 + 50 * waves + rng.normal(0, 12, (count, image_size, image_size, 3))
    return np.clip(noisy, 0, 255).astype(np.uint8)


def choose(
    card: Card,
    candidates: Sequence[EngineKind],
    *,
    image_size: int,
    threads: int,
    clock: Callable[[], float] = time.perf_counter,
) -> Choice:
    """The fastest of `candidates`, which come in order of preference and can run the card."""
    key = card.id, image_size, threads, tuple(candidates)
    names = [_chosen[key]] if key in _chosen else list(candidates)
    runners = _loaded(card, names, image_size, threads)
    if len(runners) == 1:
        kind, runner = next(iter(runners.items()))
        return Choice(kind, runner, {})
    images = golden_images(max(BATCHES), image_size)
    agreeing = _agreeing(card, runners, images[:1])
    seconds = _measured(agreeing, images, clock)
    best = _preferred(seconds)
    _chosen[key] = best
    logger.info("card %s runs on the %s engine: %s", card.name, best, _told(seconds))
    return Choice(best, runners[best], seconds)


def _loaded(card: Card, names: Sequence[EngineKind], image_size: int, threads: int) -> dict[EngineKind, Runner]:
    """Those that can load the card; the error of the last where none can."""
    runners: dict[EngineKind, Runner] = {}
    failed: Exception | None = None
    for kind in names:
        try:
            runners[kind] = engines.load_named(card, kind, image_size=image_size, threads=threads)
        except Exception as error:  # an engine may raise what it likes, and another may still run the card
            failed = error
            logger.warning("card %s: the %s engine cannot load it and is not used: %s", card.name, kind, error)
    if failed is not None and not runners:
        raise failed
    return runners


def _agreeing(card: Card, runners: Mapping[EngineKind, Runner], images: Images) -> dict[EngineKind, Runner]:
    """The reference and those that give its logits; all where the reference is not among them."""
    if REFERENCE not in runners:
        return dict(runners)
    expected = runners[REFERENCE](images)
    kept = {}
    for kind, runner in runners.items():
        if kind is REFERENCE:
            kept[kind] = runner  # also where it overflows: a card whose logits are NaN loads as in that engine alone
            continue
        error = _distance(runner(images), expected)
        if error <= (TOLERANCE_8_BITS if getattr(card, "ranges", None) else TOLERANCE):
            kept[kind] = runner
        else:
            logger.warning(
                "card %s: the %s engine is %.2g of the logits' range off and is not used", card.name, kind, error
            )
    return kept


def _distance(found: Floats, expected: Floats) -> float:
    """Largest difference relative to the range of the expected logits; infinite for NaN."""
    error = float(np.abs(found - expected).max()) / max(float(np.ptp(expected)), 1e-6)
    return error if math.isfinite(error) else math.inf


def _measured(
    runners: Mapping[EngineKind, Runner], images: Images, clock: Callable[[], float]
) -> dict[EngineKind, tuple[float, ...]]:
    """Seconds per image at each batch size; of engines that are hopeless on one image, at the first only."""
    found: dict[EngineKind, tuple[float, ...]] = dict.fromkeys(runners, ())
    racing = dict(runners)
    for batch in BATCHES:
        times = _race(racing, images[:batch], clock)
        for kind, spent in times.items():
            found[kind] = (*found[kind], spent / batch)
        racing = {kind: racing[kind] for kind in racing if times[kind] <= HOPELESS * min(times.values())}
        if len(racing) == 1:
            break
    return found


def _race(runners: Mapping[EngineKind, Runner], images: Images, clock: Callable[[], float]) -> dict[EngineKind, float]:
    """Least seconds of a call, taken in turns after one that is not counted."""
    times: dict[EngineKind, list[float]] = {kind: [] for kind in runners}
    for runner in runners.values():
        runner(images)
    while any(len(spent) < ROUNDS or sum(spent) < ENOUGH for spent in times.values()):
        for kind, runner in runners.items():
            if len(times[kind]) < ROUNDS or sum(times[kind]) < ENOUGH:
                start = clock()
                runner(images)
                times[kind].append(max(clock() - start, 1e-9))
    return {kind: min(spent) for kind, spent in times.items()}


def _preferred(seconds: Mapping[EngineKind, tuple[float, ...]]) -> EngineKind:
    """The first engine, unless a later one is MARGIN times as fast: by the geometric mean over batch sizes."""
    longest = max(len(times) for times in seconds.values())
    finalists = {kind: math.prod(times) ** (1 / longest) for kind, times in seconds.items() if len(times) == longest}
    best, *others = finalists
    for kind in others:
        if finalists[kind] * MARGIN < finalists[best]:
            best = kind
    return best


def _told(seconds: Mapping[EngineKind, tuple[float, ...]]) -> str:
    parts = (f"{kind} {' / '.join(f'{1e3 * t:.2f}' for t in times)}" for kind, times in seconds.items())
    sizes = " / ".join(map(str, BATCHES))
    return f"ms per image at batch {sizes} (engines far behind at the first alone): {'; '.join(parts)}"
