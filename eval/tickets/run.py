"""Make one cell: train, measure, write. A killed cell goes on from the last epoch of its training."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cards_deck.card import Card, read_card, write_card
from cards_deck.errors import InputError
from cards_deck.inference.gates import CLEAN
from cards_deck.machine import package_versions
from cards_deck.training.augmentations import AUGMENTATIONS
from cards_deck.training.cards import make_card, ticket_of
from cards_deck.training.checkpoint import SUFFIX as CHECKPOINT
from cards_deck.training.networks import NETWORKS
from cards_deck.training.recipe import Recipe
from cards_deck.training.run import SUFFIX, choose_device, set_threads
from cards_deck.training.schedule import Schedule
from cards_deck.training.tickets.ticket import Ticket, full_masks
from eval.provenance import provenance
from eval.tickets import averages
from eval.tickets.cells import Cell, Json
from eval.tickets.controls import method_named
from eval.tickets.images import Stock, stock
from eval.tickets.measure import answers, of_ensemble, runner, speed, summary
from eval.tickets.observe import Diary, ObservedBench

# Methods that prune what they have trained, so that there is a moment between pruning and retraining.
PRUNING = (
    "bimp", "double_win", "fine_tune", "gradual_magnitude", "levels", "lottery", "lr_rewinding", "random_after",
)  # fmt: skip


@dataclass(frozen=True)
class Place:
    """Where cells are made.

    Attributes:
        root: of the data.
        out: folder of the report; cells lie in its `cells`.
        work: checkpoints, cards and corrupted images; not published.
        device: torch device to train on.
        command: for the provenance.
    """

    root: Path
    out: Path
    work: Path
    device: str = "cpu"
    command: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Trained:
    """What training a cell gave: its cards by name, what that cost, the dense network of its recipe, its images."""

    cards: Mapping[str, Card]
    diary: Diary
    dense: Card
    stock: Stock


def recipe_of(cell: Cell) -> Recipe:
    """The recipe that a cell describes."""
    schedule = {key: _tuples(value) for key, value in cell.setting.schedule.items()}
    return Recipe(
        NETWORKS.restore(cell.setting.network),
        method_named(cell.method),
        AUGMENTATIONS.restore(cell.setting.augmentation),
        Schedule(**schedule),
        cell.seed,
    )


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list | tuple) else value


def make(cell: Cell, place: Place) -> Json:
    """The cell's numbers, from its file where there is one, else trained, measured and written."""
    found = cell.read(place.out)
    if found is not None:
        return found
    set_threads(1)
    started, resumed = time.monotonic(), (place.work / cell.key).exists()
    trained = train(cell, place)
    numbers: Json = {"training": trained.diary.record(len(trained.stock.train)), **measured(cell, trained)}
    numbers |= {
        "seconds": round(time.monotonic() - started, 1),
        "resumed": resumed,
        "provenance": _provenance(place),
    }
    cell.write(place.out, numbers)
    _remove_checkpoints(cell, place)
    return numbers


def _remove_checkpoints(cell: Cell, place: Place) -> None:
    for checkpoint in (place.work / cell.key).rglob(f"*{CHECKPOINT}"):
        checkpoint.unlink()


def _provenance(place: Place) -> Json:
    made = provenance(list(place.command) or None)
    return made | {"versions": made["versions"] | package_versions(("torch",))}


def card_files(cell: Cell, place: Place) -> list[Path]:
    """The files of the cell's cards, none where it has not been trained here."""
    done = place.work / cell.key / "done"
    return sorted((place.work / cell.key).glob(f"*{SUFFIX}")) if done.exists() else []


def first_card(cell: Cell, place: Place) -> Card:
    """The card that other cells begin with; trained again where it is not here."""
    files = card_files(cell, place)
    if files:
        return read_card(files[0])
    cards = train(cell, place).cards
    _remove_checkpoints(cell, place)
    return next(iter(cards.values()))


