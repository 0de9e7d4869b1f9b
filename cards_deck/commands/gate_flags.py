"""The flags of commands that fit a deck's gate: its kind and cost, and the limits that no fit decides."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from cards_deck.errors import InputError
from cards_deck.gate_config import GateConfig
from cards_deck.inference.gates import GATES, check_budget, check_loss

LIMITS = ("abstain_below", "seconds")


def add_kind(
    group: argparse._ArgumentGroup, *, most_cards: float | None, most_loss: float | None, told: str | None = None
) -> None:
    """Add the flags of a fit with their defaults; `told` is what help says of them where they are None."""
    kinds = GATES.names()
    group.add_argument(
        "--gate", choices=("auto", *kinds), default="auto", metavar="KIND",
        help=f"auto: the cheapest of those that do best on validation images, or one of {', '.join(kinds)} (auto)",
    )  # fmt: skip
    group.add_argument(
        "--most-cards", type=budget, default=most_cards, metavar="N",
        help=f"most cards per image on average ({told or f'{most_cards:g}'})",
    )  # fmt: skip
    group.add_argument(
        "--most-loss", type=loss, default=most_loss, metavar="SHARE",
        help="most accuracy to lose against the plain average of all cards, on validation images clean, augmented or "
        f"under any corruption, each left out of the fit that is judged on it ({told or f'{most_loss:g}'})",
    )  # fmt: skip


def add_limits(parser: argparse.ArgumentParser, *, kept: str) -> None:
    """Add the flags of the limits; `kept` tells what they are where no flag is given."""
    group = parser.add_argument_group("limits of the gate", "`none` takes one away")
    group.add_argument(
        "--abstain-below", type=_reader("abstain_below"), default=argparse.SUPPRESS, metavar="P",
        help="name no class for an image of unknown spectrum where none reaches this probability, in [0, 1]; "
        f"known images are always named ({kept})",
    )  # fmt: skip
    group.add_argument(
        "--gate-seconds", type=_reader("seconds"), default=argparse.SUPPRESS, metavar="S", dest="seconds",
        help=f"start no further card once a request has taken so long; every image gets one card's answer ({kept})",
    )  # fmt: skip


def budget(text: str) -> float:
    """Reads a mean number of cards per image: at least 1."""
    return _checked(text, check_budget, "of at least 1")


def loss(text: str) -> float:
    """Reads a share of accuracy: from 0 to 1."""
    return _checked(text, check_loss, "from 0 to 1")


def _checked(text: str, check: Callable[[float], None], must: str) -> float:
    try:
        check(value := float(text))
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    except ValueError:
        raise argparse.ArgumentTypeError(f"it must be a number {must}, not {text!r}") from None
    return value


def limits(arguments: argparse.Namespace) -> dict[str, Any]:
    """The fields of a `GateConfig`, numbers or None, that the flags of `add_limits` set: only those that were given."""
    return {name: getattr(arguments, name) for name in LIMITS if hasattr(arguments, name)}


def _reader(name: str) -> Callable[[str], float | None]:
    """Reads a limit as `GateConfig` allows it: better now than after the cards were measured."""

    def read(text: str) -> float | None:
        try:
            value = None if text == "none" else float(text)
            replace(GateConfig(), **dict[str, Any]({name: value}))
        except InputError as error:
            raise argparse.ArgumentTypeError(str(error)) from error
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"it must be a number or none, not {text!r}") from error
        return value

    return read
