"""Attacks on the deck **through its gate**, at small radii: what an adversary who knows everything can do, measured.

White box: projected gradient descent on each route, for the gated route through cards and softened gate together, and
on the gate's choice and on its cost alone. Black box: the Square attack. Success is what the served path answers to
uint8 images. torch is imported when this suite measures, not before.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from cards_deck.errors import MissingExtraError
from cards_deck.inference.engines import EngineKind, available
from eval.attacks.judge import ROUTES, Found, Judge
from eval.cells import balanced_subset, ranks_by_pixels
from eval.suites._base import Json, register

if TYPE_CHECKING:
    from eval.context import Context

CLAIM = (
    "No adversarial robustness is claimed. These accuracies are upper bounds: an attack not listed here may find more "
    "wrong answers. Images stay uint8, so a radius below one grey level changes none of them: that row is the control."
)


@dataclass(frozen=True)
class AdversarialSuite:
    """PGD and Square at L-infinity radii in grey levels of 255, on a class-balanced subset of the test images.

    `steps` are PGD's gradients per image, `gate_steps` those on the gate's choice, `queries` Square's per image.
    """

    kind: ClassVar[str] = "adversarial"

    name: str = "adversarial"
    title: str = "Adversarial attacks through the gate"
    data: str = "cifar10"
    radii: tuple[float, ...] = (0.5, 1, 2)
    steps: int = 20
    gate_steps: int = 100
    queries: int = 200
    images: int = 256

    def measure(self, context: Context) -> Json:
        """See `Suite`. Raises MissingExtraError without torch."""
        if not available(EngineKind.TORCH):
            raise MissingExtraError("the adversarial suite needs gradients: pip install 'cards-deck[train]'")
        settings, test = context.settings, context.dataset("test")
        size = min(self.images if settings.subset is None else settings.subset, len(test))
        chosen = test.subset(balanced_subset(test.labels, ranks_by_pixels(test.images, settings.seed), size))
        choice = context.best_card
        judge = Judge(context, chosen, choice.place)
        attacks = list(self._attacks(context, judge))
        progress = context.progress(len(attacks) * len(chosen), self.name)
        found = []
        with _one_thread_each():
            for label, attack in attacks:
                found.append(attack())
                progress.add(len(chosen), label)
        return {
            "claim": CLAIM,
            "data": context.describe(test),
            "n": len(chosen),
            "source": "attacked",
            "best_card": choice.as_dict(context.deck),
            "cost": judge.cost(),
            "attacks": judge.rows(found),
        }

    def _attacks(self, context: Context, judge: Judge) -> Iterator[tuple[str, Callable[[], Found]]]:
        """(label, attack) of every attack at every radius."""
        for radius in self.radii:
            levels, label = math.floor(radius), f"{radius:g}/255"
            for route in ROUTES:
                yield f"pgd {route} {label}", self._pgd(context, judge, route, radius, levels)
                yield f"square {route} {label}", self._square(context, judge, route, radius, levels)
            for target in judge.targets:
                yield f"pgd {target} {label}", self._pgd(context, judge, target, radius, levels)

    def _pgd(self, context: Context, judge: Judge, target: str, radius: float, levels: int) -> Callable[[], Found]:
        def run() -> Found:
            from eval.attacks.pgd import pgd

            steps, settings = self.gate_steps if judge.by_spectrum_alone(target) else self.steps, context.settings
            aim, clean = judge.aim(target), judge.clean.images
            images = pgd(aim, clean, levels, steps=steps, seed=settings.seed, threads=settings.threads)
            return Found("pgd", target, radius, images, {"steps": steps})

        return run

    def _square(self, context: Context, judge: Judge, route: str, radius: float, levels: int) -> Callable[[], Found]:
        def run() -> Found:
            from eval.attacks.square import square

            settings = context.settings
            images = square(
                lambda images: judge.answer(images, route).probabilities,
                judge.clean.images,
                judge.clean.labels,
                levels,
                queries=self.queries,
                seed=settings.seed,
                threads=settings.threads,
            )
            return Found("square", route, radius, images, {"queries": self.queries})

        return run


@contextlib.contextmanager
def _one_thread_each() -> Iterator[None]:
    """torch's own threads off: attacks run chunk by chunk in threads of theirs, with the same numbers for any count."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


register(AdversarialSuite())
