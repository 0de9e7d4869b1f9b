"""What masks cost a training step: the sparse methods beside the dense network, on one device.

A step is forward, backward and optimizer on one batch of 32x32 images, as in training. The candidates take turns, so
that each round has one ratio of each to the dense step. An update of `rigl`, `set` or `dst_ee` takes the place of one
step in its `interval`, which for `set` is an epoch of 45,000 images: its cost is that share of an update's ratio and
the rest of an ordinary masked step's. The hooks alone, without forward, backward and optimizer, are measured too: a
small cost drowns in the noise of whole steps.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import nn

from benchmarks.harness import ratio, row, save, time_in_turns
from cards_deck.training.augmentations.crop_flip import CropFlip
from cards_deck.training.forward import Forward
from cards_deck.training.loop import Run, StepHook
from cards_deck.training.losses import training_loss
from cards_deck.training.networks import Normalize, memory_format
from cards_deck.training.networks.resnet import ResNet
from cards_deck.training.schedule import Schedule
from cards_deck.training.tickets.allocation import random_masks
from cards_deck.training.tickets.biprop import Biprop, Signs
from cards_deck.training.tickets.dst_ee import DSTEE, AcquisitionGrowth
from cards_deck.training.tickets.dynamic import DropAndGrow, GradientGrowth, Growth, Moves, RandomGrowth
from cards_deck.training.tickets.edge_popup import EdgePopup
from cards_deck.training.tickets.masked import KeepMasked
from cards_deck.training.tickets.rigl import RigL
from cards_deck.training.tickets.scored import Choice, Effective, KeepScored, draw_scores, draw_weights
from cards_deck.training.tickets.set import SET
from cards_deck.training.tickets.ticket import Masks

DENSITY, CLASSES, SIZE, IMAGES = 0.1, 10, 32, 45_000
NETWORKS = {"starter": ResNet((16, 48, 128, 320), (1, 1, 1, 1)), "resnet18": ResNet()}
DENSE, MASKED = "dense step", "masked step"
MOVING = ("rigl", "set", "dst_ee")
Hooks = Callable[[nn.Module, torch.optim.SGD], Sequence[StepHook]]


def moving(kind: str, network: nn.Module, optimizer: torch.optim.SGD) -> list[StepHook]:
    """A hook that updates its masks at every step but the first, by the default share."""
    generator = torch.Generator().manual_seed(0)
    masks = random_masks(network, DENSITY, "erk", generator)
    return [DropAndGrow(network, masks, optimizer, growth(kind, masks, generator), Moves(1, RigL().drop_fraction))]


def growth(kind: str, masks: Masks, generator: torch.Generator) -> Growth:
    """Where the method `kind` grows."""
    if kind == "dst_ee":
        return AcquisitionGrowth(masks, DSTEE().exploration, DSTEE().epsilon)
    return RandomGrowth(generator) if kind == "set" else GradientGrowth()


def masked(network: nn.Module, optimizer: torch.optim.SGD) -> list[StepHook]:
    """Fixed masks."""
    return [KeepMasked(network, random_masks(network, DENSITY, "erk", torch.Generator().manual_seed(0)))]


def scored(
    settings: EdgePopup | Biprop, threshold: str, network: nn.Module, optimizer: torch.optim.SGD
) -> list[StepHook]:
    """Scores in place of weights."""
    generator = torch.Generator().manual_seed(0)
    draw_weights(network, settings, generator)
    choice = Choice(network, DENSITY, threshold, 0.0)
    effective = Signs() if isinstance(settings, Biprop) else Effective()
    return [KeepScored(network, draw_scores(network, generator), choice, effective, affine=False)]


CANDIDATES: dict[str, Hooks] = {
    DENSE: lambda network, optimizer: (),
    MASKED: masked,
    **{f"{kind} update": partial(moving, kind) for kind in MOVING},
    **{f"edge_popup step, {t}": partial(scored, EdgePopup(), t) for t in ("layer", "global")},
    **{f"biprop step, {t}": partial(scored, Biprop(), t) for t in ("layer", "global")},
}


def stepper(network: str, hooks: Hooks, batch: int, device: torch.device) -> tuple[Callable[[], None], ...]:
    """(a call that trains one step of a network of its own, a call that does only what its hooks do in a step)."""
    torch.manual_seed(0)
    built = NETWORKS[network].build(CLASSES, Normalize([0.5] * 3, [0.25] * 3))
    layout = memory_format(built)
    module = built.to(device).to(memory_format=layout).train()  # type: ignore[call-overload]
    run = Run.start(module, Schedule(learning_rate=1e-3))
    run.hooks = tuple(hooks(module, run.optimizer))
    images = torch.randint(256, (batch, 3, SIZE, SIZE), dtype=torch.uint8, device=device)
    labels = torch.randint(CLASSES, (batch,), device=device)
    generator = torch.Generator(device).manual_seed(0)
    taken = [0]

    def before() -> bool:
        taken[0] += 1
        claimed = [hook.on_gradients(taken[0], 1_000_000) for hook in run.hooks]
        return any(claimed)

    def after() -> None:
        for hook in run.hooks:
            hook.after_step()
        if device.type == "cuda":
            torch.cuda.synchronize()

    def step() -> None:
        loss = training_loss(Forward((module,), SIZE, layout), images, labels, CropFlip(), generator, 0.0)
        run.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if not before():
            run.optimizer.step()
        after()

    def alone() -> None:
        before()
        after()

    return step, alone


def main() -> None:
    """Measure, print and save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", choices=tuple(NETWORKS), default="starter", help="architecture (starter)")
    parser.add_argument("--batch", type=int, default=128, help="images in a step (128)")
    parser.add_argument("--repeats", type=int, default=25, help="rounds (25)")
    parser.add_argument("--device", default="cpu", help="torch device (cpu)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (1)")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    calls: dict[str, Callable[[], object]] = {}
    for name, hooks in CANDIDATES.items():
        calls[name], alone = stepper(options.network, hooks, options.batch, device)
        calls[name]()  # leaves gradients for the hooks alone
        if name != DENSE:
            calls[f"{name}, hooks alone"] = alone
    seconds = time_in_turns(calls, repeats=options.repeats)
    save("masks", [row(name, "ms", [1e3 * s for s in values]) for name, values in seconds.items()],
         ratios(seconds, options.batch), packages=("torch",))  # fmt: skip


def ratios(seconds: dict[str, list[float]], batch: int) -> dict[str, float]:
    """Each step of `batch` images against the dense one; updates with their share of all steps."""
    found = {f"{name} / dense": ratio(seconds[name], seconds[DENSE]) for name in seconds if name != DENSE}
    intervals = {"rigl": RigL().interval, "dst_ee": DSTEE().interval, "set": SET().interval or IMAGES // batch}
    for kind, interval in intervals.items():
        for part in ("", ", hooks alone"):
            rounds = zip(seconds[f"{kind} update{part}"], seconds[MASKED + part], seconds[DENSE], strict=True)
            mixed = [(update + (interval - 1) * step) / interval / dense for update, step, dense in rounds]
            found[f"{kind}, an update in {interval} steps{part} / dense"] = statistics.median(mixed)
    return found


if __name__ == "__main__":
    main()
