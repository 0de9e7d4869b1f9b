"""What each command of `python -m eval` does. Reports are drawn by modules that are imported when they are needed."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path

from cards_deck import data
from cards_deck.deck import read_deck
from cards_deck.errors import DataError, InputError, MissingExtraError
from eval.cells import balanced_subset, ranks_by_pixels
from eval.evaluate import evaluate
from eval.options import add_data_options, compressed_parser, measure_parser, run_settings, settings_for, with_gate
from eval.progress import Progress
from eval.suites import SUITES, Suite, suite_named


def measure(arguments: Sequence[str]) -> int:
    """Measure one deck: write the JSON of each suite, then the report of everything measured on the deck so far."""
    from eval import report
    from eval.report.samples import refuse_published

    options = measure_parser().parse_args(arguments)
    deck, name = with_gate(read_deck(options.deck), options)
    folder = options.out / name
    if options.samples:
        refuse_published(folder)
    written = []
    for suite in _suites(options):
        try:
            result = evaluate(deck, settings_for(options, suite, folder), command=["python", "-m", "eval", *arguments])
        except (DataError, InputError, MissingExtraError) as error:
            if options.suite != "all":
                raise
            print(f"{suite.name} is left out: {error}", file=sys.stderr)
            continue
        written.append(report.write_json(result, folder / f"{suite.name}.json"))
        print(report.summary_line(result))
    if not written:
        raise DataError(f"no suite could be measured with the data under {options.data}")
    written += report.write_reports(folder)
    print("\n".join(f"wrote {file}" for file in written))
    return 0


def _suites(options: argparse.Namespace) -> list[Suite]:
    if options.suite != "all":
        return [suite_named(options.suite)]
    if options.name is not None:
        raise InputError("--suite all measures each suite on its own data: leave --name out, or name one suite")
    return sorted(SUITES.values(), key=lambda suite: (suite.kind != "corruptions", suite.name))


def write(arguments: Sequence[str]) -> int:
    """Write the corrupted images of a suite where other tools find them: one .npy per corruption and labels.npy."""
    from eval.layout import write_layout
    from eval.suites.corruptions import CorruptionSuite

    known = [name for name, suite in SUITES.items() if isinstance(suite, CorruptionSuite)]
    parser = argparse.ArgumentParser(prog="python -m eval write", description="Write a suite in the public layout.")
    parser.add_argument("--suite", default="cifar10-c", choices=sorted(known), help="default: %(default)s")
    add_data_options(parser)
    parser.add_argument("--image-size", type=int, help="width in pixels; needed with --name folder")
    parser.add_argument("--out", type=Path, required=True, help="data root to write into, e.g. DIR/CIFAR-10-C/fog.npy")
    parser.add_argument("--processes", type=int, default=1, help="default: 1")
    options = parser.parse_args(arguments)
    suite = SUITES[options.suite]
    assert isinstance(suite, CorruptionSuite)
    folder = options.out / suite.folder
    test = data.load(options.data, name=options.name or suite.data, split="test", image_size=options.image_size)
    part = test.subset(balanced_subset(test.labels, ranks_by_pixels(test.images, options.seed), options.subset))
    progress = Progress(len(suite.cells) * len(part), folder.name)
    write_layout(
        part.images,
        part.labels,
        folder,
        suite.corruptions,
        seed=options.seed,
        processes=options.processes,
        progress=progress.add,
    )
    print(f"wrote {folder}: {len(suite.cells)} cells of {len(part):,} images, regenerated with seed {options.seed}")
    return 0


def rerender(arguments: Sequence[str]) -> int:
    """Render HTML and Markdown again from the JSON files in folders of reports."""
    from eval import report

    parser = argparse.ArgumentParser(prog="python -m eval report", description="Render reports from their JSON.")
    parser.add_argument("folder", type=Path, nargs="+", help="eval/reports/<deck>")
    for folder in parser.parse_args(arguments).folder:
        print("\n".join(f"wrote {file}" for file in report.write_reports(folder)))
    return 0


def compressed(arguments: Sequence[str]) -> int:
    """Measure a deck beside its compressed versions: compressed.json among the deck's suites, and its report."""
    from eval import report
    from eval.compressed import Compressed
    from eval.suites.corruptions import CorruptionSuite

    options = compressed_parser().parse_args(arguments)
    benchmark, deck = SUITES[options.suite], read_deck(options.deck)
    assert isinstance(benchmark, CorruptionSuite)
    suite = Compressed(benchmark, tuple(map(read_deck, options.other)))
    command = ["python", "-m", "eval", "compressed", *arguments]
    result = evaluate(deck, run_settings(options, suite), command=command)
    folder = options.out / deck.name
    written = [report.write_json(result, folder / f"{suite.name}.json")]
    print(report.summary_line(result))
    print("\n".join(f"wrote {file}" for file in [*written, *report.write_reports(folder)]))
    return 0


def compare(arguments: Sequence[str]) -> int:
    """Two or more measured decks side by side."""
    from eval.report import compare as comparison

    return comparison.main(arguments)


def robustbench(arguments: Sequence[str]) -> int:
    """RobustBench's own benchmark on a deck, and its entry for the leaderboard."""
    if importlib.util.find_spec("robustbench") is None:
        raise MissingExtraError("RobustBench is not installed: pip install 'cards-deck[robustbench]'")
    from eval import robustbench as bridge

    return bridge.main(arguments)


def table(arguments: Sequence[str]) -> int:
    """The table of all measured results."""
    from eval import tables

    return tables.main(arguments)


def tickets(arguments: Sequence[str]) -> int:
    """Ticket methods over densities and seeds."""
    from eval.tickets import grid

    return grid.main(arguments)


def claims(arguments: Sequence[str]) -> int:
    """The claims of sixteen papers."""
    from eval.tickets import scoreboard

    return scoreboard.main(arguments)
