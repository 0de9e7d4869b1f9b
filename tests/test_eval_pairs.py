"""Decks compared image by image: what is kept of their answers, and what the comparison says of it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from eval_tiny import PART, SUITE, tiny_settings

from cards_deck.deck import Deck, GateConfig
from cards_deck.errors import DataError
from eval.evaluate import evaluate
from eval.pairs import paired_differences, read_pairs
from eval.report import read_json, write_json
from eval.report.compare import read_decks, unlike
from eval.report.side_by_side import sections

Json = dict[str, Any]
GROUPS = ("clean", "mean", "severity5", "noise", "non_noise")


@pytest.fixture(scope="module")
def folders(eval_deck: Deck, eval_root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The reports of a deck and of the same cards averaged, on the same images."""
    root = tmp_path_factory.mktemp("reports")
    other = dataclasses.replace(eval_deck, name="even", gate=GateConfig(kind="uniform"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("eval.alternatives.KINDS", ("spectral",))
        for deck in (eval_deck, other):
            path = root / deck.name / "cifar10-c.json"
            settings = dataclasses.replace(
                tiny_settings(eval_root, root / "cache"), pairs=path.with_suffix(".pairs.npz")
            )
            write_json(evaluate(deck, settings), path)
    return root / eval_deck.name, root / "even"


def _differences(folders: tuple[Path, Path], **changes: Any) -> Any:
    decks = read_decks(folders)
    for deck in decks.values():
        deck.all[0].update(changes)
    table = sections(decks, unlike(decks))[0].blocks[2]
    return table.rows[-1]  # type: ignore[union-attr]


def test_what_is_kept_gives_the_accuracies_of_the_report(folders: tuple[Path, Path]) -> None:
    result = read_json(folders[0] / "cifar10-c.json")
    for route in ("gated", "uniform", "best_card"):
        kept = read_pairs(folders[0], result, route)
        assert kept is not None
        assert {name: len(values) for name, values in kept.items()} == dict.fromkeys(GROUPS, PART) | {"clean": 60}
        for name in GROUPS:
            assert kept[name].mean() == pytest.approx(result["routes"][route][name]["value"], abs=2e-6)
    cells = {"mean": 15, "severity5": 3, "noise": 5, "non_noise": 10}
    assert result["pairs"]["cells"] == cells
    assert len(SUITE.cells) == cells["mean"]


def test_the_difference_of_two_decks_is_the_paired_one_within_a_deck(folders: tuple[Path, Path]) -> None:
    """The second deck is the first one's plain average, whose difference to the gate its own report has."""
    first, second = (read_pairs(folder, read_json(folder / "cifar10-c.json"), "gated") for folder in folders)
    assert first is not None
    assert second is not None
    found = paired_differences(first, second, seed=0, resamples=200)
    expected = read_json(folders[0] / "cifar10-c.json")["differences"]["gated_minus_uniform"]
    for name in GROUPS:
        assert found[name] == pytest.approx(expected[name], abs=3e-6)


def test_the_page_shows_paired_differences_where_both_kept_their_answers(folders: tuple[Path, Path]) -> None:
    row = _differences(folders)
    assert row.name.text == "even − fake"
    assert " to " in row.cells[1].detail
    assert row.cells[1].kind in ("better", "worse", "no")
    assert _differences(folders, pairs=None).cells[1].detail in ("overlap", "apart")


def test_decks_not_measured_alike_are_not_paired(folders: tuple[Path, Path]) -> None:
    decks = read_decks(folders)
    decks["even"].all[0]["seed"] = 7
    row = sections(decks, unlike(decks))[0].blocks[3].rows[-1]  # type: ignore[union-attr]
    assert row.cells[1].detail in ("overlap", "apart")


def test_another_file_than_the_jsons_is_named_and_none_is_no_pair(folders: tuple[Path, Path], tmp_path: Path) -> None:
    result = read_json(folders[0] / "cifar10-c.json")
    assert read_pairs(tmp_path, result, "gated") is None
    path = tmp_path / result["pairs"]["file"]
    path.write_bytes((folders[1] / path.name).read_bytes())
    with pytest.raises(DataError, match=r"cifar10-c\.pairs\.npz must be the file that was written with the JSON"):
        read_pairs(tmp_path, result, "gated")


def test_two_runs_write_the_same_bytes(folders: tuple[Path, Path]) -> None:
    hashes = [json.loads((folder / "cifar10-c.json").read_text())["pairs"]["sha256"] for folder in folders]
    assert hashes[0] != hashes[1]
    for name in ("uniform.mean", "best_card.clean"):
        first, second = (np.load(folder / "cifar10-c.pairs.npz")[name] for folder in folders)
        assert np.array_equal(first, second)
