"""What a training cost: a task that counts epochs and multiply-adds, and measures accuracy where pruning left it.

Multiply-adds of a training step are those of the forward pass of the kept weights, times three: the gradients of
activations and of weights cost as much again each (Evci et al., ICML 2020, appendix H). Every image of every forward
pass counts, at the size it is trained at, also views of a consistency loss and steps of an attack. Dense gradients
that some methods look at now and then, ghost layers, and scores at initialisation are left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING, Any

from cards_deck.costs import layer_costs
from cards_deck.errors import InputError
from cards_deck.graph import Graph
from cards_deck.training.export import export_graph
from cards_deck.training.losses import training_loss
from cards_deck.training.recipe import Recipe, Workbench
from cards_deck.training.task import HookFactory, Task
from cards_deck.training.tickets.ticket import apply_masks

if TYPE_CHECKING:
    from torch import nn

    from cards_deck.training.forward import Forward
    from cards_deck.training.loop import Loss
    from cards_deck.training.schedule import Schedule

PASSES = 3  # forward, gradients of activations, gradients of weights
SELDOM = 10**9  # epochs between validations while training: only the last one has one
EVERY = 20  # steps between looks at how many weights are kept
Json = dict[str, Any]


@dataclass
class Stage:
    """One call of `Task.train`: `kept` weights at its end, `before` the accuracy that pruning left, where asked for.

    Of several prunings within the stage, the last.
    """

    name: str
    images: int = 0
    macs: int = 0
    kept: int = 0
    before: float | None = None


@dataclass
class Diary:
    """The stages of a method in their order."""

    pruned: bool = False  # whether to measure accuracy where weights are pruned and not yet trained again
    stages: list[Stage] = field(default_factory=list)

    def record(self, images: int) -> Json:
        """Plain values: epochs of `images` images, multiply-adds, accuracy before the last retraining, stages."""
        before = [stage.before for stage in self.stages if stage.before is not None]
        return {
            "epochs": round(sum(stage.images for stage in self.stages) / images, 3),
            "multiply_adds": sum(stage.macs for stage in self.stages),
            "before_retraining": before[-1] if before else None,
            "stages": [[stage.name, round(stage.images / images, 3), stage.kept] for stage in self.stages],
        }


@dataclass(frozen=True)
class ObservedTask(Task):
    """A task that writes down what it trains; the training itself is the same, bit for bit."""

    diary: Diary = field(default_factory=Diary)
    graph: Graph | None = None  # of the recipe's network, for networks that a card cannot hold

    def train(self, network: nn.Module, *, hooks: HookFactory = lambda optimizer: (), **options: Any) -> nn.Module:
        """As `Task.train`."""
        stage, last = Stage(options.get("stage", "train")), self.diary.stages[-1:]
        trained = _copy(network) if self.diary.pruned and last else {}
        meter = Meter(network, self._graph(network), stage, options.get("schedule") or self.schedule, self)

        def make(optimizer: Any) -> Sequence[Any]:
            made = list(hooks(optimizer))
            meter.follow(made)
            if trained and stage.kept < last[0].kept:
                stage.before = self._after_pruning(network, trained, masks_of(made))
            return [*made, meter]

        options["loss"] = meter.counted(options.get("loss") or training_loss)
        self.diary.stages.append(stage)
        result = super().train(network, hooks=make, **options)
        meter.look()
        if meter.pruned is not None:
            stage.before = self._accuracy_of(network, meter.pruned)
        return result

    def _graph(self, network: nn.Module) -> Graph:
        try:
            return export_graph(network)
        except InputError:
            assert self.graph is not None
            return self.graph

    def _after_pruning(self, network: nn.Module, trained: Mapping[str, Any], masks: Mapping[str, Any]) -> float:
        """Accuracy of the weights that the last stage left, under the new masks, before anything is rewound."""
        now = _copy(network)
        network.load_state_dict(trained)
        apply_masks(network, masks)
        pruned = _copy(network)
        network.load_state_dict(now)
        return self._accuracy_of(network, pruned)

    def _accuracy_of(self, network: nn.Module, state: Mapping[str, Any]) -> float:
        """Validation accuracy of `network` with this state; it keeps its own."""
        now = _copy(network)
        network.load_state_dict(state)
        accuracy = self.validate(network)
        network.load_state_dict(now)
        return round(accuracy, 6)


class Meter:
    """The step hook that counts; what it has counted travels with the checkpoint.

    `pruned` is the network as the last pruning within this stage left it, where the task asks for it.
    """

    def __init__(self, network: nn.Module, graph: Graph, stage: Stage, schedule: Schedule, task: ObservedTask) -> None:
        shapes = {name: tuple(value.shape) for name, value in network.state_dict().items()}
        self.full = int(task.images.shape[-1])
        self.stage, self.schedule, self.waiting = stage, schedule, 0
        self.hooks: Sequence[Any] = ()
        self.watched = network if task.diary.pruned else None
        self.pruned: dict[str, Any] | None = None

        @cache
        def costs(size: int) -> dict[str, tuple[int, int]]:
            layers = layer_costs(graph, {name: shapes[name] for name in graph.parameter_names}, size)
            return {layer.name: (layer.weights, layer.macs // layer.weights) for layer in layers}

        self.costs, self.kept = costs, {}  # type: ignore[var-annotated]

    def follow(self, hooks: Sequence[Any]) -> None:
        """Look at the masks of these hooks from now on."""
        self.hooks = hooks
        self.look()

    def look(self) -> None:
        """Count the weights that are kept."""
        masks = masks_of(self.hooks)
        self.kept = {
            name: int(masks[name].sum()) if name in masks else weights
            for name, (weights, _) in self.costs(self.full).items()
        }
        self.stage.kept = sum(self.kept.values())

    def counted(self, loss: Loss) -> Loss:
        """`loss`, with every image of every forward pass counted."""

        def counting(forward: Forward, *rest: Any) -> Any:
            first, *others = forward.parts

            def counted(images: Any) -> Any:
                self.waiting += len(images)
                return first(images)

            return loss(replace(forward, parts=(counted, *others)), *rest)

        return counting

    def on_gradients(self, step: int, steps: int) -> bool:
        """Count the step."""
        if step % EVERY == 0:
            self.look()
        size = self.schedule.size(step // max(steps // self.schedule.epochs, 1), self.full)
        macs = sum(self.kept[name] * places for name, (_, places) in self.costs(size).items())
        self.stage.macs += PASSES * macs * self.waiting
        self.stage.images += self.schedule.batch_size
        self.waiting = 0
        return False

    def after_step(self) -> None:
        """Keep the network where the other hooks have just pruned it."""
        if self.watched is None:
            return
        before = self.stage.kept
        self.look()
        if self.stage.kept < before:
            self.pruned = _copy(self.watched)

    def state_dict(self) -> Json:
        """What was counted, and the network as the last pruning left it."""
        return {"images": self.stage.images, "macs": self.stage.macs, "pruned": self.pruned}

    def load_state_dict(self, state: Json) -> None:
        """Restore it."""
        self.stage.images, self.stage.macs, self.pruned = state["images"], state["macs"], state.get("pruned")
        self.look()


def masks_of(hooks: Sequence[Any]) -> Mapping[str, Any]:
    """The masks of the first hook that has some."""
    found: Mapping[str, Any] = next((hook.masks for hook in hooks if hasattr(hook, "masks")), {})
    return found


@dataclass(frozen=True)
class ObservedBench(Workbench):
    """A workbench whose tasks are observed."""

    diary: Diary = field(default_factory=Diary)

    def _task(self, recipe: Recipe, parents: Sequence[str]) -> Task:
        task = super()._task(recipe, parents)
        graph = export_graph(self.build(recipe).cpu())
        progress = replace(task.progress, quiet=True, validate_every=SELDOM)
        values = {name: getattr(task, name) for name in task.__dataclass_fields__}
        return ObservedTask(**{**values, "progress": progress}, diary=self.diary, graph=graph)


def _copy(network: nn.Module) -> dict[str, Any]:
    return {name: value.detach().clone() for name, value in network.state_dict().items()}
