"""A deck recipe: one TOML file that says everything that makes a deck.

    name, version    of the deck
    threads          CPU threads of each training; part of the recipe, since another number sums in another order
    [gate]           the keywords of `make_deck`: gate, max_cards, most_cards, most_loss, corrupted_images, ...
    [recipe]         network, method, augmentation, schedule and seed that the cards share
    [[card]]         name, and what differs; `from` names the card whose mask and weights it is fine-tuned from
    [[soup]]         name, and `of`: the cards of which it is the average
    [smoke]          network, images and batch_size of a trial that takes a minute anywhere

Members of registries are written { name = "rigl", density = 0.1 }; fields that are left out have their defaults.
"""

from __future__ import annotations

import inspect
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from cards_deck.checks import NAME_RULE, is_name
from cards_deck.errors import InputError
from cards_deck.registry import Registry
from cards_deck.training.augmentations import AUGMENTATIONS
from cards_deck.training.decks import make_deck
from cards_deck.training.networks import NETWORKS, Network
from cards_deck.training.recipe import Recipe
from cards_deck.training.schedule import Schedule
from cards_deck.training.tickets import METHODS

FOLDER = Path(__file__).with_name("recipes")
SUFFIX = ".toml"
GATE = frozenset(inspect.signature(make_deck).parameters) - {"name", "version", "cards", "train", "validation", "seed"}
PARTS: Mapping[str, Registry[Any]] = {"network": NETWORKS, "method": METHODS, "augmentation": AUGMENTATIONS}
SMOKE_INTERVAL = 2
Table = Mapping[str, Any]


@dataclass(frozen=True)
class CardRecipe:
    """A card, and the name of the card that it is fine-tuned from (None: it finds its own ticket)."""

    name: str
    recipe: Recipe
    parent: str | None = None


@dataclass(frozen=True)
class SoupRecipe:
    """The average of the cards that `of` names."""

    name: str
    of: tuple[str, ...]


@dataclass(frozen=True)
class Smoke:
    """How a trial is made small: another network (None: the recipe's own), few images, one epoch."""

    network: Network | None = None
    images: int = 640
    batch_size: int = 32


@dataclass(frozen=True)
class DeckRecipe:
    """What makes a deck; parents stand before the cards that are fine-tuned from them."""

    name: str
    version: str
    cards: tuple[CardRecipe, ...]
    soups: tuple[SoupRecipe, ...] = ()
    gate: Table = field(default_factory=dict)
    threads: int | None = None
    smoke: Smoke = field(default_factory=Smoke)

    def small(self) -> DeckRecipe:
        """The same steps with the networks and schedules of a trial."""
        return replace(
            self,
            cards=tuple(replace(card, recipe=self._small(card.recipe)) for card in self.cards),
            gate={**self.gate, "corrupted_images": 50, "reference_images": 50},
        )

    def _small(self, recipe: Recipe) -> Recipe:
        schedule = replace(recipe.schedule, epochs=1, batch_size=self.smoke.batch_size)
        method = recipe.method
        if hasattr(method, "interval"):  # of steps: there are few of them
            method = replace(method, interval=SMOKE_INTERVAL)  # type: ignore[type-var]
        return replace(recipe, network=self.smoke.network or recipe.network, method=method, schedule=schedule)


def bundled() -> tuple[str, ...]:
    """Names of the recipes that come with the package."""
    return tuple(sorted(path.stem for path in FOLDER.glob(f"*{SUFFIX}")))


