"""Deck recipes as files: one TOML file says everything that makes a deck.

    name, version    of the deck
    threads          CPU threads of each training; part of the recipe, since another number sums in another order
    mirrored         names of cards and soups that get a second look: a card of the same weights that sees images
                     mirrored
    [gate]           gate, max_cards, most_cards, most_loss, reference_images and corrupted_images, as `cards-deck pack`
                     and `make_deck` have them
    [recipe]         network, method, augmentation, schedule and seed that the cards share
    [[card]]         name, and what differs; `from` names the card whose mask and weights it is fine-tuned from
    [[soup]]         name, `of`: the cards of which it is the average, and the `statistics` of its batch norms:
                     "averaged" or "recomputed"; whichever is better on validation images where left out. With `alpha`,
                     a number or "auto", it is the WiSE-FT blend of two cards that has so much of the second
    [smoke]          network, images, batch_size and epochs of a trial that takes a minute anywhere

Members of registries are written { name = "rigl", density = 0.1 }; fields that are left out have their defaults. A
card's schedule adds to the shared one.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

from cards_deck.checks import NAME_RULE, is_name
from cards_deck.errors import InputError
from cards_deck.inference.gates import GATES, check_budget, check_loss
from cards_deck.registry import Registry
from cards_deck.training.augmentations import AUGMENTATIONS
from cards_deck.training.averaging.average import Statistics
from cards_deck.training.averaging.looks import look_name
from cards_deck.training.deck_recipe import CardRecipe, DeckRecipe, Smoke, SoupRecipe
from cards_deck.training.decks import AUTO
from cards_deck.training.networks import NETWORKS
from cards_deck.training.recipe import Recipe
from cards_deck.training.schedule import Schedule
from cards_deck.training.tickets import METHODS

FOLDER = Path(__file__).with_name("recipes")
SUFFIX = ".toml"
GATE = {"gate", "max_cards", "most_cards", "most_loss", "reference_images", "corrupted_images"}
PARTS: Mapping[str, Registry[Any]] = {"network": NETWORKS, "method": METHODS, "augmentation": AUGMENTATIONS}
Table = Mapping[str, Any]


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
    _only(found, {"name", "version", "threads", "mirrored", "gate", "recipe", "card", "soup", "smoke"}, "the file")
    shared = _table(found, "recipe")
    _only(shared, {*PARTS, "schedule", "seed"}, "[recipe]")
    cards: dict[str, CardRecipe] = {}
    for table in _tables(found, "card"):
        card = _card(table, shared)
        if card.name in cards:
            raise InputError(f"two cards are called {card.name!r}: give each its own name")
        _check_child(card, cards)
        cards[card.name] = card
    if not cards:
        raise InputError("a deck needs at least one [[card]]")
    soups = tuple(_soup(table, cards) for table in _tables(found, "soup"))
    names = [*cards, *(soup.name for soup in soups)]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(f"soups need names of their own, and {twice[0]!r} is taken")
    threads = _count(found, "threads", "the file") if "threads" in found else None
    return DeckRecipe(
        _name(found, "the file"), _text(found, "version", "the file"), tuple(cards.values()), soups,
        _mirrored(found, names), _gate(_table(found, "gate")), threads, _smoke(_table(found, "smoke")),
    )  # fmt: skip


def _gate(table: Table) -> Table:
    _only(table, GATE, "[gate]")
    for name, least in (("max_cards", 1), ("reference_images", 1), ("corrupted_images", 2)):
        if name in table:
            _count(table, name, "[gate]", least)
    for name, check in (("most_cards", check_budget), ("most_loss", check_loss)):
        if name in table:
            check(_number(table, name, "[gate]"))
    if table.get("gate", AUTO) not in (AUTO, *GATES.names()):
        raise InputError(f"[gate]: `gate` must be {AUTO} or one of {', '.join(GATES.names())}, not {table['gate']!r}")
    return table


def _card(table: Table, shared: Table) -> CardRecipe:
    where = f"[[card]] {table.get('name', '')}".rstrip()
    _only(table, {"name", "from", *PARTS, "schedule", "seed"}, where)
    merged = {**shared, **table}
    parts = {key: _part(merged, key, where) for key in PARTS if key in merged}
    schedule = _schedule({**_table(shared, "schedule"), **_table(table, "schedule")}, where)
    seed = _count(merged, "seed", where, 0) if "seed" in merged else 0
    parent = _text(table, "from", where) if "from" in table else None
    if parent is not None and "method" in table:
        raise InputError(f"{where}: fine-tuning keeps the mask of {parent!r}: leave out `method`")
    return CardRecipe(_name(table, where), Recipe(**parts, schedule=schedule, seed=seed), parent)


def _check_child(card: CardRecipe, before: Mapping[str, CardRecipe]) -> None:
    if card.parent is None:
        return
    if card.parent not in before:
        raise InputError(f"card {card.name!r} is fine-tuned `from` {card.parent!r}, which no card before it is")
    if card.recipe.network != before[card.parent].recipe.network:
        raise InputError(f"card {card.name!r} must have the network of {card.parent!r}, which it is fine-tuned from")


def _part(table: Table, key: str, where: str) -> Any:
    if not isinstance(table[key], Mapping):
        raise InputError(f'{where}: `{key}` must be a table like {{ name = "..." }}, not {table[key]!r}')
    try:
        return PARTS[key].restore(table[key])
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
    except TypeError as error:
        raise InputError(f"{where}: a value of `{key}` is of the wrong kind: {error}") from error


def _schedule(table: Table, where: str) -> Schedule:
    usual = Schedule()
    _only(table, {one.name for one in fields(Schedule)}, f"{where}: `schedule`")
    for key, value in table.items():
        kind = type(getattr(usual, key))
        fits = _is_number(value) if kind is float else isinstance(value, list) if kind is tuple else type(value) is kind
        if not fits:
            wanted = {int: "a whole number", float: "a number", bool: "true or false", str: "a text", tuple: "a list"}
            raise InputError(f"{where}: `{key}` of the schedule must be {wanted[kind]}, not {value!r}")
    for pair in table.get("sizes", []):
        if not (isinstance(pair, list) and len(pair) == 2 and _is_number(pair[0]) and type(pair[1]) is int):
            raise InputError(f"{where}: `sizes` must be pairs of a share and a side in pixels, not {pair!r}")
    try:
        return Schedule(**{key: _tuples(value) for key, value in table.items()})
    except InputError as error:
        raise InputError(f"{where}: {error}") from error


def _soup(table: Table, cards: Mapping[str, CardRecipe]) -> SoupRecipe:
    where = f"[[soup]] {table.get('name', '')}".rstrip()
    _only(table, {"name", "of", "statistics", "alpha"}, where)
    statistics = table.get("statistics")
    if statistics not in (None, *get_args(Statistics)):
        raise InputError(f"{where}: `statistics` must be {' or '.join(get_args(Statistics))}, not {statistics!r}")
    of = table.get("of")
    named = [name for name in of if isinstance(name, str) and name in cards] if isinstance(of, list) else []
    if named != of or len(named) < 2 or len(set(named)) < len(named):
        raise InputError(f"{where}: `of` must name two or more different ones of {', '.join(cards)}, not {of!r}")
    if "alpha" in table and len(named) != 2:
        raise InputError(f"{where}: `alpha` is the share of the second of two cards, and `of` names {len(named)}")
    return SoupRecipe(_name(table, where), tuple(named), statistics, "alpha" in table, _alpha(table, where))


def _mirrored(found: Table, names: list[str]) -> tuple[str, ...]:
    given = found.get("mirrored", [])
    if not isinstance(given, list) or any(name not in names or given.count(name) > 1 for name in given):
        raise InputError(f"`mirrored` must name different ones of {', '.join(names)}, not {given!r}")
    if taken := [name for name in map(look_name, given) if name in names]:
        raise InputError(f"the second look of one of `mirrored` is called {taken[0]!r}, and that name is taken")
    return tuple(given)


def _alpha(table: Table, where: str) -> float | None:
    if table.get("alpha", AUTO) == AUTO:
        return None
    alpha = table["alpha"]
    if not _is_number(alpha) or not 0 < alpha < 1:
        raise InputError(f"{where}: `alpha` must be {AUTO!r} or a number between 0 and 1, not {alpha!r}")
    return float(alpha)


def _smoke(table: Table) -> Smoke:
    _only(table, {one.name for one in fields(Smoke)}, "[smoke]")
    network = _part(table, "network", "[smoke]") if "network" in table else None
    images = _count(table, "images", "[smoke]", 8) if "images" in table else Smoke.images
    batch = _count(table, "batch_size", "[smoke]", 2) if "batch_size" in table else Smoke.batch_size
    epochs = _count(table, "epochs", "[smoke]", 1) if "epochs" in table else Smoke.epochs
    return Smoke(network, images, batch, epochs)


def _only(table: Table, known: set[str], where: str) -> None:
    if unknown := sorted(set(table) - known):
        raise InputError(f"{where} has no {', '.join(map(repr, unknown))}: it takes {', '.join(sorted(known))}")


def _table(found: Table, key: str) -> Table:
    table = found.get(key, {})
    if not isinstance(table, Mapping):
        raise InputError(f"`{key}` must be a table, not {table!r}")
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


def _count(table: Table, key: str, where: str, least: int = 1) -> int:
    value = table[key]
    if type(value) is not int or value < least:
        raise InputError(f"{where}: `{key}` must be a whole number of at least {least}, not {value!r}")
    return value


def _number(table: Table, key: str, where: str) -> float:
    if not _is_number(table[key]):
        raise InputError(f"{where}: `{key}` must be a number, not {table[key]!r}")
    return float(table[key])


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
