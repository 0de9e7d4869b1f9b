"""How fast cards run: the sparse engine, ONNX Runtime, OpenVINO and PyTorch side by side, ms per image.

Networks have random weights; masks are uniform: every tensor keeps the same share. All engines, both thread counts and
all densities of one network and batch size take turns in the same rounds, so every ratio is paired. The engines that
multiply by zeros too run one card of 5 %: what it keeps does not change their time. Ratios are named like
`rn18_d05_b1_t1_vs_ort_fp32`: how many times as fast as the opponent the sparse engine is, for a network, density in
percent, batch and threads. `sgemm` is this machine's dense matrix product, the speed of light for multiply-adds.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from benchmarks.contenders import DENSE, NETWORKS, SIZE, Call, Dense, card, sparse_runner
from benchmarks.engines_plot import draw
from benchmarks.harness import RESULTS, Row, ratio, row, save, time_in_turns
from cards_deck.card import Card, card_bytes
from cards_deck.costs import card_costs
from cards_deck.inference.fake_deck import fake_images

DENSITIES, BATCHES, THREADS = (1.0, 0.2, 0.1, 0.05, 0.02), (1, 8, 32), (1, 2)
LEAST = 0.01  # seconds that one reading of the clock covers
AVX2_ONLY = {"ONEDNN_MAX_CPU_ISA": "AVX2"}  # OpenVINO's kernels; ONNX Runtime's cannot be limited

Results = tuple[list[Row], dict[str, float]]


def percent(density: float) -> str:
    """0.05 -> "d05"."""
    return f"d{round(100 * density):02d}"


def repeated(call: Call, images: object, times: int) -> None:
    """One measurement."""
    for _ in range(times):
        call(images)  # type: ignore[arg-type]


def group(name: str, batch: int, contenders: dict[str, Call], repeats: int) -> dict[str, list[float]]:
    """ms per image of every contender over rounds in which they take turns."""
    images, calls, sizes = fake_images(batch, SIZE), {}, {}
    for key, call in contenders.items():
        call(images)
        start = time.perf_counter()
        call(images)
        times = max(1, round(LEAST / (time.perf_counter() - start)))
        calls[key], sizes[key] = partial(repeated, call, images, times), times * batch
    print(f"== {name}, batch {batch}", flush=True)
    seconds = time_in_turns(calls, repeats=repeats)
    return {key: [1e3 * value / sizes[key] for value in values] for key, values in seconds.items()}


def contenders(
    name: str, cards: dict[str, Card], dense: Dense, engines: Sequence[str], simd: str | None
) -> dict[str, Call]:
    """ "d05_t1_sparse" and "t1_ort_fp32" style names -> calls."""
    made: dict[str, Call] = {}
    for threads in THREADS:
        for density, each in cards.items():
            made[f"{density}_t{threads}_sparse"] = sparse_runner(each, threads, simd)
        for engine in engines:
            try:
                made[f"t{threads}_{engine}"] = dense.call(engine, threads)
                if engine == "torch_compiled":
                    made[f"t{threads}_{engine}"](fake_images(1, SIZE))
            except Exception as error:
                made.pop(f"t{threads}_{engine}", None)
                print(f"== {engine} is left out on {name}: {str(error)[:200]}", flush=True)
    return made


def multiply_adds(made: Card) -> float:
    """Millions per image, of kept weights."""
    return card_costs(made, SIZE).macs_executed / 1e6


def measured(
    name: str, batches: Sequence[int], engines: Sequence[str], repeats: int, simd: str | None = None
) -> Results:
    """Rows and ratios of one network."""
    cards = {percent(density): card(name, density) for density in DENSITIES}
    cards["d05_binary"] = card(name, 0.05, binary=True)
    dense, rows, ratios = Dense(name, cards["d05"]), list[Row](), dict[str, float]()
    runs = contenders(name, cards, dense, engines, simd)
    suffix = f"_{simd}" if simd else ""
    for batch in batches:
        times = group(name, batch, runs, repeats)
        for key, values in times.items():
            label = key.replace("_t", f"_b{batch}_t") if key[0] == "d" else f"b{batch}_{key}"
            rows.append(row(f"{name}_{label}{suffix}", "ms/image", values))
        for density, each in cards.items():
            for threads in THREADS:
                own, base = times[f"{density}_t{threads}_sparse"], f"{name}_{density}_b{batch}_t{threads}{suffix}"
                for engine in engines:
                    if f"t{threads}_{engine}" in times:
                        ratios[f"{base}_vs_{engine}"] = ratio(times[f"t{threads}_{engine}"], own)
                rates = [multiply_adds(each) / value for value in own]
                rows.append(row(f"{base}_sparse_rate", "GMAC/s", rates))
            one, two = (times[f"{density}_t{threads}_sparse"] for threads in (1, 2))
            ratios[f"{name}_{density}_b{batch}{suffix}_t2_vs_t1"] = ratio(one, two)
    return rows, ratios


def sgemm(repeats: int) -> Row:
    """Multiply-adds of a float32 matrix product in numpy on one thread (OMP_NUM_THREADS=1), GMAC/s."""
    left = np.random.default_rng(0).normal(size=(768, 768)).astype(np.float32)
    seconds = time_in_turns({"sgemm": lambda: left @ left}, repeats=repeats)["sgemm"]
    return row("sgemm", "GMAC/s", [768**3 / value / 1e9 for value in seconds])


def resident() -> int:
    """Bytes of this process in memory."""
    pages = int(open("/proc/self/statm").read().split()[1])  # noqa: PTH123, SIM115
    return pages * os.sysconf("SC_PAGE_SIZE")


def one_load(engine: str, name: str) -> None:
    """In a process of its own: print seconds to load a 5 % card and answer one image, and the memory it took."""
    made = card(name, 0.05)
    load: Callable[[], Call]
    if engine == "sparse":
        load = partial(sparse_runner, made, 1)
    else:
        dense = Dense(name, made)
        dense.call(engine, 1)(fake_images(1, SIZE))  # imports the engine's packages
        load = partial(dense.call, engine, 1)
    before, start = resident(), time.perf_counter()
    load()(fake_images(1, SIZE))
    print(json.dumps({"seconds": time.perf_counter() - start, "bytes": resident() - before}))


def footprints(name: str, engines: Sequence[str], repeats: int) -> list[Row]:
    """Bytes on disk, resident memory and load time of a 5 % card by engine."""
    made, rows = card(name, 0.05, bits=16), list[Row]()
    dense = Dense(name, made)
    sizes = {"sparse": len(card_bytes(made)), "sparse_binary": len(card_bytes(card(name, 0.05, binary=True, bits=16)))}
    sizes |= {f"onnx_{precision}": len(model) for precision, model in dense.models.items()}
    rows += [row(f"{name}_d05_disk_{kind}", "bytes", [size, size]) for kind, size in sizes.items()]
    for engine in ("sparse", *engines):
        command = [sys.executable, "-m", "benchmarks.engines", "--load", engine, "--networks", name]
        lines = [subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(repeats)]
        found = [json.loads(line.splitlines()[-1]) for line in lines]
        rows.append(row(f"{name}_d05_load_{engine}", "s", [each["seconds"] for each in found]))
        rows.append(row(f"{name}_d05_memory_{engine}", "bytes", [each["bytes"] for each in found]))
    return rows


def limited(repeats: int) -> Results:
    """ResNet-18 with the sparse engine and OpenVINO limited to AVX2, in a process that starts with the limit."""
    command = [sys.executable, "-m", "benchmarks.engines", "--avx2", "--repeats", str(repeats)]
    done = subprocess.run(command, env=os.environ | AVX2_ONLY, stdout=subprocess.PIPE, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    return [Row(**each) for each in found["rows"]], found["ratios"]


def main() -> None:
    """Measure, print, save and draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=11, help="rounds (default 11)")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--batches", nargs="+", type=int, default=list(BATCHES))
    parser.add_argument("--no-compiled", action="store_true", help="without torch.compile, which takes minutes")
    parser.add_argument("--quick", action="store_true", help="ResNet-18 only, batch 1 and 32, 5 rounds, not compiled")
    parser.add_argument("--load", help=argparse.SUPPRESS)
    parser.add_argument("--avx2", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.load:
        return one_load(options.load, options.networks[0])
    if options.avx2:
        rows, ratios = measured("rn18", (1, 32), ("openvino_fp32", "openvino_int8"), options.repeats, "avx2")
        print(json.dumps({"rows": [vars(each) for each in rows], "ratios": ratios}))
        return None
    if options.quick:
        options.networks, options.batches, options.repeats, options.no_compiled = ["rn18"], [1, 32], 5, True
    engines = [engine for engine in DENSE if not (options.no_compiled and engine == "torch_compiled")]
    rows, ratios = [sgemm(options.repeats)], dict[str, float]()
    for name in options.networks:
        for found, more in [measured(name, options.batches, engines, options.repeats)]:
            rows, ratios = rows + found, ratios | more
        rows += footprints(name, [e for e in engines if not e.startswith("torch")], 2 if options.quick else 3)
    if "rn18" in options.networks:
        found, more = limited(options.repeats)
        rows, ratios = rows + found, ratios | more
    save("engines", rows, ratios, packages=("onnxruntime", "openvino", "torch"))
    draw(rows, RESULTS / "engines.svg")
    return None


if __name__ == "__main__":
    main()
