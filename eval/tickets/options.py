"""The options of `python -m eval tickets` and `python -m eval claims`."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cards_deck.commands.flags import add_fields, add_member
from cards_deck.training.augmentations import AUGMENTATIONS
from cards_deck.training.networks import NETWORKS
from cards_deck.training.schedule import Schedule
from eval.options import HERE
from eval.tickets.run import Place
from eval.tickets.scales import SCALES, SMALL, Scale

NETWORK, AUGMENTATION = "resnet", "crop_flip"


def numbers(text: str) -> tuple[float, ...]:
    """ "0.2,0.1,0.05", or "0.8^0-14" for the powers 0 to 14 of 0.8."""
    power = re.fullmatch(r"(0?\.\d+)\^(\d+)-(\d+)", text)
    try:
        if power:
            return tuple(float(power[1]) ** level for level in range(int(power[2]), int(power[3]) + 1))
        return tuple(map(float, text.split(",")))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"must be numbers like 0.2,0.1 or powers like 0.8^0-14, got {text!r}"
        ) from None


def whole_numbers(text: str) -> tuple[int, ...]:
    """ "0,1,2"."""
    try:
        return tuple(map(int, text.split(",")))
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be whole numbers like 0,1,2, got {text!r}") from None


def names(text: str) -> list[str]:
    """ "rigl,lottery"."""
    return [name for name in text.split(",") if name]


def field_value(text: str) -> tuple[str, str, Any]:
    """ "lottery.rewind=100" as (method, field, value); a value that is no JSON is a text."""
    found = re.fullmatch(r"(\w+)\.(\w+)=(.*)", text)
    if found is None:
        raise argparse.ArgumentTypeError(f"must be METHOD.FIELD=VALUE, got {text!r}")
    try:
        return found[1], found[2], json.loads(found[3])
    except ValueError:
        return found[1], found[2], found[3]


def _told(scale: Scale) -> str:
    fields = ", ".join(f"{key} {value}" for key, value in scale.network.items() if key != "name")
    schedule = scale.schedule
    return f"a {scale.network['name']} ({fields}), {schedule.epochs} epochs, batches of {schedule.batch_size}"


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, metavar="ROOT", help="data root, as cards_deck.data.load reads it")
    parser.add_argument(
        "--scale", default="small", choices=sorted(SCALES),
        help=f"small: one CPU core; full: a GPU (small). Network, schedule and images are the scale's where nothing "
        f"else is said, not the defaults listed below: of small {_told(SMALL)}",
    )  # fmt: skip
    parser.add_argument("--seeds", type=whole_numbers, default=(0, 1, 2), help="0,1,2 by default")
    parser.add_argument("--processes", type=int, default=1, metavar="N", help="cells at a time, one thread each (1)")
    parser.add_argument("--device", default="cpu", help="torch device to train on (cpu)")
    parser.add_argument(
        "--work", type=Path, default=HERE / "cache" / "tickets", help="checkpoints and cards (eval/cache/tickets)"
    )
    parser.add_argument("--report", action="store_true", help="run nothing: write the report of the finished cells")


def tickets_parser(argv: Sequence[str]) -> argparse.ArgumentParser:
    """Options of `python -m eval tickets`; `argv` decides whose fields are offered."""
    parser = argparse.ArgumentParser(
        prog="python -m eval tickets", allow_abbrev=False,
        description="Ticket methods over densities and seeds (ShrinkBench's protocol): cells, tables, curves. A killed "
        "run goes on where it stopped.",
    )  # fmt: skip
    _add_common(parser)
    parser.add_argument("--name", default="cifar10", help="data set under the root (cifar10)")
    parser.add_argument("--image-size", type=int, metavar="PIXELS", help="needed with --name folder")
    parser.add_argument("--methods", type=names, metavar="NAMES", help="e.g. lottery,rigl,fine_tune,random; `levels`: "
                        "every level of one run of iterative pruning. By default a few that cost little, or `levels` "
                        "with label noise")  # fmt: skip
    parser.add_argument("--densities", type=numbers, help="0.2,0.1,0.05 by default; 0.8^0-14: powers")
    parser.add_argument("--set", type=field_value, action="append", default=[], metavar="METHOD.FIELD=VALUE",
                        help="another field of a method, e.g. lottery.rewind=100; can be given again")  # fmt: skip
    parser.add_argument("--images", type=int, help="training images, as many of each class (5000, full: all)")
    parser.add_argument("--epochs", type=int, help="of each training run; the same as --schedule.epochs")
    parser.add_argument("--label-noise", type=float, default=0.0, metavar="SHARE", help="of wrong training labels (0)")
    parser.add_argument("--validation", type=int, help="held-out images measured clean")
    parser.add_argument("--corrupted", type=int, help="of those, under each validation corruption")
    parser.add_argument("--test", type=int, help="test images measured clean (all)")
    parser.add_argument("--test-corrupted", type=int, help="of those, under each of the 15 corruptions")
    parser.add_argument("--out", type=Path, default=HERE / "reports" / "tickets", help="default: eval/reports/tickets")
    add_member(parser, "network", NETWORKS, NETWORK, argv)
    add_member(parser, "augmentation", AUGMENTATIONS, AUGMENTATION, argv)
    add_fields(parser, "schedule", Schedule, title="schedule (defaults are the scale's)")
    return parser


def claims_parser() -> argparse.ArgumentParser:
    """Options of `python -m eval claims`."""
    parser = argparse.ArgumentParser(
        prog="python -m eval claims", allow_abbrev=False,
        description="The central claims of sixteen papers, tried at a small scale. A killed run goes on where it "
        "stopped.",
    )  # fmt: skip
    _add_common(parser)
    parser.add_argument("--only", type=names, metavar="KEYS", help="e.g. lottery,rigl; default: all sixteen")
    parser.add_argument(
        "--plan", action="store_true", help="run nothing: list the cells, done or missing, with minutes"
    )
    parser.add_argument(
        "--out", type=Path, default=HERE / "reports", help="gets claims.md and claims/cells (eval/reports)"
    )
    return parser


def place_of(options: argparse.Namespace, command: Sequence[str], out: Path) -> Place:
    """Where the options say that cells are made; `out` is the folder that holds `cells`."""
    return Place(options.data or Path(), out, options.work, options.device, tuple(command))
