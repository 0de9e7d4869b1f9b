"""A network made softer while it trains, and hard again: soft activations and ghost skips (Jaiswal et al., ICML 2022).

`soften` rewrites the graph of a network around its own layers, whose weights both share: every ReLU becomes
x * sigmoid(beta * x), and around every convolution that keeps its place, but the stem, there is a ghost skip, a strided
1x1 convolution with batch-norm, scaled by alpha. `Softness` sets beta and alpha for the whole network. When it is over,
ReLU is computed and the ghosts are left out: what the network answers is what its own layers answer.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx, nn

from cards_deck.training.export import Tracer

GHOST_WEIGHT = 1e-4  # published code: what the ghosts' weights are filled with
RELUS = (torch.relu, nn.functional.relu)


class Softness:
    """How soft the network is; one for all of its layers, and for a copy of them that averages their weights.

    After a share t of the annealing the ghosts count alpha = 1 - t and the activations have beta / (1 - t): their
    largest distance to ReLU, 0.2785 / beta, falls along a line to nothing.
    """

    def __init__(self, beta: float, device: torch.device) -> None:
        self.first = beta
        # Tensors, so that a compiled network need not be compiled for each value.
        self.beta, self.alpha = torch.tensor(beta, device=device), torch.ones((), device=device)
        self.over = False

    def anneal(self, share: float) -> None:
        """Set what holds after `share` of the annealing; from 1 on, it is over."""
        self.over = share >= 1
        if not self.over:
            self.beta.fill_(self.first / (1 - share))
            self.alpha.fill_(1 - share)

    def __deepcopy__(self, memo: dict[int, Any]) -> Softness:
        return self


class SoftReLU(nn.Module):
    """PSwish, x * sigmoid(beta * x): Swish at beta = 1, ReLU in the limit and when annealing is over."""

    def __init__(self, softness: Softness) -> None:
        super().__init__()
        self.softness = softness

    def forward(self, x: Tensor) -> Tensor:
        """Any shape."""
        if self.softness.over:
            return torch.relu(x)
        return x * torch.sigmoid(self.softness.beta * x)


class Ghost(nn.Module):
    """Adds a 1x1 convolution of a convolution's input, batch-normalised and scaled, to its (normalised) output."""

    def __init__(self, convolution: nn.Conv2d, softness: Softness) -> None:
        super().__init__()
        self.stride, self.softness = convolution.stride, softness
        self.conv = nn.Conv2d(convolution.in_channels, convolution.out_channels, 1, bias=False)
        self.norm = nn.BatchNorm2d(convolution.out_channels)
        nn.init.constant_(self.conv.weight, GHOST_WEIGHT)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Input [n, c, h, w] and output [n, d, h / stride, w / stride] of the convolution -> the output's shape."""
        if self.softness.over:
            return y
        # Picked by hand rather than by a stride: see `networks.memory_format`.
        picked = x[:, :, :: self.stride[0], :: self.stride[1]]
        ghost: Tensor = self.norm(self.conv(picked))
        return y + self.softness.alpha * ghost


def soften(network: nn.Module, beta: float) -> tuple[fx.GraphModule, Softness]:
    """Return the soft network, whose state holds `network`'s own under the same names, and what anneals it.

    Ghosts are laid around convolutions that are wider than 1x1 and keep the place of a pixel (padding = half the
    kernel), as shortcuts and linear layers need none; the stem has none. They are added after the batch-norm that
    follows the convolution, where one does, as published.
    """
    device = next(network.parameters()).device
    softness = Softness(beta, device)
    graph, modules = Tracer().trace(network), dict(network.named_modules())
    soft = fx.GraphModule(network, graph)
    soft.add_module("soft_relu", SoftReLU(softness))
    called = [node for node in graph.nodes if node.op == "call_module"]
    for node in list(graph.nodes):
        if _is_relu(node, modules):
            _replace(graph, node, "soft_relu", node.args[0])
    _, *behind = [node for node in called if isinstance(modules[node.target], nn.Conv2d)]
    for node in behind:
        if not _has_ghost(modules[node.target]):
            continue
        name = f"ghost_{str(node.target).replace('.', '_')}"
        soft.add_module(name, Ghost(modules[node.target], softness).to(device))
        end = _normalised(node, modules)
        with graph.inserting_after(end):
            added = graph.call_module(name, (node.args[0], end))
        end.replace_all_uses_with(added)
        added.update_arg(1, end)
    graph.lint()
    soft.recompile()
    return soft, softness


def _is_relu(node: fx.Node, modules: dict[str, nn.Module]) -> bool:
    if node.op == "call_module":
        return isinstance(modules[str(node.target)], nn.ReLU)
    return node.op == "call_function" and node.target in RELUS


def _has_ghost(module: nn.Conv2d) -> bool:
    if module.kernel_size == (1, 1) or isinstance(module.padding, str):
        return False
    return all(2 * padding == side - 1 for padding, side in zip(module.padding, module.kernel_size, strict=True))


def _normalised(convolution: fx.Node, modules: dict[str, nn.Module]) -> fx.Node:
    """The batch-norm that alone reads the convolution, or else the convolution itself."""
    readers = list(convolution.users)
    alone = len(readers) == 1 and readers[0].op == "call_module"
    return readers[0] if alone and isinstance(modules[str(readers[0].target)], nn.BatchNorm2d) else convolution


def _replace(graph: fx.Graph, node: fx.Node, name: str, argument: Any) -> None:
    with graph.inserting_after(node):
        node.replace_all_uses_with(graph.call_module(name, (argument,)))
    graph.erase_node(node)
