"""ms per image of every engine: three networks, five densities, three batch sizes, one and two threads.

Each network has a process of its own, in which all engines take turns: a round has every engine once, and ratios are
taken within the round, so that a busy machine slows all alike. The others compute with the zeros: they are timed once
and compared with the sparse engine at every density. Weights are random, masks spread what they keep evenly. ResNet-18
is measured again with AVX2 only (`_avx2`), without ONNX Runtime, which cannot be told to leave AVX-512 alone.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from benchmarks.engine_cards import NETWORKS, card
from benchmarks.engine_plot import write_plot
from benchmarks.engine_rounds import Json
from benchmarks.engine_runners import DENSE, OPENVINO
from benchmarks.engine_table import write_table
from benchmarks.engine_worker import Settings
from benchmarks.harness import RESULTS
from cards_deck.card import card_bytes
from cards_deck.machine import package_versions
from eval.provenance import ROOT, provenance

DENSITIES, BATCHES = (1.0, 0.2, 0.1, 0.05, 0.02), (1, 8, 32)
PROBED = 0.05  # density of the sparse and binary cards whose loading is measured
PACKAGES = ("openvino", "onnxruntime", "torch")
VALUES = {"none": "float32", "fp16": "float16", "int8": "int8", "binary": "sign"}
AVX2 = {"CARDS_DECK_SIMD": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}
WITHIN = 1800.0  # seconds for one process
NOTES = {
    "ratios": "how many times faster the sparse engine is: the median over rounds of the ratio within the round",
    "sparse": "float32 values; densities below 1 have evenly random masks, the same density in every layer",
    "sparse_binary": "kept weights +-1 times a scale, no stored values",
    "ort": "threads do not spin; no switch limits it to AVX2, so it is not in the rows of that instruction set",
    "openvino": "shapes fixed, one stream, float32 stays float32",
    "torch_eager": "the network as trained, channels last, batch norms not folded",
    "torch_compiled": "torch.compile(dynamic=True), frozen; compiled within a time limit, see `skipped`",
    "int8": "weights and activations of 8 bits; per channel, codes from -64 to 64",
    "gflops": "two for each useful multiply-add: those of kept weights, of all weights in engines that ignore zeros",
    "share_of_peak": "of a C loop of multiply-adds in registers in the same round, threads and instruction set; what "
    "bounds the rest is in cards_deck/inference/engines/_sparse: loads (accumulate.h) and, on two threads with one "
    "image, what they exchange (run_shared in network.c), which depends on where a host puts its processors",
    "loading": "from the card in memory to the first answer on one thread, and the resident bytes that stay",
}


def main() -> None:
    """Measure, print and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="ratios of ResNet-18 at 5 and 10 %%, batch 1 and 32, only")
    parser.add_argument("--seconds", type=float, help="of rounds per network and batch size (default 15, quick 30)")
    parser.add_argument("--compile", type=float, default=240.0, help="seconds for torch.compile in all (default 240)")
    parser.add_argument("--out", type=Path, help="default benchmarks/results/engines.json, quick: benchmarks/cache")
    options = parser.parse_args()
    quick = RESULTS.parent / "cache" / "engines-quick.json"
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        run = Run(Path(folder), options.seconds or (30.0 if options.quick else 15.0), options.compile)
        found = run.all(quick=options.quick)
    save(options.out or (quick if options.quick else RESULTS / "engines.json"), found, time.perf_counter() - start)


