"""Train a sparse card and write it as FOLDER/NAME.card.safetensors. A killed run goes on when the command is repeated.

`cards-deck methods` lists the methods, `cards-deck train METHOD --help` explains one and its settings.

A folder of your own images, a small network, then the same mask fine-tuned under noise:
  cards-deck train --data photos --image-size 64 --augmentation augmix --network.widths 16,32,64 \\
      --network.blocks 1,1,1 --schedule.epochs 15 --schedule.batch_size 32 --out runs/augmix
  cards-deck train --data photos --image-size 64 --augmentation gaussian --from runs/augmix/augmix.card.safetensors \\
      --schedule.epochs 5 --schedule.batch_size 32 --schedule.learning_rate 0.03 --out runs/gaussian
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from cards_deck.card import Card, read_card
from cards_deck.commands.flags import add_data, add_fields, add_member, build_member, given, load_data
from cards_deck.commands.pack import require_training
from cards_deck.costs import card_costs
from cards_deck.errors import InputError

NETWORK = "resnet"


def configure(parser: argparse.ArgumentParser, argv: Sequence[str]) -> None:
    """Add the flags; those of the network, the method and the augmentation that `argv` chooses among them."""
    require_training()
    from cards_deck.training.augmentations import AUGMENTATIONS
    from cards_deck.training.networks import NETWORKS
    from cards_deck.training.schedule import Schedule
    from cards_deck.training.tickets import METHODS

    name = argv[0] if argv and not argv[0].startswith("-") else None
    parser.add_argument(
        "found_by", nargs="?", metavar="METHOD", help="the ticket method, first of all arguments; or --method"
    )
    add_data(parser)
    group = parser.add_argument_group("run")
    group.add_argument(
        "--out", type=Path, required=True, metavar="FOLDER", help="gets the card, its log and checkpoints"
    )
    group.add_argument("--card-name", metavar="NAME", help="of the card (the name of FOLDER)")
    group.add_argument("--from", type=Path, metavar="CARD", dest="parent", help="fine-tune this card, its mask fixed")
    group.add_argument("--given", type=Path, metavar="CARD", help="card that the method begins with, if it takes one")
    group.add_argument("--seed", type=int, default=0, help="of weights, masks, data order and augmentation (0)")
    group.add_argument("--bits", type=int, choices=(16, 32), default=16, help="width of a stored value (16)")
    group.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, ... (auto)")
    group.add_argument(
        "--threads", type=int, metavar="N", help="CPU threads: same seed, same threads, same bits (torch's own)"
    )
    group.add_argument("--quiet", action="store_true", help="show no progress")
    parser.set_defaults(named_first=name is not None)
    if name is not None:
        add_member(parser, "method", METHODS, name, argv, others=False)
    add_member(parser, "augmentation", AUGMENTATIONS, "augmix", argv)
    add_member(parser, "network", NETWORKS, NETWORK, argv)
    if name is None:
        add_member(parser, "method", METHODS, "rigl", argv)
    add_fields(parser, "schedule", Schedule, title="schedule")


def run(arguments: argparse.Namespace) -> int:
    """Train, write and name the cards."""
    from cards_deck.training.augmentations import AUGMENTATIONS
    from cards_deck.training.networks import NETWORKS
    from cards_deck.training.recipe import Recipe
    from cards_deck.training.run import SUFFIX, fine_tune_card, set_threads, train_card
    from cards_deck.training.schedule import Schedule
    from cards_deck.training.tickets import METHODS

    if arguments.threads is not None:
        set_threads(arguments.threads)
    if arguments.found_by not in (None, arguments.method):
        if not arguments.named_first:
            raise InputError(
                f"{arguments.found_by!r} comes after flags: a method must be the first argument after `train`, or be "
                f"named by --method {arguments.found_by}"
            )
        raise InputError(f"two methods, {arguments.found_by} and {arguments.method}: name one")
    parent = _parent(arguments)
    begun = read_card(arguments.given) if arguments.given else None
    recipe = Recipe(
        network=NETWORKS.restore(parent.record.network) if parent else build_member(arguments, "network", NETWORKS),
        method=build_member(arguments, "method", METHODS),
        augmentation=build_member(arguments, "augmentation", AUGMENTATIONS),
        schedule=Schedule(**given(arguments, "schedule")),
        seed=arguments.seed,
    )
    train, validation = load_data(arguments)
    where = {"name": arguments.card_name, "device": arguments.device, "quiet": arguments.quiet}
    cards: tuple[Card, ...]
    if parent:
        cards = (fine_tune_card(recipe, parent, train, validation, arguments.out, **where),)
    else:
        cards = train_card(recipe, train, validation, arguments.out, given=begun, bits=arguments.bits, **where)
    for card in cards:
        left = 100 * card_costs(card, train.images.shape[1]).flop_density
        kept = f"{100 * card.density:.2f} % of weights and {left:.2f} % of multiply-adds kept"
        print(f"{arguments.out / (card.name + SUFFIX)}: card {card.id}, {kept}")
    return 0


def _parent(arguments: argparse.Namespace) -> Card | None:
    if arguments.parent is None:
        return None
    card = read_card(arguments.parent)
    refused = [f"--{flag}.{name}" for flag in ("network", "method") for name in given(arguments, flag)]
    refused += [name for name in (arguments.found_by, arguments.given and f"--given {arguments.given}") if name]
    if arguments.network not in (NETWORK, card.record.network["name"]):
        refused.append(f"--network {arguments.network}")
    if refused:
        raise InputError(f"--from keeps the card's network and mask: leave out {', '.join(refused)}")
    return card
