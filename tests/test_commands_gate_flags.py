"""The limits of a gate as flags: read, checked before anything is measured, and only those that were given."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Any

import pytest

from cards_deck.__main__ import main
from cards_deck.commands.gate_flags import add_kind, add_limits, limits
from cards_deck.gate_config import GateConfig
from cards_deck.inference.gates import GATES


def parsed(*argv: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_kind(parser.add_argument_group("deck"), most_cards=None, most_loss=None, told="as before")
    add_limits(parser, kept="none")
    return parser.parse_args(argv)


@pytest.mark.parametrize(
    ("argv", "fields"),
    [
        ((), {}),
        (("--abstain-below", "0.5"), {"abstain_below": 0.5}),
        (("--gate-seconds", "0.2"), {"seconds": 0.2}),
        (("--abstain-below", "none", "--gate-seconds", "0"), {"abstain_below": None, "seconds": 0.0}),
    ],
)
def test_what_was_given_is_set_and_nothing_else(argv: tuple[str, ...], fields: dict[str, Any]) -> None:
    old = GateConfig(abstain_below=0.9, seconds=3.0)
    assert limits(parsed(*argv)) == fields
    assert replace(old, **limits(parsed(*argv))) == replace(old, **fields)


@pytest.mark.parametrize(
    ("flag", "text", "says"),
    [
        ("--abstain-below", "1.5", "abstain_below must be a number from 0 to 1, not 1.5"),
        ("--abstain-below", "nan", "abstain_below must be a number from 0 to 1"),
        ("--abstain-below", "half", "must be a number or none, not 'half'"),
        ("--gate-seconds", "-1", "seconds must be a number from 0"),
        ("--gate-seconds", "", "must be a number or none, not ''"),
        ("--most-cards", "0.5", "must be a number of at least 1, not 0.5"),
        ("--most-cards", "few", "must be a number of at least 1, not 'few'"),
        ("--most-loss", "1.5", "must be a number from 0 to 1, not 1.5"),
        ("--most-loss", "nan", "must be a number from 0 to 1, not nan"),
        ("--most-loss", "little", "must be a number from 0 to 1, not 'little'"),
        ("--gate", "raffle", "invalid choice: 'raffle'"),
    ],
)
def test_what_no_gate_can_have_names_the_flag(
    flag: str, text: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        parsed(f"{flag}={text}")
    error = capsys.readouterr().err
    assert f"argument {flag}" in error
    assert says in error


@pytest.mark.parametrize("command", ["pack", "blend", "tune-gate"])
def test_every_command_that_fits_a_gate_has_them(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([command, "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "name no class for an image of unknown spectrum where none reaches this probability" in text
    assert "start no further card once a request has taken so long" in text
    if command != "tune-gate":
        assert all(kind in text for kind in GATES.names())
