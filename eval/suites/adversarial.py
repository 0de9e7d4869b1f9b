"""Attacks on the deck **through its gate**, at small radii: what an adversary who knows everything can do, measured.

White box: projected gradient descent on each route, for the gated route through cards and softened gate together, and
on the gate's choice alone. Black box: the Square attack. Success is what the served path answers to uint8 images.
torch is imported when this suite measures, not before.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from cards_deck.data import Dataset
from cards_deck.errors import MissingExtraError
from cards_deck.inference.engines import EngineKind, available
from cards_deck.inference.gate import SpectralGate
from cards_deck.inference.predictor import Prediction, Predictor
from cards_deck.spectrum import Floats, Images
from eval.cells import balanced_subset, ranks_by_pixels
from eval.context import Context
from eval.metrics import intervals
from eval.suites._base import Json, register

ROUTES = ("gated", "uniform", "best_card")
CLAIM = (
    "No adversarial robustness is claimed. These accuracies are upper bounds: an attack that these rows do not hold may "
    "find more wrong answers. Images stay uint8, so a radius below one grey level changes no image: that row is the "
    "control."
)


@dataclass(frozen=True)
class Found:
    """The images that one attack made. `target` is the route it wanted wrong, or "gate"; `radius` in grey levels."""

    attack: str
    target: str
    radius: float
    images: Images
    budget: dict[str, int]


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
            "attacks": judge.rows(found),
        }

    def _attacks(self, context: Context, judge: Judge) -> Iterator[tuple[str, Callable[[], Found]]]:
        """(label, attack) of every attack at every radius."""
        for radius in self.radii:
            levels, label = math.floor(radius), f"{radius:g}/255"
            for route in ROUTES:
                yield f"pgd {route} {label}", self._pgd(context, judge, route, radius, levels)
                yield f"square {route} {label}", self._square(context, judge, route, radius, levels)
            if judge.has_choice:
                yield f"pgd gate {label}", self._pgd(context, judge, "gate", radius, levels)

    def _pgd(self, context: Context, judge: Judge, target: str, radius: float, levels: int) -> Callable[[], Found]:
        def run() -> Found:
            from eval.attacks.pgd import pgd

            steps, settings = self.gate_steps if target == "gate" else self.steps, context.settings
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


class Judge:
    """The served path: says what every route answers to attacked images."""

    def __init__(self, context: Context, clean: Dataset, best_card: int) -> None:
        self.context, self.clean = context, clean
        self.predictor: Predictor = context.predictor
        cards = len(context.deck.cards)
        alone = np.eye(cards, dtype=np.float32)[best_card]
        self.weights: dict[str, Floats] = {"uniform": np.full(cards, 1 / cards, np.float32), "best_card": alone}
        self.before = {route: self.answer(clean.images, route) for route in ROUTES}
        gate = self.predictor.gate
        self.has_choice = isinstance(gate, SpectralGate) and len(gate.references.augmentations) > 1

    def answer(self, images: Images, route: str) -> Prediction:
        """What the route answers to uint8 [n, h, h, 3]."""
        return self.predictor.predict(images, weights=self.weights.get(route))

    def aim(self, target: str) -> Any:
        """What PGD wants of a route, or of the gate (imports torch)."""
        from eval.attacks import aims, smooth

        gate, labels = self.predictor.gate, self.clean.labels
        if target == "gate":
            assert isinstance(gate, SpectralGate)
            return aims.OtherChoice(smooth.SmoothGate(gate), gate, self.before["gated"].choice)
        deck = smooth.SmoothDeck(self.context.deck, gate)
        if target == "gated":
            return aims.WrongThroughTheGate(deck, gate, labels)
        return aims.WrongAtFixedWeights(deck, self.weights[target], labels)

    def rows(self, found: list[Found]) -> list[Json]:
        """The JSON of every attack, and per radius and route of all of them together."""
        after = [{route: self.answer(one.images, route) for route in ROUTES} for one in found]
        rows = [self._row(one, answers) for one, answers in zip(found, after, strict=True)]
        for radius in sorted({one.radius for one in found}):
            same = [answers for one, answers in zip(found, after, strict=True) if one.radius == radius]
            rows += [self._together(radius, route, [answers[route] for answers in same]) for route in ROUTES]
        return rows

    def _row(self, found: Found, after: dict[str, Prediction]) -> Json:
        route = "gated" if found.target == "gate" else found.target
        changed = after["gated"].choice != self.before["gated"].choice
        others = [other for other in ROUTES if other != route]
        row = self._head(found.attack, found.target, found.radius, route) | found.budget
        row["accuracy"] = self._interval(self._right(after[route]))
        row["transfer"] = {other: self._interval(self._right(after[other])) for other in others}
        used = np.count_nonzero(after["gated"].weights, axis=1)
        row |= {"choice_changed": _share(changed), "cards_per_image": _share(used), "most_cards": int(used.max())}
        if found.target == "gate":
            pairs = (("clean_accuracy", self.before["gated"]), ("accuracy", after["gated"]))
            values = {name: _share(self._right(answer)[changed]) if changed.any() else None for name, answer in pairs}
            row["where_changed"] = {"n": int(changed.sum()), **values}
        return row

    def _together(self, radius: float, route: str, answers: list[Prediction]) -> Json:
        """An image counts as right where no attack at this radius, whatever its target, made the route wrong."""
        right = np.logical_and.reduce([self._right(answer) for answer in [self.before[route], *answers]])
        return self._head("all", route, radius, route) | {"accuracy": self._interval(right)}

    def _head(self, attack: str, target: str, radius: float, route: str) -> Json:
        return {
            "attack": attack,
            "target": target,
            "eps": round(radius / 255, 6),
            "radius": f"{Fraction(radius).limit_denominator(10) if radius % 1 else int(radius)}/255",
            "grey_levels": math.floor(radius),
            "n": len(self.clean),
            "clean_accuracy": self._interval(self._right(self.before[route])),
        }

    def _right(self, answer: Prediction) -> NDArray[np.bool_]:
        return np.asarray(answer.labels == self.clean.labels)

    def _interval(self, right: NDArray[np.bool_]) -> Json:
        settings = self.context.settings
        values = right[:, None].astype(np.float64)
        return intervals(values, resamples=settings.resamples, seed=settings.seed)[0].as_dict()


def _share(values: NDArray[Any]) -> float:
    return round(float(values.mean()), 6)


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
