"""The served path as the judge of attacks: what every route answers to the images that an attack made."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cards_deck.data import Dataset
from cards_deck.inference.gates import SpectralGate
from cards_deck.inference.predictor import Prediction, Predictor
from cards_deck.spectrum import Floats, Images
from eval.metrics import intervals

if TYPE_CHECKING:
    from eval.context import Context

Json = dict[str, Any]

ROUTES = ("gated", "uniform", "best_card")
# Kinds whose first cards the spectrum names.
READ_SPECTRA = (
    "softmax", "router", "reliability", "spectrum_cascade", "hedged_cascade", "guarded_cascade", "refereed_cascade",
)  # fmt: skip
# Kinds that may run fewer cards than the limit.
VARY_COST = (*READ_SPECTRA, "cascade")


@dataclass(frozen=True)
class Found:
    """The images that one attack made. `target` is the route it wanted wrong, or "gate" or "cost", as in
    `Judge.targets`; `radius` in grey levels."""

    attack: str
    target: str
    radius: float
    images: Images
    budget: dict[str, int]


class Judge:
    """The served path: says what every route answers to attacked images."""

    def __init__(self, context: Context, clean: Dataset, best_card: int) -> None:
        self.context, self.clean = context, clean
        self.predictor: Predictor = context.predictor
        cards, among = len(context.deck.cards), context.deck.originals
        even, alone = np.zeros(cards, np.float32), np.eye(cards, dtype=np.float32)[best_card]
        even[list(among)] = 1 / len(among)
        self.weights: dict[str, Floats] = {"uniform": even, "best_card": alone}
        self.before = {route: self.answer(clean.images, route) for route in ROUTES}
        gate, used = self.predictor.gate, self.before["gated"].ran.sum(axis=1)
        self.nearest = isinstance(gate, SpectralGate)  # the reference that is nearest decides
        by_spectrum = gate.config.kind in READ_SPECTRA and cards > gate.limit
        self.has_choice = (self.nearest and len(context.deck.references.augmentations) > 1) or by_spectrum
        self.has_cost = gate.config.kind in VARY_COST and bool((used < gate.limit).any())

    @property
    def targets(self) -> tuple[str, ...]:
        """What of the gate can be attacked by itself: its choice of cards, and how many it runs."""
        return (*(("gate",) if self.has_choice else ()), *(("cost",) if self.has_cost else ()))

    def answer(self, images: Images, route: str) -> Prediction:
        """What the route answers to uint8 [n, h, h, 3]."""
        return self.predictor.predict(images, weights=self.weights.get(route))

    def aim(self, target: str) -> Any:
        """What PGD wants of a route, or of the gate (imports torch)."""
        from eval.attacks import aims, smooth

        gate, labels = self.predictor.gate, self.clean.labels
        if target == "gate" and isinstance(gate, SpectralGate):
            return aims.OtherChoice(smooth.SmoothGate(gate), gate, self.before["gated"].choice)
        deck = smooth.SmoothDeck(self.context.deck, gate)
        if target == "gate":
            return aims.OtherCards(deck, gate, self.before["gated"].ran)
        if target == "cost":
            return aims.MoreCards(deck, gate)
        if target == "gated":
            return aims.WrongThroughTheGate(deck, gate, labels)
        return aims.WrongAtFixedWeights(deck, self.weights[target], labels)

    def by_spectrum_alone(self, target: str) -> bool:
        """Whether an attack on `target` runs no card, so that many steps are cheap."""
        return target == "gate" and self.nearest

    def cost(self) -> Json:
        """The most cards that may run for an image, and how many do on clean images."""
        used, limit = self.before["gated"].ran.sum(axis=1), self.predictor.gate.limit
        return {"limit": limit, "cards_per_image_clean": _share(used), "most_cards_clean": int(used.max())}

    def rows(self, found: list[Found]) -> list[Json]:
        """The JSON of every attack, and per radius and route of all of them together."""
        after = [{route: self.answer(one.images, route) for route in ROUTES} for one in found]
        rows = [self._row(one, answers) for one, answers in zip(found, after, strict=True)]
        for radius in sorted({one.radius for one in found}):
            same = [answers for one, answers in zip(found, after, strict=True) if one.radius == radius]
            rows += [self._together(radius, route, [answers[route] for answers in same]) for route in ROUTES]
        return rows

    def _row(self, found: Found, after: dict[str, Prediction]) -> Json:
        route = "gated" if found.target in ("gate", "cost") else found.target
        chosen = after["gated"].choice != self.before["gated"].choice
        routed = (after["gated"].ran != self.before["gated"].ran).any(axis=1)
        changed = chosen if self.nearest else routed
        others = [other for other in ROUTES if other != route]
        row = self._head(found.attack, found.target, found.radius, route) | found.budget
        row["accuracy"] = self._interval(self._right(after[route]))
        row["transfer"] = {other: self._interval(self._right(after[other])) for other in others}
        used = after["gated"].ran.sum(axis=1)
        row |= {"choice_changed": _share(chosen), "routing_changed": _share(routed)}
        row |= {"cards_per_image": _share(used), "most_cards": int(used.max())}
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
            "radius": f"{radius:g}/255",
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
