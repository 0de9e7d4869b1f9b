"""Follow a deck recipe: train its cards, pack them, average them and fit the gate; goes on where it was stopped."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from cards_deck.card import Card, read_card
from cards_deck.data import Dataset
from cards_deck.deck import Deck, write_deck
from cards_deck.errors import InputError
from cards_deck.files import write_bytes
from cards_deck.training.averaging.blends import Bench, blend_cards
from cards_deck.training.deck_recipe import CardRecipe, DeckRecipe
from cards_deck.training.decks import AUTO, make_deck, refit_gate
from cards_deck.training.run import SUFFIX, choose_device, fine_tune_card, set_threads, train_card
from cards_deck.training.throughput import throughput

LOG, SPEED = "log.jsonl", "speed.json"
Data = tuple[Dataset, Dataset]


def build_deck(
    recipe: DeckRecipe,
    load: Callable[[], Data],
    work: Path,
    out: Path,
    *,
    device: str = "auto",
    processes: int = 1,
    smoke: bool = False,
    quiet: bool = False,
) -> Deck:
    """Follow `recipe` and write the deck to `out`, with the log of each training; resumes from `work`.

    Args:
        recipe: of the deck.
        load: gives (training images, validation images); called in every process.
        work: a folder for each card: checkpoints, log, card and `speed.json`.
        out: the deck's folder.
        device: torch device to train on, or `auto`.
        processes: cards trained at a time; a card waits for the one that it is fine-tuned from.
        smoke: a trial of all steps on a few images, in a minute.
        quiet: show no progress.
    """
    wanted = train_cards(recipe, load, work, device=device, processes=processes, smoke=smoke, quiet=quiet)
    train, validation = data_of(recipe, load, smoke)
    cards = [read_card(card_file(work, card.name)) for card in wanted.cards]
    deck = _packed(wanted, cards, train, validation, smoke)
    write_deck(deck, out)
    _keep_logs(wanted, work, out / "logs")
    return deck


def train_cards(
    recipe: DeckRecipe, load: Callable[[], Data], work: Path, *, device: str, processes: int, smoke: bool, quiet: bool
) -> DeckRecipe:
    """Train every card of `recipe` that `work` lacks; returns what was followed, with `smoke` a small recipe."""
    if processes < 1:
        raise InputError(f"`processes` must be at least 1, got {processes}")
    choose_device(device)
    make = partial(_make, recipe, load, work, device, smoke, quiet)
    wanted = recipe.small() if smoke else recipe
    for wave in _waves(wanted.cards):
        if processes == 1 or len(wave) == 1:
            for card in wave:
                make(card)
        else:
            with ProcessPoolExecutor(min(processes, len(wave)), mp_context=get_context("spawn")) as pool:
                list(pool.map(make, wave))
    return wanted


def _waves(cards: tuple[CardRecipe, ...]) -> Iterator[list[CardRecipe]]:
    """Cards that need none of those not yet made, again and again."""
    left, made = list(cards), set[str]()
    while left:
        wave = [card for card in left if card.parent is None or card.parent in made]
        yield wave
        made |= {card.name for card in wave}
        left = [card for card in left if card not in wave]


def _make(
    recipe: DeckRecipe, load: Callable[[], Data], work: Path, device: str, smoke: bool, quiet: bool, card: CardRecipe
) -> None:
    """Train one card into its folder, and note how fast that was."""
    if recipe.threads is not None:
        set_threads(recipe.threads)
    train, validation = data_of(recipe, load, smoke)
    folder = work / card.name
    if card.parent is None:
        cards = train_card(card.recipe, train, validation, folder, device=device, quiet=quiet)
        if len(cards) != 1:
            raise InputError(f"card {card.name!r}: its method gives {len(cards)} cards, and one is wanted")
        (made,) = cards
    else:
        parent = read_card(card_file(work, card.parent))
        made = fine_tune_card(card.recipe, parent, train, validation, folder, device=device, quiet=quiet)
    if not (folder / SPEED).exists():
        size = train.images.shape[1]
        speed = throughput(folder / LOG, made, card.recipe, len(train), size, choose_device(device))
        write_bytes(folder / SPEED, (json.dumps(speed, indent=1) + "\n").encode())


def data_of(recipe: DeckRecipe, load: Callable[[], Data], smoke: bool) -> Data:
    """(training, validation) images, with `smoke` a few of them."""
    train, validation = load()
    if not smoke:
        return train, validation
    few = recipe.smoke.images
    return train.subset(slice(few)), validation.subset(slice(few // 4))


def _packed(recipe: DeckRecipe, cards: list[Card], train: Dataset, validation: Dataset, smoke: bool) -> Deck:
    gate = dict(recipe.gate)
    if not recipe.soups:
        return make_deck(recipe.name, recipe.version, cards, train, validation, **gate)
    kind, images = gate.pop("gate", AUTO), gate.pop("corrupted_images", 2000)
    deck = make_deck(recipe.name, recipe.version, cards, train, validation, gate="uniform", **gate)
    bench = Bench(train, validation)
    for soup in recipe.soups:
        # Cards of a trial have learned too little to lie in one basin.
        deck = blend_cards(
            deck, soup.of, bench, kind="uniform", statistics="averaged", name=soup.name, allow_barrier=smoke
        )
    return refit_gate(deck, validation, kind, corrupted_images=images)[0]


def _keep_logs(recipe: DeckRecipe, work: Path, logs: Path) -> None:
    logs.mkdir(exist_ok=True)
    for card in recipe.cards:
        shutil.copy(work / card.name / LOG, logs / f"{card.name}.jsonl")
        shutil.copy(work / card.name / SPEED, logs / f"{card.name}.{SPEED}")


def card_file(work: Path, name: str) -> Path:
    """Where the card of that name lies."""
    return work / name / f"{name}{SUFFIX}"
