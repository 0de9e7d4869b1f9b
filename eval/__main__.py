"""The command line: `python -m eval models/<deck>`; `python -m eval --help` lists the rest."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence

from cards_deck.errors import CardsDeckError
from eval import commands

COMMANDS: dict[str, Callable[[Sequence[str]], int]] = {
    "write": commands.write,
    "report": commands.rerender,
    "compressed": commands.compressed,
    "compare": commands.compare,
    "robustbench": commands.robustbench,
    "table": commands.table,
    "tickets": commands.tickets,
    "claims": commands.claims,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; errors this project raises on purpose are one line on stderr and exit status 1."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if given and given[0] in COMMANDS:
            return COMMANDS[given[0]](given[1:])
        return commands.measure(given)
    except (CardsDeckError, OSError, json.JSONDecodeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped; finished cells are kept in the cache, the same command goes on from there", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
