"""A deck recipe: everything that makes a deck. `recipe_file` reads one from TOML, `building` follows it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from cards_deck.errors import InputError
from cards_deck.registry import describe
from cards_deck.training.averaging.average import Statistics
from cards_deck.training.networks import Network
from cards_deck.training.recipe import Recipe

SMOKE_INTERVAL = 2


@dataclass(frozen=True)
class CardRecipe:
    """A card, and the name of the card that it is fine-tuned from (None: it finds its own ticket)."""

    name: str
    recipe: Recipe
    parent: str | None = None


@dataclass(frozen=True)
class SoupRecipe:
    """An average of the cards that `of` names, all in equal parts or, where `wise_ft`, the second of two by `alpha`.

    Its `alpha` and its batch norms' `statistics`, as in `blend_cards`, are chosen on validation images if None.
    """

    name: str
    of: tuple[str, ...]
    statistics: Statistics | None = None
    wise_ft: bool = False
    alpha: float | None = None


@dataclass(frozen=True)
class Smoke:
    """How a trial is made small: another network (None: the recipe's own), few images, few epochs."""

    network: Network | None = None
    images: int = 640
    batch_size: int = 32
    epochs: int = 1


@dataclass(frozen=True)
class DeckRecipe:
    """What makes a deck; parents stand before the cards that are fine-tuned from them. The cards and soups that
    `mirrored` names get a second look (`looks`)."""

    name: str
    version: str
    cards: tuple[CardRecipe, ...]
    soups: tuple[SoupRecipe, ...] = ()
    mirrored: tuple[str, ...] = ()
    gate: Mapping[str, Any] = field(default_factory=dict)
    threads: int | None = None
    smoke: Smoke = field(default_factory=Smoke)

    def check(self) -> None:
        """InputError unless a deck can be made of the cards: better now than when all are trained."""
        settings: dict[str, tuple[str, dict[str, Any]]] = {}
        for card in self.cards:
            described = describe(card.recipe.augmentation)
            first, known = settings.setdefault(str(described["name"]), (card.name, described))
            if known != described:
                raise InputError(
                    f"cards {first!r} and {card.name!r} are trained under different settings of "
                    f"{described['name']!r}: a deck holds one setting of each augmentation, the gate goes by its name"
                )
        origin = {card.name: self._origin(card) for card in self.cards}
        for soup in self.soups:
            if len({origin[name] for name in soup.of}) > 1:
                raise InputError(
                    f"soup {soup.name!r} is of cards that were not fine-tuned from one: only cards of one mask and "
                    "basin can be averaged"
                )

    def _origin(self, card: CardRecipe) -> str:
        by_name = {each.name: each for each in self.cards}
        while card.parent is not None:
            card = by_name[card.parent]
        return card.name

    def small(self) -> DeckRecipe:
        """The same steps with the networks and schedules of a trial."""
        return replace(
            self,
            cards=tuple(replace(card, recipe=self._small(card.recipe)) for card in self.cards),
            gate={**self.gate, "corrupted_images": 50, "reference_images": 50},
        )

    def _small(self, recipe: Recipe) -> Recipe:
        schedule = replace(recipe.schedule, epochs=self.smoke.epochs, batch_size=self.smoke.batch_size)
        method = recipe.method
        if hasattr(method, "interval"):  # of steps: there are few of them
            method = replace(method, interval=SMOKE_INTERVAL)  # type: ignore[type-var]
        return replace(recipe, network=self.smoke.network or recipe.network, method=method, schedule=schedule)
