"""Follow a deck recipe: train its cards, pack them, average them and fit the gate; goes on where it was stopped."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import active_children, get_context
from pathlib import Path

from cards_deck.card import Card, read_card
from cards_deck.data import Dataset
from cards_deck.deck import Deck, write_deck
from cards_deck.errors import CardsDeckError, InputError
from cards_deck.files import write_bytes
from cards_deck.training.averaging.blends import Bench, blend_cards
from cards_deck.training.averaging.looks import add_looks
from cards_deck.training.deck_recipe import CardRecipe, DeckRecipe
from cards_deck.training.decks import AUTO, CORRUPTED_IMAGES, make_deck, refit_gate
from cards_deck.training.run import SUFFIX, choose_device, fine_tune_card, set_threads, train_card
from cards_deck.training.throughput import throughput

LOG, SPEED = "log.jsonl", "speed.json"
CORRUPTED = 2000  # validation images under each corruption that cards are measured on, where the gate has more
Data = tuple[Dataset, Dataset]


@dataclass(frozen=True)
class Site:
    """Where and how the cards of a recipe are trained; the same place goes on where it was stopped.

    Attributes:
        load: gives (training images, validation images); called in every process.
        work: a folder for each card: checkpoints, log, card and `speed.json`.
        device: torch device to train on, or `auto`.
        processes: cards trained at a time; a card waits for the one that it is fine-tuned from.
        smoke: a trial of all steps on a few images, in a minute.
        quiet: show no progress.
    """

    load: Callable[[], Data]
    work: Path
    device: str = "auto"
    processes: int = 1
    smoke: bool = False
    quiet: bool = False


def build_deck(recipe: DeckRecipe, site: Site, out: Path) -> Deck:
    """Follow `recipe` and write the deck to the folder `out`, with the log of each training.

    InputError, before anything is trained, for cards of which no deck can be made.
    """
    recipe.check()
    recipe, site = train_cards(recipe, site)
    train, validation = site.load()
    cards = [read_card(card_file(site.work, card.name)) for card in recipe.cards]
    deck = _packed(recipe, cards, train, validation, site)
    write_deck(deck, out)
    _keep_logs(recipe, site.work, out / "logs")
    return deck


def train_cards(recipe: DeckRecipe, site: Site) -> tuple[DeckRecipe, Site]:
    """Train every card of `recipe` that the site lacks; returns what was followed: of a trial, both are small."""
    if site.processes < 1:
        raise InputError(f"`processes` must be at least 1, got {site.processes}")
    choose_device(site.device)
    if site.smoke:
        recipe, site = recipe.small(), replace(site, load=partial(_few, site.load, recipe.smoke.images))
    threads = recipe.threads
    if threads is None and site.processes > 1:
        threads = max(1, (os.cpu_count() or 1) // site.processes)
    if threads is not None:
        set_threads(threads)
    make = partial(_make, threads, site)
    for wave in _waves(recipe.cards):
        if site.processes == 1 or len(wave) == 1:
            for card in wave:
                make(card)
        else:
            _side_by_side(make, wave, min(site.processes, len(wave)))
    return recipe, site


def _few(load: Callable[[], Data], images: int) -> Data:
    """The first `images` training images, and a quarter as many for validation."""
    train, validation = load()
    return train.subset(slice(images)), validation.subset(slice(images // 4))


def _side_by_side(make: Callable[[CardRecipe], None], cards: Sequence[CardRecipe], processes: int) -> None:
    """Make the cards in processes; the first error, or Ctrl-C, ends all of them: what they have saved stays."""
    pool = ProcessPoolExecutor(processes, mp_context=get_context("spawn"))
    try:
        for done in as_completed([pool.submit(make, card) for card in cards]):
            done.result()
    except BaseException as error:
        pool.shutdown(wait=False, cancel_futures=True)
        for child in active_children():
            child.terminate()
        if isinstance(error, BrokenProcessPool):
            raise CardsDeckError(
                "a process that trained a card was killed, for lack of memory perhaps: repeat the command to go on, "
                "with fewer --processes"
            ) from error
        raise
    pool.shutdown()


def _waves(cards: tuple[CardRecipe, ...]) -> Iterator[list[CardRecipe]]:
    """Cards that need none of those not yet made, again and again."""
    left, made = list(cards), set[str]()
    while left:
        wave = [card for card in left if card.parent is None or card.parent in made]
        yield wave
        made |= {card.name for card in wave}
        left = [card for card in left if card not in wave]


def _make(threads: int | None, site: Site, card: CardRecipe) -> None:
    """Train one card into its folder, and note how fast that was."""
    if threads is not None:
        set_threads(threads)
    train, validation = site.load()
    folder = site.work / card.name
    before = _size(folder / LOG)
    if card.parent is None:
        cards = train_card(card.recipe, train, validation, folder, device=site.device, quiet=site.quiet)
        if len(cards) != 1:
            raise InputError(f"card {card.name!r}: its method gives {len(cards)} cards, and one is wanted")
        (made,) = cards
    else:
        parent = read_card(card_file(site.work, card.parent))
        made = fine_tune_card(card.recipe, parent, train, validation, folder, device=site.device, quiet=site.quiet)
    if _size(folder / LOG) > before or not (folder / SPEED).exists():
        size = train.images.shape[1]
        speed = throughput(folder / LOG, made, card.recipe, len(train), size, choose_device(site.device))
        write_bytes(folder / SPEED, (json.dumps(speed, indent=1) + "\n").encode())


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def _say(site: Site, text: str) -> None:
    if not site.quiet:
        print(text, file=sys.stderr, flush=True)


def _packed(recipe: DeckRecipe, cards: list[Card], train: Dataset, validation: Dataset, site: Site) -> Deck:
    """Cards of a trial have learned too little to lie in one basin, and images are too few for their statistics."""
    gate, smoke = dict(recipe.gate), site.smoke
    _say(site, f"measuring {len(cards)} cards on {len(validation):,} validation images, some minutes")
    if not recipe.soups and not recipe.mirrored:
        return make_deck(recipe.name, recipe.version, cards, train, validation, **gate)
    kind, images = gate.pop("gate", AUTO), gate.pop("corrupted_images", CORRUPTED_IMAGES)
    deck = make_deck(
        recipe.name, recipe.version, cards, train, validation,
        gate="uniform", corrupted_images=min(images, CORRUPTED), **gate,
    )  # fmt: skip
    bench = Bench(train, validation, corrupted=min(images, CORRUPTED))
    for soup in recipe.soups:
        _say(site, f"averaging {', '.join(soup.of)}")
        deck = blend_cards(
            deck, soup.of, bench,
            kind=None if soup.wise_ft else "uniform", alpha=soup.alpha,
            statistics="averaged" if smoke else soup.statistics, name=soup.name, allow_barrier=smoke,
        )  # fmt: skip
    deck = add_looks(deck, recipe.mirrored, validation)
    _say(site, f"measuring {len(deck.cards)} cards again and fitting gates to them, some minutes")
    return refit_gate(deck, validation, kind, corrupted_images=images)[0]


def _keep_logs(recipe: DeckRecipe, work: Path, logs: Path) -> None:
    shutil.rmtree(logs, ignore_errors=True)
    logs.mkdir()
    for card in recipe.cards:
        shutil.copy(work / card.name / LOG, logs / f"{card.name}.jsonl")
        shutil.copy(work / card.name / SPEED, logs / f"{card.name}.{SPEED}")


def card_file(work: Path, name: str) -> Path:
    """Where the card of that name lies."""
    return work / name / f"{name}{SUFFIX}"
