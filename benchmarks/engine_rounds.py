"""Time candidates in turns, and what follows from it: rows, and ratios taken within the round."""

from __future__ import annotations

import gc
import math
import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]
Call = Callable[[], object]
Key = tuple[str, float | None, int]
Rounds = Mapping[Key, Sequence[float]]

LEAST_ROUNDS, MOST_ROUNDS = 5, 41
BURST = 0.015  # seconds of calls between two readings of the clock, at least
WARM = 0.1  # before a call shorter than this comes another, untimed: its weights are in the cache, as in a server
SETTLING = 150  # looks at whether threads still spin, 2 ms apart
PEAK = "fma_peak"


def _nothing() -> None:
    return


@dataclass(frozen=True)
class Candidate:
    """An engine with a network at a batch size: `call` answers all images, `flop` is the useful work of a call.

    `density` is None for an engine that computes with the zeros too. `prepare` is called before, untimed.
    """

    engine: str
    density: float | None
    threads: int
    call: Call
    flop: float
    prepare: Call = _nothing

    @property
    def key(self) -> Key:
        """What tells it from the others of its network and batch size."""
        return self.engine, self.density, self.threads


def tag(density: float) -> str:
    """`d05` for 5 %."""
    return f"d{round(100 * density):02d}"


def in_turns(candidates: Sequence[Candidate], budget: float) -> dict[Key, list[float]]:
    """Seconds per call of every candidate in every round; each round has all of them once, in a new order.

    Rounds go on for `budget` seconds, within the least and the most number of them.
    """
    calls = {each.key: _burst(each) for each in candidates}
    found: dict[Key, list[float]] = {each.key: [] for each in candidates}
    order = random.Random(0)
    start = time.perf_counter()
    for turn in range(MOST_ROUNDS):
        if turn >= LEAST_ROUNDS and time.perf_counter() - start > budget:
            break
        gc.collect()
        for each in order.sample(list(candidates), len(candidates)):
            times, warm = calls[each.key]
            found[each.key].append(_timed(each, times, warm=warm))
    return found


def _burst(candidate: Candidate) -> tuple[int, bool]:
    """(calls between two readings of the clock, whether another comes before), from a second call."""
    _timed(candidate, 1, warm=False)
    once = _timed(candidate, 1, warm=False)
    return max(1, min(100, math.ceil(BURST / once))), once < WARM


def _settle() -> None:
    """Let the threads of the engine before stop spinning, for some tenths of a second: they would take turns with this
    one's on the same processors, and two threads then be no quicker than one."""
    for _ in range(SETTLING):
        busy = time.process_time()
        time.sleep(0.002)
        if time.process_time() - busy < 0.0004:
            return


def _timed(candidate: Candidate, calls: int, *, warm: bool) -> float:
    candidate.prepare()
    _settle()
    if warm:
        candidate.call()
    start = time.perf_counter()
    for _ in range(calls):
        candidate.call()
    return (time.perf_counter() - start) / calls


def spread(values: Sequence[float]) -> Json:
    """Median and quartiles, four digits."""
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return {"median": _rounded(median), "low": _rounded(low), "high": _rounded(high)}


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")


def rows(candidates: Sequence[Candidate], rounds: Rounds, batch: int) -> list[Json]:
    """ms per image and useful GFLOP/s of each; of those in float32 the share of the peak too, within the round."""
    peaks = {each.threads: [each.flop / s for s in rounds[each.key]] for each in candidates if each.engine == PEAK}
    found = []
    for each in candidates:
        if each.engine == PEAK:
            continue
        speeds = [each.flop / s for s in rounds[each.key]]
        shares = [speed / peak for speed, peak in zip(speeds, peaks[each.threads], strict=True)]
        found.append(
            {
                "density": each.density,
                "batch": batch,
                "threads": each.threads,
                "engine": each.engine,
                "unit": "ms/image",
                **spread([1e3 * s / batch for s in rounds[each.key]]),
                "rounds": len(speeds),
                "gflops": spread(_giga(speeds))["median"],
                "share_of_peak": None if each.engine.endswith("int8") else spread(shares)["median"],
            }
        )
    return found


def _giga(speeds: Sequence[float]) -> list[float]:
    """Operations per second in units of 10^9."""
    return [speed / 1e9 for speed in speeds]


def peak_rows(candidates: Sequence[Candidate], rounds: Rounds, batch: int) -> list[Json]:
    """GFLOP/s of the multiply-add loop in the same rounds."""
    return [
        {"batch": batch, "threads": each.threads, **spread(_giga([each.flop / s for s in rounds[each.key]]))}
        for each in candidates
        if each.engine == PEAK
    ]


def ratios(network: str, rounds: Rounds, batch: int, suffix: str) -> dict[str, Json]:
    """How many times faster the sparse engine is than each other one, and with more threads than one."""
    found = {}
    for engine, density, threads in rounds:
        if engine != "sparse" or density is None:
            continue
        own = rounds[engine, density, threads]
        others = {
            f"vs_{key[0]}": key
            for key in rounds
            if key[2] == threads and key[1] in (None, density) and key[0] not in (PEAK, "sparse")
        }
        if threads > 1:
            others["vs_t1"] = engine, density, 1
        for name, key in others.items():
            if key in rounds:
                label = f"{network}_{tag(density)}_b{batch}_t{threads}_{name}{suffix}"
                found[label] = spread([other / mine for other, mine in zip(rounds[key], own, strict=True)])
    return found
