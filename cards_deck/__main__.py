"""The `cards-deck` command: make cards, pack them into decks, look at decks and ask them.

Each command is a module of `cards_deck.commands` with `configure(parser, argv)` and `run(arguments) -> exit status`.
Only the one that is asked for is imported, so that nothing but training waits for torch.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

from cards_deck.errors import CardsDeckError

COMMANDS = {
    "train": "find a sparse card on a data set, or fine-tune one under another augmentation",
    "methods": "list the methods that find sparse cards, with their papers",
    "build": "make a whole deck by a recipe, one file: train, pack, average, fit the gate",
    "search": "train the cards of a recipe as trials and rank them on validation images",
    "pack": "measure cards on validation images, make the gate and write a deck",
    "blend": "average cards of a deck into one more: WiSE-FT of two, or a soup",
    "stability": "train two copies of a card apart and measure the barrier between them",
    "quantize": "give a card fewer bits: int8, ternary, binary or fp16",
    "repack": "write a deck again in fewer bytes, every weight the same",
    "show": "list the cards of a deck",
    "predict": "classify image files with a deck",
    "explain": "draw why a deck answers an image as it does",
    "tune-gate": "fit the gate of a deck to your own images, which need no labels",
}
FAILED = 1  # what the system refused: a full disk, a file that may not be read
STOPPED = 130  # as a shell has it for a program ended by Ctrl-C
RESUMED = ("train", "build", "search", "stability")
REFUSED = 2  # exit status for wrong arguments, as argparse has it, and for everything refused on purpose


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status. What stops it is one line on stderr; status 2 is a refusal."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] not in COMMANDS:
        return _overview(arguments)
    name, rest = arguments[0], arguments[1:]
    module = importlib.import_module(f"cards_deck.commands.{name.replace('-', '_')}")
    parser = argparse.ArgumentParser(
        prog=f"cards-deck {name}", description=module.__doc__, allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    try:
        module.configure(parser, rest)
        return int(module.run(parser.parse_args(rest)))
    except CardsDeckError as error:
        return _stop(name, error, REFUSED)
    except OSError as error:
        return _stop(name, error, FAILED)
    except KeyboardInterrupt:
        return _stop(name, "stopped; repeat the command to go on" if name in RESUMED else "stopped", STOPPED)


def _stop(name: str, reason: object, status: int) -> int:
    print(f"cards-deck {name}: {' '.join(str(reason).split())}", file=sys.stderr)
    return status


def _overview(arguments: list[str]) -> int:
    from cards_deck import __version__

    width = max(map(len, COMMANDS)) + 2
    lines = "\n".join(f"  {name:{width}}{summary}" for name, summary in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="cards-deck", allow_abbrev=False, usage="cards-deck COMMAND ...",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f"commands:\n{lines}\n\n`cards-deck COMMAND --help` tells the rest.",
    )  # fmt: skip
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND", help="one of the commands below")
    parser.parse_args(arguments)
    return REFUSED


if __name__ == "__main__":
    sys.exit(main())
