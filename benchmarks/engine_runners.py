"""Every engine that is compared, each at its best: OpenVINO with fixed shapes, PyTorch channels last.

Threads: ONNX Runtime's and OpenVINO's belong to the loaded network, PyTorch's to the process, set before its turn.
ONNX Runtime's do not spin between layers, as in the server.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.engine_cards import SIZE, card, channels_last, module
from benchmarks.engine_peak import Peak
from benchmarks.engine_rounds import PEAK, Call, Candidate
from cards_deck.card import Card
from cards_deck.costs import card_costs
from cards_deck.inference.engines import EngineKind, Runner, available, load
from cards_deck.inference.fake_deck import fake_images
from cards_deck.spectrum import Images

PRECISIONS = {"fp32": "none", "int8": "int8"}
ONNX = ("ort_fp32", "ort_int8")
OPENVINO = ("openvino_fp32", "openvino_int8")
TORCH = ("torch_eager", "torch_compiled")
BINARY = 0.05  # density of the binary card
DENSE = (*ONNX, *OPENVINO, *TORCH)  # their time does not depend on the density


class Runners:
    """A network in all engines, loaded once where they take any batch size.

    `skipped` says why an engine is missing; `errors` how far the sparse engine's logits are from PyTorch's at each
    density, as a share of their range.
    """

    def __init__(
        self, network: str, densities: Iterable[float], threads: Iterable[int], *, engines: Iterable[str],
        compile_seconds: float,
    ) -> None:  # fmt: skip
        self.network, self.densities, self.threads = network, tuple(densities), tuple(threads)
        self.skipped: dict[str, str] = {}
        self.errors: dict[tuple[str, float], float] = {}
        self.compile_times: dict[str, float] = {}
        self._compile_seconds = compile_seconds
        self._engines = [name for name in engines if self._installed(name)]
        self._peak = Peak()
        self._sparse = list(self._loaded_sparse())
        self._cards = {kind: card(network, kind=name) for kind, name in PRECISIONS.items()}
        self._macs = card_costs(self._cards["fp32"], SIZE).macs
        self._onnx = {
            (name, n): load(self._card(name), EngineKind.ONNX, image_size=SIZE, threads=n)
            for name in ONNX if name in self._engines for n in self.threads
        }  # fmt: skip
        self._module = channels_last(module(network))
        self._compiled = torch.compile(partial(answer, self._module), dynamic=True)

    def _card(self, engine: str) -> Card:
        return self._cards[engine.rpartition("_")[2]]

    def _installed(self, engine: str) -> bool:
        package = {"ort": "onnxruntime", "openvino": "openvino", "torch": "torch"}[engine.partition("_")[0]]
        if importlib.util.find_spec(package) is None:
            self.skipped[engine] = f"{package} is not installed"
        return engine not in self.skipped

    def _loaded_sparse(self) -> Iterator[tuple[str, float, int, Runner, int]]:
        """(name, density, threads, runner, multiply-adds for an image); binary weights at BINARY only."""
        if not available(EngineKind.SPARSE):
            raise SystemExit("the sparse engine is not compiled: python -m cards_deck.inference.engines._sparse.build")
        images = fake_images(2, SIZE)
        kinds = [("sparse", density, "none") for density in self.densities]
        kinds += [("sparse_binary", BINARY, "binary")] if BINARY in self.densities else []
        for name, density, kind in kinds:
            made = card(self.network, density, kind)
            macs = card_costs(made, SIZE).macs_executed
            expected = load(made, EngineKind.TORCH, image_size=SIZE)(images)
            for n in self.threads:
                runner = load(made, EngineKind.SPARSE, image_size=SIZE, threads=n)
                off = float(np.abs(runner(images) - expected).max()) / float(np.ptp(expected))
                self.errors[name, density] = max(off, self.errors.get((name, density), 0.0))
                yield name, density, n, runner, macs

    def candidates(self, batch: int) -> list[Candidate]:
        """All that take turns at a batch size, the measured peak among them."""
        images = fake_images(batch, SIZE)
        dense = 2.0 * batch * self._macs
        found = [Candidate(PEAK, None, n, partial(self._peak, n), self._peak.flop(n)) for n in self.threads]
        for name, density, n, runner, macs in self._sparse:
            found.append(Candidate(name, density, n, partial(runner, images), 2.0 * batch * macs))
        for (name, n), runner in self._onnx.items():
            found.append(Candidate(name, None, n, partial(runner, images), dense))
        for n in self.threads:
            for name in (name for name in OPENVINO if name in self._engines):
                found.append(Candidate(name, None, n, openvino_call(self._card(name), images, n), dense))
            found += self._torch(images, n, dense)
        return found

    def _torch(self, images: Images, threads: int, flop: float) -> list[Candidate]:
        found = []
        pixels = torch.from_numpy(images)
        ready = partial(torch.set_num_threads, threads)
        if "torch_eager" in self._engines:
            call = partial(infer, partial(answer, self._module), pixels)
            found.append(Candidate("torch_eager", None, threads, call, flop, ready))
        if "torch_compiled" in self._engines:
            call = partial(infer, self._compiled, pixels)
            label = f"batch {len(images)}, {threads} threads"
            if self._compiles(ready, call, label):
                found.append(Candidate("torch_compiled", None, threads, call, flop, ready))
        return found

    def _compiles(self, ready: Call, call: Call, label: str) -> bool:
        """Whether PyTorch compiled the network, within the time set for all batch sizes and threads together."""
        spent = sum(self.compile_times.values())
        if spent >= self._compile_seconds:
            limit = f"the {self._compile_seconds:.0f} s set for compiling were used up"
            self.skipped[f"torch_compiled, {label}"] = f"{limit} after {spent:.0f} s"
            return False
        start = time.perf_counter()
        try:
            ready()
            call()
        except Exception as error:  # a missing compiler or header comes in many shapes
            self.skipped[f"torch_compiled, {label}"] = f"{type(error).__name__}: {str(error).splitlines()[0]:.200}"
            self.compile_times[label] = self._compile_seconds  # it would fail again
            return False
        self.compile_times[label] = time.perf_counter() - start
        return True


def openvino_call(made: Card, images: Images, threads: int) -> Call:
    """A call of OpenVINO on the card's ONNX model with the shape of `images` fixed."""
    import openvino

    from cards_deck.inference.engines.onnx import build_model

    core = openvino.Core()
    model = core.read_model(build_model(made, SIZE).SerializeToString())
    model.reshape(list(images.shape))
    options = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    request = core.compile_model(model, "CPU", options).create_infer_request()
    return partial(request.infer, {0: images})


def answer(network: nn.Module, pixels: Tensor) -> Tensor:
    """Logits of uint8 [n, h, h, 3]."""
    logits: Tensor = network(pixels.permute(0, 3, 1, 2).float().div(255))
    return logits


def infer(function: Callable[[Tensor], Tensor], pixels: Tensor) -> Tensor:
    """Call it without gradients."""
    with torch.inference_mode():
        return function(pixels)
