"""`python -m eval tickets`: density x method x seed, each a cell; see ShrinkBench (Blalock et al., MLSys 2020).

Its rules for reports (several ratios, size and speed-up, three seeds or more with their deviation, the same start for
all, magnitude and random pruning beside every method) are as remembered, unverified.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Sequence

from cards_deck.commands.flags import build_member, given
from cards_deck.errors import InputError
from cards_deck.registry import describe
from cards_deck.training.augmentations import AUGMENTATIONS
from cards_deck.training.networks import NETWORKS
from cards_deck.training.tickets import METHODS
from eval.tickets.cells import Cell, Setting
from eval.tickets.controls import CONTROLS
from eval.tickets.grid_report import write_reports
from eval.tickets.options import NETWORK, place_of, tickets_parser
from eval.tickets.pool import run_all
from eval.tickets.scales import Scale, described, fields_for, scale_named

CHEAP = ("fine_tune", "gradual_magnitude", "random", "rigl", "set", "snip")
DENSITIES = (0.2, 0.1, 0.05)
LEVELS = "levels"  # whose one cell has every density down to the least
BY_LEVEL = 0.2  # pruned per level where `levels` follows the powers of 0.8


def setting_of(options: argparse.Namespace, scale: Scale) -> Setting:
    """The setting of every cell: the scale's where the options say nothing."""
    schedule = dataclasses.replace(scale.schedule, **given(options, "schedule"))
    if options.epochs is not None:
        schedule = dataclasses.replace(schedule, epochs=options.epochs)
    augmentation = describe(build_member(options, "augmentation", AUGMENTATIONS))
    asked = {"images": options.images, "validation": options.validation, "corrupted": options.corrupted,
             "test": options.test, "test_corrupted": options.test_corrupted}  # fmt: skip
    found = scale.setting(
        schedule, augmentation, data=options.name, image_size=options.image_size, label_noise=options.label_noise,
        **{name: value for name, value in asked.items() if value is not None},
    )  # fmt: skip
    if options.network != NETWORK:
        return dataclasses.replace(found, network=describe(build_member(options, "network", NETWORKS)))
    fields = {key: value for key, value in scale.network.items() if key != "name"} | given(options, "network")
    return dataclasses.replace(found, network=describe(NETWORKS.restore({"name": NETWORK, **fields})))


def grid(options: argparse.Namespace) -> list[Cell]:
    """The cells that the options ask for; InputError for a method or a field that there is not."""
    scale = scale_named(options.scale)
    setting = setting_of(options, scale)
    methods = options.methods or ([LEVELS] if options.label_noise else list(CHEAP))
    densities = options.densities or DENSITIES
    for name in [*methods, *(name for name, _, _ in options.set)]:
        if name not in METHODS and name not in CONTROLS:
            raise InputError(f"unknown method {name!r}: choose among {', '.join([*METHODS.names(), LEVELS])}")
    if idle := sorted({name for name, _, _ in options.set} - set(methods)):
        raise InputError(f"--set changes {idle[0]}, which is not among the methods: {', '.join(methods)}")
    cells = []
    for seed in options.seeds:
        for name in methods:
            changed = {field: value for method, field, value in options.set if method == name}
            fields = _suited(scale, name, setting) | changed
            if name == LEVELS:
                densities_here: tuple[float, ...] = (min(densities),)
                fields = {"rate": BY_LEVEL, "rewind": 0} | changed
            else:
                densities_here = densities
            cells += [
                Cell(f"{name}-d{density:.4g}", setting, _method(name, density=density, **fields), seed)
                for density in densities_here
            ]
    return cells


def _method(name: str, **fields: object) -> dict[str, object]:
    """The method's record; InputError for a field of the wrong kind."""
    try:
        return described(name, **fields)
    except TypeError as error:
        given = ", ".join(f"{field}={value!r}" for field, value in fields.items())
        raise InputError(
            f"{name} cannot be made with {given} ({error}): see `cards-deck train {name} --help`"
        ) from None


def _suited(scale: Scale, name: str, setting: Setting) -> dict[str, object]:
    """The fields that suit the scale; where the schedule is shorter, networks are rewound to a quarter of its epochs
    at most and masks move several times."""
    fields = dict(fields_for(scale, name))
    epochs, images = int(setting.schedule["epochs"]), setting.images or 45_000
    steps = images // int(setting.schedule["batch_size"])  # of an epoch
    if "rewind" in fields:
        fields["rewind"] = min(scale.rewind, epochs // 4) * steps
    if "interval" in fields:
        fields["interval"] = min(scale.interval, max(1, epochs * steps // 4))
    return fields


def main(arguments: Sequence[str]) -> int:
    """`python -m eval tickets`."""
    options = tickets_parser(arguments).parse_args(arguments)
    place = place_of(options, ["python", "-m", "eval", "tickets", *arguments], options.out)
    failed = []
    if not options.report:
        if options.data is None:
            raise InputError("--data must name the data root, unless --report is given")
        failed = run_all(grid(options), place, options.processes)
    print("\n".join(f"wrote {path}" for path in write_reports(options.out)))
    for line in failed:
        print(f"failed: {line}", file=sys.stderr)
    return 1 if failed else 0