def read_deck_recipe(given: str | Path) -> DeckRecipe:
    """The recipe of a file, or of that name among `bundled`. InputError says what is wrong, and where."""
    path = Path(given)
    if path.suffix != SUFFIX and str(given) in bundled():
        path = FOLDER / f"{given}{SUFFIX}"
    try:
        found = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"a deck recipe must be a TOML file or one of {', '.join(bundled())}, and {given} cannot be read: {error}"
        ) from error
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path} is no TOML file: {error}") from error
    try:
        return _deck(found)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _deck(found: Table) -> DeckRecipe:
    _only(found, {"name", "version", "threads", "gate", "recipe", "card", "soup", "smoke"}, "the file")
    gate, shared = _table(found, "gate"), _table(found, "recipe")
    _only(gate, GATE, "[gate]")
    _only(shared, {*PARTS, "schedule", "seed"}, "[recipe]")
    cards: dict[str, CardRecipe] = {}
    for table in _tables(found, "card"):
        card = _card(table, shared)
        if card.name in cards:
            raise InputError(f"two cards are called {card.name!r}: give each its own name")
        if card.parent is not None and card.parent not in cards:
            raise InputError(f"card {card.name!r} is fine-tuned `from` {card.parent!r}, which no card before it is")
        cards[card.name] = card
    if not cards:
        raise InputError("a deck needs at least one [[card]]")
    soups = tuple(_soup(table, cards) for table in _tables(found, "soup"))
    if twice := {soup.name for soup in soups} & set(cards) or len({soup.name for soup in soups}) < len(soups):
        raise InputError(f"soups need names of their own, which no card and no other soup has: {twice}")
    return DeckRecipe(
        _name(found, "the file"), _text(found, "version", "the file"), tuple(cards.values()), soups, gate,
        _count(found, "threads", None), _smoke(_table(found, "smoke")),
    )  # fmt: skip


def _card(table: Table, shared: Table) -> CardRecipe:
    where = f"[[card]] {table.get('name', '')}".rstrip()
    _only(table, {"name", "from", *PARTS, "schedule", "seed"}, where)
    merged = {**shared, **table}
    try:
        parts = {key: registry.restore(merged[key]) for key, registry in PARTS.items() if key in merged}
        schedule = _schedule(merged.get("schedule", {}))
    except (InputError, TypeError) as error:
        raise InputError(f"{where}: {error}") from error
    seed = _count(merged, "seed", 0, least=0)
    assert seed is not None
    parent = _text(table, "from", where) if "from" in table else None
    return CardRecipe(_name(table, where), Recipe(**parts, schedule=schedule, seed=seed), parent)


def _schedule(table: object) -> Schedule:
    if not isinstance(table, Mapping):
        raise InputError(f"`schedule` must be a table, not {table!r}")
    _only(table, {one.name for one in fields(Schedule)}, "`schedule`")
    return Schedule(**{key: _tuples(value) for key, value in table.items()})


def _soup(table: Table, cards: Mapping[str, CardRecipe]) -> SoupRecipe:
    where = f"[[soup]] {table.get('name', '')}".rstrip()
    _only(table, {"name", "of"}, where)
    of = table.get("of")
    if not isinstance(of, list) or len(of) < 2 or not all(name in cards for name in of):
        raise InputError(f"{where}: `of` must name at least two of the cards {', '.join(cards)}, not {of!r}")
    return SoupRecipe(_name(table, where), tuple(of))


def _smoke(table: Table) -> Smoke:
    _only(table, {one.name for one in fields(Smoke)}, "[smoke]")
    network = NETWORKS.restore(table["network"]) if "network" in table else None
    images, batch = _count(table, "images", Smoke.images, least=2), _count(table, "batch_size", Smoke.batch_size)
    assert images is not None
    assert batch is not None
    return Smoke(network, images, batch)


def _only(table: Table, known: set[str] | frozenset[str], where: str) -> None:
    if unknown := sorted(set(table) - known):
        raise InputError(f"{where} has no {', '.join(map(repr, unknown))}: it takes {', '.join(sorted(known))}")


def _table(found: Table, key: str) -> Table:
    table = found.get(key, {})
    if not isinstance(table, Mapping):
        raise InputError(f"[{key}] must be a table, not {table!r}")
    return table


def _tables(found: Table, key: str) -> list[Table]:
    tables = found.get(key, [])
    if not isinstance(tables, list) or not all(isinstance(table, Mapping) for table in tables):
        raise InputError(f"each {key} must be a table of its own, headed [[{key}]]")
    return tables


def _name(table: Table, where: str) -> str:
    name = _text(table, "name", where)
    if not is_name(name):
        raise InputError(f"{where}: {NAME_RULE}, not {name!r}")
    return name


def _text(table: Table, key: str, where: str) -> str:
    value = table.get(key)
    if not isinstance(value, str) or not value:
        raise InputError(f"{where} needs a text as `{key}`, not {value!r}")
    return value


def _count(table: Table, key: str, default: int | None, least: int = 1) -> int | None:
    value = table.get(key, default)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < least):
        raise InputError(f"`{key}` must be a whole number of at least {least}, not {value!r}")
    return value


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
