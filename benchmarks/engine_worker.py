"""One network in a process of its own: `python -m benchmarks.engine_worker SETTINGS`, a JSON object; see `Settings`.

What was measured is written to the settings' `out`, progress to the standard output.
"""

from __future__ import annotations

import ctypes
import gc
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from benchmarks.engine_cards import SIZE, card, channels_last, module
from benchmarks.engine_peak import simd_level
from benchmarks.engine_rounds import Call, Json, in_turns, peak_rows, ratios, rows
from benchmarks.engine_runners import Runners, answer, infer, openvino_call
from cards_deck.card import Card, read_card
from cards_deck.inference.engines import EngineKind, load
from cards_deck.inference.fake_deck import fake_images


@dataclass(frozen=True)
class Settings:
    """What a worker does. With `probe`, the name of an engine, it only loads the card in the file `card` into it."""

    network: str
    out: str
    densities: tuple[float, ...] = ()
    batches: tuple[int, ...] = ()
    threads: tuple[int, ...] = (1,)
    engines: tuple[str, ...] = ()
    suffix: str = ""  # of the ratios' names
    seconds: float = 10.0  # of rounds for each batch size, where the least number of rounds takes less
    compile_seconds: float = 0.0
    probe: str = ""
    card: str = ""


def main() -> None:
    """Do it."""
    settings = Settings(**json.loads(sys.argv[1]))
    found = probed(settings) if settings.probe else measured(settings)
    Path(settings.out).write_text(json.dumps(found))


def measured(settings: Settings) -> Json:
    """Rows, ratios, peaks and what was left out, of one network."""
    network, level = settings.network, simd_level()
    runners = Runners(
        network, settings.densities, settings.threads, engines=settings.engines,
        compile_seconds=settings.compile_seconds,
    )  # fmt: skip
    label = {"network": network, "simd": level}
    found: Json = {"rows": [], "ratios": {}, "peaks": []}
    for batch in settings.batches:
        start = time.perf_counter()
        candidates = runners.candidates(batch)
        loaded = time.perf_counter()
        rounds = in_turns(candidates, settings.seconds)
        found["rows"] += [label | each for each in rows(candidates, rounds, batch)]
        found["peaks"] += [label | each for each in peak_rows(candidates, rounds, batch)]
        found["ratios"] |= ratios(network, rounds, batch, settings.suffix)
        spent = f"{loaded - start:.0f} s to load, {time.perf_counter() - loaded:.0f} s to measure"
        count = f"{len(next(iter(rounds.values())))} rounds of {len(rounds)}"
        print(f"== {network}, {level}, batch {batch}: {count}, {spent}", flush=True)
    return found | {
        "errors": [label | {"engine": n, "density": d, "error": error} for (n, d), error in runners.errors.items()],
        "skipped": [label | {"what": name, "why": why} for name, why in runners.skipped.items()],
        "compile_seconds": [label | {"what": name, "seconds": s} for name, s in runners.compile_times.items()],
    }


def probed(settings: Settings) -> Json:
    """Seconds from the card in memory to its first answer, and the resident bytes that it adds.

    The engine has run a small card before, so that its code is loaded; freed memory is given back before each look.
    """
    torch.set_num_threads(1)
    start = _starter(settings.probe)
    stored = read_card(settings.card)
    start(card("rn20", kind="int8" if stored.ranges else "none"))()
    before = _resident()
    began = time.perf_counter()
    call = start(stored)
    call()
    seconds = time.perf_counter() - began
    return {"network": settings.network, "engine": settings.probe, "seconds": seconds, "bytes": _resident() - before}


def _starter(engine: str) -> Callable[[Card], Call]:
    """What makes a card ready to answer one image on one thread."""
    image = fake_images(1, SIZE)
    if engine.startswith("openvino"):
        return lambda made: openvino_call(made, image, 1)
    if engine.startswith("torch"):
        return lambda made: partial(infer, partial(answer, _torch_module(made)), torch.from_numpy(image))
    kind = EngineKind.SPARSE if engine.startswith("sparse") else EngineKind.ONNX
    return lambda made: partial(load(made, kind, image_size=SIZE, threads=1), image)


def _torch_module(made: Card) -> torch.nn.Module:
    network = module(made.name)
    tensors = {name: torch.tensor(value) for name, value in made.tensors.items()}
    network.load_state_dict(tensors, strict=False)
    return channels_last(network)


def _resident() -> int:
    """Bytes of this process in memory, after giving back what is free; Linux only."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("VmRSS")).split()[1])


if __name__ == "__main__":
    main()
