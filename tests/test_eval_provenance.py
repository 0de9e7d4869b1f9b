"""Where and with what a measurement was made, and what of it is published."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import cards_deck
from cards_deck.machine import package_versions
from eval.provenance import ROOT, provenance


@pytest.mark.parametrize(
    ("typed", "published"),
    [
        ("models/cifar10-starter", "models/cifar10-starter"),
        ("data", "data"),
        ("2000", "2000"),
        ("/home/someone/data", ".../data"),
        ("../private/data", ".../data"),
        ("models/../../private/data/", ".../data"),
        ("--data=../private/data", "--data=.../data"),
        ("--data=/home/someone/data", "--data=.../data"),
        ("--subset=2000", "--subset=2000"),
        ("..", f".../{ROOT.parent.name}"),
    ],
)
def test_paths_out_of_the_checkout_are_shortened(typed: str, published: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert provenance(["python", typed])["command"] == f"python {published}"


def test_relative_paths_typed_elsewhere_are_shortened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "private" / "data").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert provenance(["python", "--name", "cifar10", "private/data"])["command"] == "python --name cifar10 .../data"
    assert provenance(["python", "private"])["command"] == "python .../private"


def test_versions_are_those_that_ran() -> None:
    versions = provenance()["versions"]
    assert versions["cards-deck"] == cards_deck.__version__  # also where the package is not installed
    assert versions["numpy"] == np.__version__
    assert package_versions(["no-such-package"]) == {"no-such-package": None}