def train(cell: Cell, place: Place) -> Trained:
    """Train the cell and keep its cards in the work folder."""
    images = stock(place.root, cell.setting, cell.seed, place.work / "images")
    recipe, folder = recipe_of(cell), place.work / cell.key
    diary = Diary(pruned=cell.method["name"] in PRUNING or _tunes_channels(cell.method))
    bench = ObservedBench(images.train, images.few, choose_device(place.device), folder, True, diary)
    network = bench.build(recipe).cpu()
    dense = make_card("dense", recipe, network, Ticket.of(network, full_masks(network)), images.train, bits=32)
    if cell.procedure in ("tickets", "barrier"):
        cards = _tickets(cell, place, bench, recipe)
    else:
        assert cell.given is not None
        given = first_card(cell.given, place)
        cards = averages.tunings(cell, given, ticket_of(given, network), bench, recipe)
    for card in cards.values():
        write_card(card, folder / f"{card.name}{SUFFIX}")
    (folder / "done").touch()
    return Trained(cards, diary, dense, images)


def _tunes_channels(method: Json) -> bool:
    return bool(method["name"] == "structured" and method["retraining"] == "fine_tune")


def _tickets(cell: Cell, place: Place, bench: ObservedBench, recipe: Recipe) -> dict[str, Card]:
    given: Ticket | None = None
    parents: tuple[str, ...] = ()
    network = bench.build(recipe).cpu()
    if cell.given is not None:
        card = first_card(cell.given, place)
        given, parents = ticket_of(card, network), (card.id,)
    tickets = bench.find_tickets(recipe, given, *parents)
    names = ["ticket"] if len(tickets) == 1 else [f"ticket-{number:02d}" for number in range(1, len(tickets) + 1)]
    return {
        name: make_card(name, recipe, network, ticket, bench.train, bits=32, parents=parents)
        for name, ticket in zip(names, tickets, strict=True)
    }


def measured(cell: Cell, trained: Trained) -> Json:
    """All numbers of the cell's cards."""
    images, extra = trained.stock, PROCEDURES[cell.procedure](cell, trained)
    cards = {**trained.cards, **extra.pop("cards", {})}
    found = {name: answers(card, images) for name, card in cards.items()}
    numbers: Json = {"cards": {name: summary(card, found[name], images, trained.dense) for name, card in cards.items()}}
    first = next(iter(cards.values()))
    if cell.method["name"] == "free_tickets" and len(cards) > 1:
        numbers["ensemble"] = of_ensemble(found, images)
    if cell.procedure in ("tickets", "barrier"):
        numbers["speed"] = speed(first, trained.dense, images.domains["test"][CLEAN][0])
        numbers["engine"] = str(runner(first, images.validation.image_size)[0])
    if "pgd" in cell.options:
        numbers["pgd"] = {name: _attacked(card, images, cell.options["pgd"]) for name, card in cards.items()}
    return numbers | extra


def _attacked(card: Card, images: Stock, options: Mapping[str, int]) -> float:
    from eval.attacks.card import accuracy_under_pgd

    pixels, labels = images.domains["test"][CLEAN]
    few = slice(0, options["images"])
    found = accuracy_under_pgd(card, pixels[few], labels[few], levels=options["levels"], steps=options["steps"])
    return round(found, 6)


def _nothing(cell: Cell, trained: Trained) -> Json:
    return {}


def _barrier(cell: Cell, trained: Trained) -> Json:
    if len(trained.cards) != 2:
        raise InputError(f"a barrier lies between two tickets, {cell.method['name']} gave {len(trained.cards)}")
    one, other = trained.cards.values()
    return averages.barrier_between(one, other, trained.stock)


def _soup(cell: Cell, trained: Trained) -> Json:
    return averages.soups(cell, list(trained.cards.values()), trained.stock)


def _wise_ft(cell: Cell, trained: Trained) -> Json:
    return averages.wise_ft(cell, trained.cards["base"], trained.cards["tuned"], trained.stock)


PROCEDURES: Mapping[str, Callable[[Cell, Trained], Json]] = {
    "tickets": _nothing,
    "tune": _nothing,
    "barrier": _barrier,
    "soup": _soup,
    "wise_ft": _wise_ft,
}


def forget(cell: Cell, place: Place) -> None:
    """Remove everything that making the cell left in the work folder."""
    shutil.rmtree(place.work / cell.key, ignore_errors=True)


__all__ = ["Place", "card_files", "first_card", "forget", "make", "recipe_of", "train"]
