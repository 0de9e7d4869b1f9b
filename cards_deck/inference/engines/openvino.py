"""OpenVINO on the CPU: the ONNX engine's model, float32 or int8, in another runtime. Needs the extra `openvino`."""

from __future__ import annotations

import threading

import numpy as np
import openvino

from cards_deck.card import Card
from cards_deck.inference.engines.onnx import build_model
from cards_deck.spectrum import Floats, Images


class OpenVinoRunner:
    """A compiled model; each call at a time has an inference request of its own."""

    def __init__(self, model: openvino.CompiledModel) -> None:
        self._model = model
        self._free: list[openvino.InferRequest] = []
        self._lock = threading.Lock()

    def __call__(self, images: Images) -> Floats:
        """Logits float32 [n, classes] of uint8 [n, h, h, 3]."""
        with self._lock:
            request = self._free.pop() if self._free else self._model.create_infer_request()
        answer: Floats = np.array(request.infer({0: np.ascontiguousarray(images)})[0], np.float32)
        with self._lock:
            self._free.append(request)
        return answer


def load(card: Card, *, image_size: int, threads: int) -> OpenVinoRunner:
    """A model that takes any number of images."""
    return OpenVinoRunner(compiled(build_model(card, image_size).SerializeToString(), threads))


def compiled(model: bytes, threads: int) -> openvino.CompiledModel:
    """An ONNX model for the CPU. float32 stays float32: newer CPUs would use bfloat16 by themselves."""
    core = openvino.Core()
    options = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    return core.compile_model(core.read_model(model), "CPU", options)
