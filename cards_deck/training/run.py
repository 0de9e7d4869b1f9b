"""The verbs of training, as the command line and scripts use them: `train_card`, `fine_tune_card`, `pack_deck`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from cards_deck.card import Card, read_card, write_card
from cards_deck.checks import NAME_RULE, is_name
from cards_deck.data import Dataset, load, split_train_validation
from cards_deck.deck import Deck, write_deck
from cards_deck.errors import InputError
from cards_deck.gate_config import MOST_CARDS, MOST_LOSS
from cards_deck.training.averaging.admission import admitted
from cards_deck.training.cards import make_card, ticket_of, with_classes_of
from cards_deck.training.decks import make_deck
from cards_deck.training.quantizers import Quantizer
from cards_deck.training.recipe import Recipe, Workbench

SUFFIX = ".card.safetensors"


def training_data(
    root: Path, name: str = "cifar10", image_size: int | None = None, *, download: bool = False
) -> tuple[Dataset, Dataset]:
    """Load the training split of `name` under `root`, cut into (training, validation) images by their pixels."""
    return split_train_validation(load(root, name, "train", download=download, image_size=image_size))


def choose_device(name: str = "auto") -> torch.device:
    """Return the torch device `name`; `auto` is CUDA where there is one. InputError for what is not here."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise InputError(f"`device` must be auto, cpu, cuda or cuda:NUMBER, got {name!r}")
    if device.type == "cuda":
        found = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= found:
            raise InputError(f"`device` is {name!r}, but torch finds {found} CUDA GPUs here: choose another, or cpu")
    return device


def set_threads(threads: int) -> None:
    """Compute on `threads` CPU threads from here on: another number sums in another order and gives other bits."""
    if threads < 1:
        raise InputError(f"`threads` must be at least 1, got {threads}")
    torch.set_num_threads(threads)


def train_card(
    recipe: Recipe,
    train: Dataset,
    validation: Dataset,
    folder: Path,
    *,
    given: Card | None = None,
    name: str | None = None,
    device: str = "auto",
    bits: int = 16,
    quiet: bool = False,
) -> tuple[Card, ...]:
    """Follow `recipe` and write its card (some methods: cards) to `folder`; resumes where an earlier call stopped.

    Args:
        recipe: network, method, augmentation, schedule, seed.
        train: training images.
        validation: held-out images, for the accuracy shown after each epoch.
        folder: gets `<name>.card.safetensors`, `log.jsonl` and the checkpoints.
        given: what a method that begins with a trained card takes its weights and masks from.
        name: of the card; the folder's name where None. Several cards get `-1`, `-2`, ... behind it.
        device: torch device, or `auto`.
        bits: width of a stored value, 16 or 32.
        quiet: show no progress.
    """
    name = checked_name(name or folder.name)
    if bits not in (16, 32):
        raise InputError(f"`bits` must be 16 or 32, got {bits!r}: fewer are what `quantize_card` is for")
    bench = Workbench(train, validation, choose_device(device), folder, quiet)
    network = bench.build(recipe).cpu()
    parents = () if given is None else (given.id,)
    begin = None if given is None else ticket_of(given, with_classes_of(given, network))
    tickets = bench.find_tickets(recipe, begin, *parents)
    names = [name] if len(tickets) == 1 else [f"{name}-{index}" for index in range(1, len(tickets) + 1)]
    cards = tuple(
        make_card(card, recipe, network, ticket, train, bits=bits, parents=parents)
        for card, ticket in zip(names, tickets, strict=True)
    )  # fmt: skip
    for card in cards:
        write_card(card, folder / f"{card.name}{SUFFIX}")
    return cards


def fine_tune_card(
    recipe: Recipe,
    parent: Card,
    train: Dataset,
    validation: Dataset,
    folder: Path,
    *,
    name: str | None = None,
    device: str = "auto",
    quiet: bool = False,
) -> Card:
    """Train `parent` further with its mask fixed, by `recipe`'s schedule, augmentation and seed; see `train_card`."""
    card = fine_tuned(
        recipe, parent, train, validation, folder,
        name=checked_name(name or folder.name), device=device, quiet=quiet, bits=parent.record.bits,
    )  # fmt: skip
    write_card(card, folder / f"{card.name}{SUFFIX}")
    return card


def fine_tuned(
    recipe: Recipe,
    parent: Card,
    train: Dataset,
    validation: Dataset,
    folder: Path,
    *,
    name: str,
    device: str,
    quiet: bool,
    bits: int,
    quantizer: Quantizer | None = None,
) -> Card:
    """What `fine_tune_card` writes, not yet written, in float values of `bits`, on the grid of `quantizer` if given."""
    if parent.record.bits < 16:
        raise InputError(f"card {parent.name!r} has {parent.record.bits} bits: train the card it came from instead")
    bench = Workbench(train, validation, choose_device(device), folder, quiet)
    network = bench.build(recipe).cpu()
    described = recipe.describe()
    if described["network"] != parent.record.network:
        raise InputError(
            f"card {parent.name!r} is a {parent.record.network}, the recipe builds a {described['network']}: "
            "fine-tuning keeps the parent's architecture"
        )
    ticket = bench.fine_tune(recipe, ticket_of(parent, network), parent.id, quantizer)
    method = {"name": "fine_tune", "found_by": parent.record.method}
    return make_card(name, recipe, network, ticket, train, bits=bits, method=method, parents=(parent.id,))


def checked_name(name: str) -> str:
    """The name, or InputError: better now than when hours of training are to be written under it."""
    if not is_name(name):
        raise InputError(f"a card's name must be {NAME_RULE}, got {name!r}: choose another `name` or folder")
    return name


def pack_deck(
    cards: Sequence[Path | Card],
    train: Dataset,
    validation: Dataset,
    folder: Path,
    *,
    name: str | None = None,
    version: str = "1",
    gate: str = "auto",
    max_cards: int = 2,
    most_cards: float = MOST_CARDS,
    most_loss: float = MOST_LOSS,
    abstain_below: float | None = None,
    seconds: float | None = None,
    allow_barrier: bool = False,
) -> Deck:
    """Measure `cards` (files or cards) on validation images, make the gate and write the deck to `folder`.

    `gate` is its kind, or "auto" for the best; `max_cards` may answer one image, `most_cards` on average; `most_loss`
    is what it may lose in a cell (see `make_deck`); `abstain_below` and `seconds` are those of `GateConfig`. Averages
    are refused where a barrier lies between their parents or is not known, unless `allow_barrier`: see `admitted`.
    """
    loaded = [card if isinstance(card, Card) else read_card(card) for card in cards]
    barriers = admitted(loaded, train, validation, allow_barrier=allow_barrier)
    deck = make_deck(
        name or folder.name, version, loaded, train, validation,
        gate=gate, max_cards=max_cards, most_cards=most_cards, most_loss=most_loss,
    )  # fmt: skip
    measured = dict(deck.measured)
    for card, record in barriers.items():
        measured[card] = {**measured[card], "barrier": record}
    deck = replace(deck, gate=replace(deck.gate, abstain_below=abstain_below, seconds=seconds), measured=measured)
    write_deck(deck, folder)
    return replace(deck, folder=folder)
