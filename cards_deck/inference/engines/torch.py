"""PyTorch, layer by layer: the reference that the other engines are compared with. Imported only on demand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from cards_deck.card import Card
from cards_deck.errors import InputError
from cards_deck.graph import Node
from cards_deck.spectrum import Floats, Images


class TorchNetwork:
    """A card as differentiable functions of float images [n, 3, h, w] in [0, 1]."""

    def __init__(self, card: Card, device: str | torch.device = "cpu") -> None:
        self.graph, self.mirrored = card.graph, card.mirrored
        self.device = torch.device(device)
        self.tensors = {name: torch.tensor(array, device=self.device) for name, array in card.tensors.items()}

    def logits(self, images: Tensor) -> Tensor:
        """float [n, 3, h, w] in [0, 1] -> logits [n, classes]; gradients flow to the images."""
        return self._until(images, self.graph.output)

    def features(self, images: Tensor) -> Tensor:
        """float [n, 3, h, w] in [0, 1] -> what the last layer reads, [n, d] in the usual networks."""
        last = next(node for node in self.graph.nodes if node.output == self.graph.output)
        return self._until(images, last.inputs[0])

    def values(self, images: Tensor, until: str | None = None) -> dict[str, Tensor]:
        """float [n, 3, h, w] in [0, 1] -> every value of the graph by name, at least up to `until`."""
        values = {self.graph.input: images.flip(3) if self.mirrored else images}
        for node in self.graph.nodes:
            if until in values:
                break
            params = {role: self.tensors[name] for role, name in node.params.items()}
            values[node.output] = _apply(node, [values[name] for name in node.inputs], params)
        return values

    def _until(self, images: Tensor, wanted: str) -> Tensor:
        return self.values(images, wanted)[wanted]


class TorchRunner:
    """uint8 images in, logits out, on the network's device."""

    def __init__(self, network: TorchNetwork) -> None:
        self.network = network

    def __call__(self, images: Images) -> Floats:
        """Logits float32 [n, classes] of uint8 [n, h, h, 3]."""
        return self._numpy(self.network.logits, images)

    def features(self, images: Images) -> Floats:
        """Penultimate features float32 [n, d] of uint8 [n, h, h, 3]."""
        return self._numpy(self.network.features, images)

    def _numpy(self, function: Any, images: Images) -> Floats:
        with torch.inference_mode():
            pixels = torch.from_numpy(np.array(images)).to(self.network.device)
            planes = pixels.permute(0, 3, 1, 2).contiguous().float().div(255)
            answer: Floats = function(planes).cpu().numpy()
        return answer


def load(card: Card, *, image_size: int, threads: int) -> TorchRunner:
    """A runner on the CPU. PyTorch's threads belong to the whole process, so `threads` does not change them here."""
    return TorchRunner(TorchNetwork(card))


def _apply(node: Node, inputs: list[Tensor], params: Mapping[str, Tensor]) -> Tensor:
    attrs: Mapping[str, Any] = node.attrs
    x = inputs[0]
    match node.op:
        case "normalize":
            mean, std = (torch.tensor(attrs[key], device=x.device).view(1, 3, 1, 1) for key in ("mean", "std"))
            return (x - mean) / std
        case "conv2d":
            return functional.conv2d(x, params["weight"], params.get("bias"), **attrs)
        case "batch_norm":
            running = params["running_mean"], params["running_var"]
            weight, bias = params.get("weight"), params.get("bias")
            return functional.batch_norm(x, *running, weight, bias, training=False, eps=attrs["eps"])
        case "relu":
            return functional.relu(x)
        case "silu":
            return functional.silu(x)
        case "add":
            return x + inputs[1]
        case "max_pool":
            return functional.max_pool2d(x, attrs["kernel"], attrs["stride"], attrs["padding"])
        case "avg_pool":
            return functional.avg_pool2d(x, attrs["kernel"], attrs["stride"])
        case "global_avg_pool":
            return x.mean(dim=(2, 3))
        case "flatten":
            return x.flatten(1)
        case "linear":
            return functional.linear(x, params["weight"], params.get("bias"))
        case _:
            raise InputError(f"the torch engine has no {node.op}: choose the onnx engine, or add it to {__name__}")
