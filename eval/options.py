"""The options of `python -m eval DECK`, and what they make of the deck and its folder of reports."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

from cards_deck.checks import NAME_RULE, is_name
from cards_deck.deck import Deck
from cards_deck.errors import InputError
from cards_deck.inference.engines import EngineKind
from eval.context import Settings
from eval.suites import SUITES, Suite

HERE = Path(__file__).resolve().parent

USAGE = """\
python -m eval DECK --data ROOT [options]        measure a deck, write its JSON and report
python -m eval write --data ROOT --out DIR       write a suite's images in the public layout
python -m eval robustbench DECK --data ROOT      RobustBench's own benchmark, and a model_info entry
python -m eval report FOLDER...                  render reports again from their JSON
python -m eval compressed DECK OTHER... --data ROOT  a deck beside its compressed versions
python -m eval compare FOLDER FOLDER...          several decks, or one deck under several gates, side by side
python -m eval table [--write FILE...]           the table of all measured results
python -m eval tickets --data ROOT               ticket methods over densities and seeds: tables and curves
python -m eval claims --data ROOT                the claims of sixteen papers, tried here: the scoreboard
"""


def measure_parser() -> argparse.ArgumentParser:
    """Options of `python -m eval DECK`."""
    parser = argparse.ArgumentParser(
        prog="python -m eval",
        description="Measure a deck under corruptions and other shifts.",
        epilog=USAGE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("deck", type=Path, help="folder of the deck, e.g. models/cifar10-medium")
    parser.add_argument(
        "--suite",
        default="cifar10-c",
        choices=[*sorted(SUITES), "all"],
        help="default: %(default)s; all: every suite whose data are there",
    )
    add_data_options(parser)
    _add_run_options(parser, auto="here ONNX Runtime where it is installed, so that runs can be compared")
    gate = parser.add_argument_group("another gate", "the same cards, from the cache; written beside the deck's own")
    gate.add_argument("--gate", choices=("spectral", "uniform"), help="default: the deck's own")
    gate.add_argument("--max-cards", type=int, help="cards per image at most")
    gate.add_argument("--margin", type=float, help="relative margin below which a second augmentation's card joins")
    parser.add_argument(
        "--timing",
        action=argparse.BooleanOptionalAction,
        help="measure milliseconds per image; default: for the deck's own gate only, as it runs the cards",
    )
    parser.add_argument(
        "--samples",
        action="store_true",
        help="also keep sample images and confident mistakes; do not publish what the data set forbids",
    )
    parser.add_argument(
        "--ood",
        type=_named_path,
        action="append",
        default=[],
        metavar="NAME=PATH",
        help="suite ood: also a folder, .npy or .npz file of images that no class fits; can be given again",
    )
    return parser


def compressed_parser() -> argparse.ArgumentParser:
    """Options of `python -m eval compressed`."""
    known = [name for name, suite in SUITES.items() if suite.kind == "corruptions"]
    parser = argparse.ArgumentParser(
        prog="python -m eval compressed", description="Measure a deck and its compressed versions on the same images."
    )
    parser.add_argument("deck", type=Path, help="folder of the deck that the others are compared with")
    parser.add_argument("other", type=Path, nargs="+", help="folder of a deck whose cards have the same names")
    parser.add_argument("--suite", default="cifar10-c", choices=sorted(known), help="default: %(default)s")
    add_data_options(parser)
    _add_run_options(parser, auto="for each card the fastest here that agrees with the reference")
    parser.add_argument("--no-timing", action="store_false", dest="timing", help="do not measure milliseconds")
    return parser


def _add_run_options(parser: argparse.ArgumentParser, *, auto: str) -> None:
    """How to measure and where to keep it; `auto` says what the engine "auto" is."""
    parser.add_argument(
        "--validation",
        type=int,
        default=500,
        help="validation images that temperatures, gates and, where the deck records none, the best card are "
        "fitted on; default: %(default)s",
    )
    parser.add_argument("--resamples", type=int, default=10_000, help="of the bootstrap; default: %(default)s")
    parser.add_argument(
        "--out", type=Path, default=HERE / "reports", help="folder of the reports; default: eval/reports"
    )
    parser.add_argument(
        "--cache", type=Path, default=HERE / "cache", help="kept logits and spectra; default: eval/cache"
    )
    parser.add_argument(
        "--engine",
        type=EngineKind,
        default=EngineKind.AUTO,
        choices=list(EngineKind),
        help=f"default: auto, {auto}",
    )
    parser.add_argument("--threads", type=int, default=1, help="cells measured at the same time; default: 1")


def _named_path(text: str) -> tuple[str, Path]:
    name, separator, path = text.partition("=")
    if not (separator and path and is_name(name)):
        raise argparse.ArgumentTypeError(f"must be NAME=PATH, with a name of {NAME_RULE}; got {text!r}")
    return name, Path(path)


def add_data_options(parser: argparse.ArgumentParser) -> None:
    """Which images: --data, --name, --subset and --seed."""
    parser.add_argument("--data", type=Path, required=True, help="data root, as cards_deck.data.load reads it")
    parser.add_argument(
        "--name",
        help="data set under the root: cifar10, cifar100, folder or the name of an .npz pair; default: the suite's own",
    )
    parser.add_argument("--subset", type=int, help="images per cell, class-balanced; default: all. Clean is always all")
    parser.add_argument("--seed", type=int, default=0, help="of corruptions, subset and bootstrap; default: 0")


def settings_for(options: argparse.Namespace, suite: Suite, folder: Path) -> Settings:
    """The settings that the parsed options of `measure_parser` mean for one suite, whose JSON goes to `folder`."""
    return dataclasses.replace(
        run_settings(options, suite),
        timing=_overrides(options) == {} if options.timing is None else options.timing,
        samples=folder / "samples" / f"{suite.name}.npz" if options.samples else None,
        pairs=folder / f"{suite.name}.pairs.npz",
        ood=tuple(options.ood),
    )


def run_settings(options: argparse.Namespace, suite: Suite) -> Settings:
    """The settings that options common to `measure_parser` and `compressed_parser` mean for one suite."""
    return Settings(
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
        timing=bool(options.timing),
    )


def with_gate(deck: Deck, options: argparse.Namespace) -> tuple[Deck, str]:
    """The deck under the gate that the options ask for, and the name of its folder of reports."""
    changed = _overrides(options)
    if not changed:
        return deck, deck.name
    if options.max_cards is not None and not 1 <= options.max_cards <= len(deck.cards):
        raise InputError(
            f"--max-cards must be 1 to {len(deck.cards)}, as many as the deck has, not {options.max_cards}"
        )
    gate = deck.gate.with_kind(changed.get("kind", deck.gate.kind))
    if "margin" in changed:
        gate = dataclasses.replace(gate, parameters={**gate.parameters, "margin": changed["margin"]})
    gate = dataclasses.replace(gate, max_cards=changed.get("max_cards", gate.max_cards))
    parts = [gate.kind]
    if gate.kind == "spectral":
        parts += [f"maxcards{gate.max_cards}", f"margin{gate.parameters.get('margin', 0.1):g}"]
    # What the manifest says of the deck's own gate is not so of another one.
    most_loss = {key: value for key, value in deck.measured.get("gate", {}).items() if key == "most_loss"}
    changed_deck = dataclasses.replace(deck, gate=gate, measured={**deck.measured, "gate": most_loss})
    return changed_deck, f"{deck.name}@{'-'.join(parts)}"


def _overrides(options: argparse.Namespace) -> dict[str, Any]:
    named = {"kind": options.gate, "max_cards": options.max_cards, "margin": options.margin}
    return {name: value for name, value in named.items() if value is not None}