class Run:
    """Starts the workers, one after the other, and collects what they found."""

    def __init__(self, folder: Path, seconds: float, compile_seconds: float) -> None:
        self.folder, self.seconds, self.compile_seconds = folder, seconds, compile_seconds
        self.found: Json = {}
        self._threads = (1, 2) if len(os.sched_getaffinity(0)) > 1 else (1,)

    def all(self, *, quick: bool) -> Json:
        """Everything; quick: neither PyTorch compiled, nor AVX2 only, nor files and loading."""
        networks = ("rn18",) if quick else ("rn18", "rn20", "rn18w128")
        densities, batches = ((0.1, 0.05), (1, 32)) if quick else (DENSITIES, BATCHES)
        engines = tuple(name for name in DENSE if not (quick and name == "torch_compiled"))
        for place, name in enumerate(networks):
            limit = self._compile_left() / (len(networks) - place)
            self._measure(Settings(name, "", densities, batches, self._threads, engines, "", self.seconds, limit), {})
        if quick:
            return self.found
        avx2 = (*OPENVINO, "torch_eager")
        self._measure(Settings("rn18", "", densities, batches, self._threads, avx2, "_avx2", self.seconds), AVX2)
        for name in networks:
            self._files(name)
            self._loading(name)
        return self.found

    def _compile_left(self) -> float:
        spent = [float(each["seconds"]) for each in self.found.get("compile_seconds", ())]
        return self.compile_seconds - sum(spent)

    def _measure(self, settings: Settings, environment: Mapping[str, str]) -> None:
        for key, value in self._worker(settings, environment).items():
            kept = self.found.setdefault(key, type(value)())
            kept.update(value) if isinstance(kept, dict) else kept.extend(value)

    def _files(self, network: str) -> None:
        """Bytes of the cards' files, which stay in the folder; `benchmarks.storage` has more densities."""
        for density, kind in ((PROBED, "none"), (PROBED, "fp16"), (PROBED, "binary"), (1.0, "none"), (1.0, "int8")):
            data = card_bytes(card(network, density, kind))
            self._file(density, kind).write_bytes(data)
            size = {"network": network, "density": density, "values": VALUES[kind], "bytes": len(data)}
            self.found.setdefault("files", []).append(size)
        print(f"== {network}: files", flush=True)

    def _file(self, density: float, kind: str) -> Path:
        return self.folder / f"{density}-{kind}"

    def _loading(self, network: str) -> None:
        """What loading takes in each engine; compiling is measured with the rounds."""
        for engine in ("sparse", "sparse_binary", *(name for name in DENSE if name != "torch_compiled")):
            kind = next((name for name in ("int8", "binary") if engine.endswith(name)), "none")
            path = self._file(PROBED if engine.startswith("sparse") else 1.0, kind)
            found = self._worker(Settings(network, "", probe=engine, card=str(path)), {})
            self.found.setdefault("loading", []).append(found)
        print(f"== {network}: loading", flush=True)

    def _worker(self, settings: Settings, environment: Mapping[str, str]) -> Json:
        out = self.folder / "out.json"
        text = json.dumps(asdict(settings) | {"out": str(out)})
        own = {"OMP_NUM_THREADS": str(max(self._threads)), "TORCHINDUCTOR_FREEZING": "1"}
        own |= {"TORCHINDUCTOR_CACHE_DIR": str(self.folder / "inductor")}
        command = [sys.executable, "-m", "benchmarks.engine_worker", text]
        subprocess.run(command, check=True, cwd=ROOT, env=os.environ | own | dict(environment), timeout=WITHIN)
        found: Json = json.loads(out.read_text())
        return found


def save(path: Path, found: Json, seconds: float) -> None:
    """Print the ratios and write all of it, and the plot beside it."""
    spreads = found.pop("ratios")
    for name, value in spreads.items():
        print(f"{name:50} {value['median']:8.4g} [{value['low']:.4g}, {value['high']:.4g}]")
    made = provenance([Path(sys.executable).name, "-m", "benchmarks.engines", *sys.argv[1:]])
    made["versions"].update(package_versions(PACKAGES))
    made |= {"simd": found["rows"][0]["simd"], "seconds": round(seconds)}
    content = {
        "rows": found.pop("rows"),
        "ratios": {name: value["median"] for name, value in spreads.items()},
        "ratio_quartiles": {name: [value["low"], value["high"]] for name, value in spreads.items()},
        **found,
        "networks": {name: {"widths": net.widths, "blocks": net.blocks} for name, net in NETWORKS.items()},
        "notes": NOTES,
        "provenance": made,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".part")
    partial.write_text(json.dumps(content, indent=1) + "\n")
    partial.replace(path)
    write_plot(content, path.with_suffix(".svg"))
    write_table(content, path.with_suffix(".md"))
    print(f"== wrote {path}, and {path.stem}.svg and .md beside it, in {seconds:.0f} s")


if __name__ == "__main__":
    main()
