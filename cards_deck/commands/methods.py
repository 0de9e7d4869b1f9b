"""List every method that finds a sparse card: its name, what it does, and the paper that it comes from.

`cards-deck train METHOD --help` explains one: the algorithm, and each setting with its default and where that is from.
"""

from __future__ import annotations

import argparse
import inspect
import re
from collections.abc import Sequence

from cards_deck.commands.pack import require_training
from cards_deck.errors import InputError


def configure(parser: argparse.ArgumentParser, argv: Sequence[str]) -> None:
    """No flags."""


def run(arguments: argparse.Namespace) -> int:
    """Print the list."""
    require_training()
    from cards_deck.training.tickets import METHODS

    names = METHODS.names()
    width = max(map(len, names))
    for name in names:
        line, paper = summary(METHODS[name])
        print(f"{name:{width}}  {line}\n{'':{width}}  {paper}")
    return 0


def summary(cls: type[object]) -> tuple[str, str]:
    """What a registered method does, in one line, and its paper: the two halves of its docstring's first paragraph.

    InputError unless that reads `What it does (Authors, VENUE YEAR).`
    """
    first = " ".join((inspect.getdoc(cls) or "").partition("\n\n")[0].split())
    found = re.fullmatch(r"(.+?)\.? \(([^()]+, [^()]*(?:19|20)\d\d)\)\.", first)
    if found is None:
        raise InputError(
            f"the docstring of {cls.__qualname__} must begin `What it does (Authors, VENUE YEAR).`, not {first!r}"
        )
    return found[1], found[2]
