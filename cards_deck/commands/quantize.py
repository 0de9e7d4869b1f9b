"""Give a card fewer bits, its mask fixed, and write it as FOLDER/NAME.card.safetensors.

cards-deck quantize runs/augmix/augmix.card.safetensors --quantizer int8 --data photos --image-size 64 --out runs/int8
cards-deck quantize runs/augmix/augmix.card.safetensors --quantizer binary --epochs 5 --data photos --image-size 64 \\
    --out runs/binary
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from cards_deck.card import read_card
from cards_deck.commands.flags import add_data, add_fields, add_member, build_member, given, load_data
from cards_deck.commands.pack import require_training
from cards_deck.errors import InputError


def configure(parser: argparse.ArgumentParser, argv: Sequence[str]) -> None:
    """Add the flags; those of the quantizer that `argv` chooses among them."""
    require_training()
    from cards_deck.training.quantizers import QUANTIZERS
    from cards_deck.training.schedule import Schedule

    parser.add_argument("card", type=Path, metavar="CARD", help="the file of a card of 16 or 32 bits")
    add_data(parser)
    group = parser.add_argument_group("run")
    group.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="gets the card, its log, checkpoints")
    group.add_argument("--card-name", metavar="NAME", help="of the card (the name of FOLDER)")
    group.add_argument(
        "--epochs", type=int, default=0, metavar="N", help="train under the quantizer, mask fixed; 0 only rounds (0)"
    )
    group.add_argument("--seed", type=int, default=0, help="of data order and augmentation (0)")
    group.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, ... (auto)")
    group.add_argument("--threads", type=int, metavar="N", help="CPU threads (torch's own)")
    group.add_argument("--quiet", action="store_true", help="show no progress")
    add_member(parser, "quantizer", QUANTIZERS, "int8", argv)
    add_fields(parser, "schedule", Schedule, title="schedule of --epochs")


def run(arguments: argparse.Namespace) -> int:
    """Quantize, write and name the card."""
    from cards_deck.training.quantizers import QUANTIZERS
    from cards_deck.training.quantizing import quantize_card
    from cards_deck.training.run import SUFFIX, set_threads
    from cards_deck.training.schedule import Schedule

    if arguments.threads is not None:
        set_threads(arguments.threads)
    fields = given(arguments, "schedule")
    if "epochs" in fields or (fields and not arguments.epochs):
        raise InputError("--schedule is that of --epochs N: give that, and leave --schedule.epochs out")
    schedule = Schedule(**{"learning_rate": 0.02, **fields, "epochs": arguments.epochs}) if arguments.epochs else None
    card = quantize_card(
        read_card(arguments.card), build_member(arguments, "quantizer", QUANTIZERS), *load_data(arguments),
        arguments.out, schedule=schedule, seed=arguments.seed, name=arguments.card_name, device=arguments.device,
        quiet=arguments.quiet,
    )  # fmt: skip
    path = arguments.out / f"{card.name}{SUFFIX}"
    print(f"{path}: card {card.id}, {card.record.bits} bits, {path.stat().st_size:,} bytes")
    return 0
