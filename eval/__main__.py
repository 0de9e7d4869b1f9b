"""The command line: `python -m eval models/<deck>`, `python -m eval report`, `python -m eval table`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from cards_deck.deck import read_deck
from cards_deck.errors import CardsDeckError
from cards_deck.inference.engines import EngineKind
from eval import report, tables
from eval.context import Settings
from eval.evaluate import evaluate
from eval.suites import SUITES, suite_named

HERE = Path(__file__).resolve().parent

USAGE = """\
python -m eval DECK --data ROOT [options]   measure a deck, write its JSON and report
python -m eval report JSON...               render the reports again from their JSON
python -m eval table [--write FILE...]      the table of all measured results
"""


def measure_parser() -> argparse.ArgumentParser:
    """Options of `python -m eval DECK`."""
    parser = argparse.ArgumentParser(
        prog="python -m eval",
        description="Measure a deck under corruptions.",
        epilog=USAGE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("deck", type=Path, help="folder of the deck, e.g. models/cifar10-starter")
    parser.add_argument("--suite", default="cifar10-c", choices=sorted(SUITES), help="default: %(default)s")
    parser.add_argument("--data", type=Path, required=True, help="data root, as cards_deck.data.load reads it")
    parser.add_argument(
        "--name",
        help="data set under the root: cifar10, cifar100, folder or the name of an .npz pair; default: the suite's own",
    )
    parser.add_argument("--subset", type=int, help="images per cell, class-balanced; default: all. Clean is always all")
    parser.add_argument("--seed", type=int, default=0, help="of corruptions, subset and bootstrap; default: 0")
    parser.add_argument(
        "--validation",
        type=int,
        default=1000,
        help="validation images that choose the best single card where the deck records none",
    )
    parser.add_argument("--resamples", type=int, default=10_000, help="of the bootstrap; default: %(default)s")
    parser.add_argument(
        "--out", type=Path, default=HERE / "reports", help="folder of the reports; default: eval/reports"
    )
    parser.add_argument(
        "--cache", type=Path, default=HERE / "cache", help="kept logits and spectra; default: eval/cache"
    )
    parser.add_argument(
        "--engine", type=EngineKind, default=EngineKind.AUTO, choices=list(EngineKind), help="default: auto"
    )
    parser.add_argument("--threads", type=int, default=1, help="cells measured at the same time; default: 1")
    return parser


def measure(arguments: Sequence[str]) -> int:
    """Measure one deck and write its JSON, HTML and Markdown report."""
    options = measure_parser().parse_args(arguments)
    suite = suite_named(options.suite)
    settings = Settings(
        suite=suite,
        root=options.data,
        name=options.name or suite.data,
        subset=options.subset,
        seed=options.seed,
        validation=options.validation,
        resamples=options.resamples,
        cache=options.cache,
        threads=options.threads,
        engine=options.engine,
    )
    deck = read_deck(options.deck)
    result = evaluate(deck, settings, command=["python", "-m", "eval", *arguments])
    path = report.write_json(result, options.out / deck.name / f"{suite.name}.json")
    written = report.write_reports(path)
    print("\n".join([report.summary_line(result), *(f"wrote {file}" for file in (path, *written))]))
    return 0


def rerender(arguments: Sequence[str]) -> int:
    """Render HTML and Markdown again from report JSON files."""
    parser = argparse.ArgumentParser(prog="python -m eval report", description="Render reports from their JSON.")
    parser.add_argument("json", type=Path, nargs="+")
    for path in parser.parse_args(arguments).json:
        print("\n".join(f"wrote {file}" for file in report.write_reports(path)))
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; errors this project raises on purpose are one line on stderr and exit status 1."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    commands = {"report": rerender, "table": tables.main}
    try:
        if given and given[0] in commands:
            return commands[given[0]](given[1:])
        return measure(given)
    except (CardsDeckError, OSError, json.JSONDecodeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped; finished cells are kept in the cache, the same command goes on from there", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
