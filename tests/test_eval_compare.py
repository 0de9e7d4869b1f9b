"""`python -m eval compare`: decks side by side, and what is not measured alike."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest
from eval_json import Maker

from cards_deck.errors import DataError, InputError
from eval.__main__ import main
from eval.numbers import points
from eval.report import write_json
from eval.report.compare import read_decks, unlike
from eval.report.side_by_side import sections
from eval.tables import REPORTS

Json = dict[str, Any]


def written(folder: Path, maker: Maker, *names: str, **changed: Any) -> Path:
    for name, result in maker.all().items():
        if name in names:
            write_json(copy.deepcopy(result) | changed, folder / f"{name}.json")
    return folder


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    one = written(tmp_path / "one", Maker(1, "one"), "cifar10-c", "ood", "cifar10.1")
    two = written(tmp_path / "two", Maker(2, "two", 0.03), "cifar10-c", "cifar10.1")
    return one, two


def test_the_page_compares_what_both_have(pair: tuple[Path, Path], tmp_path: Path) -> None:
    assert main(["compare", *map(str, pair), "--out", str(tmp_path / "out")]) == 0
    page = (tmp_path / "out" / "compare.html").read_text(encoding="utf-8")
    text = (tmp_path / "out" / "compare.md").read_text(encoding="utf-8")
    assert "<h1>one and two</h1>" in page
    assert "one also on ood" in page
    assert re.findall(r'<section id="([a-z]+)">', page) == ["headline", "cells", "cost", "calibration", "how"]
    a, b = (read_decks(pair)[name].main for name in ("one", "two"))
    assert a is not None
    assert b is not None
    for name, row in a["cells"]["routes"]["gated"].items():
        gain = b["cells"]["routes"]["gated"][name][4] - row[4]
        assert f" {points(gain, 0 if abs(gain) >= 0.0995 else 1)} |" in text
    assert "CIFAR-10.1" in text
    assert not re.search(r"\bbetter\b|\bworse\b", text)


def test_intervals_that_lie_apart_are_told(pair: tuple[Path, Path]) -> None:
    decks = read_decks(pair)
    for low, high, said in ((0.95, 0.97, "apart"), (0.5, 0.97, "overlap")):
        main_suite = decks["two"].main
        assert main_suite is not None
        main_suite["routes"]["gated"]["mean"] = {"value": 0.96, "low": low, "high": high}
        table = sections(decks, [])[0].blocks[-3]
        row = table.rows[-1]  # type: ignore[union-attr]
        assert row.name.text == "two − one"
        assert row.cells[1].detail == said


def test_only_cells_of_both_are_compared(pair: tuple[Path, Path]) -> None:
    decks = read_decks(pair)
    two = decks["two"].main
    assert two is not None
    del two["cells"]["routes"]["gated"]["fog"]
    shown = sections(decks, [])[1].blocks[2].maps  # type: ignore[union-attr]
    assert "fog" in shown[0].cells
    assert "fog" not in shown[1].cells


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"seed": 3}, "cifar10-c: seed is 0 (one), 3 (two)"),
        ({"title": "CIFAR-10-C (regenerated, seed 5)"}, "title is CIFAR-10-C (regenerated, seed 0) (one)"),
        ({"source": "official"}, "source is regenerated (one), official (two)"),
        ({"n": 100}, "n is 10000 (one), 100 (two)"),
        ({"data": {"name": "cifar10", "sha256": "cd" * 32}}, "data is abababababab (one), cdcdcdcdcdcd (two)"),
    ],
)
def test_what_was_not_measured_alike_is_refused_or_said(
    tmp_path: Path, changed: Json, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [
        str(written(tmp_path / "one", Maker(1, "one"), "cifar10-c")),
        str(written(tmp_path / "two", Maker(2, "two"), "cifar10-c", **changed)),
    ]
    assert main(["compare", *paths, "--out", str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert said in error
    assert "--anyway" in error
    assert not (tmp_path / "compare.html").exists()
    decks = read_decks([Path(path) for path in paths])
    assert any(said in text for text in unlike(decks))
    first = sections(decks, unlike(decks))[0].blocks[0]
    assert first.kind == "warning"  # type: ignore[union-attr]
    assert said in first.text  # type: ignore[union-attr]


def test_three_decks_and_files_are_taken(tmp_path: Path) -> None:
    folders = [written(tmp_path / name, Maker(3, name), "cifar10-c") for name in ("a", "b", "c")]
    decks = read_decks([folders[0], folders[1] / "cifar10-c.json", folders[2]])
    assert list(decks) == ["a", "b", "c"]
    assert len(sections(decks, [])[1].blocks[2].maps) == 3  # type: ignore[union-attr]


def test_gates_of_one_deck_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    plain = written(tmp_path / "deck", Maker(1, "deck"), "cifar10-c")
    other = written(tmp_path / "deck@uniform", Maker(1, "deck"), "cifar10-c", gate={"kind": "uniform"})
    assert list(read_decks([plain, other])) == ["deck", "deck@uniform"]


def test_what_cannot_be_compared_is_refused(pair: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at least two reports to compare, got 1"):
        read_decks(pair[:1])
    with pytest.raises(InputError, match="is named twice"):
        read_decks([pair[0], pair[0], pair[0]])
    lone = written(tmp_path / "lone", Maker(1, "lone"), "cifar10-p")
    with pytest.raises(DataError, match=r"in common, but they hold one: cifar10-c, .*; lone: cifar10-p"):
        read_decks([pair[0], lone])


def test_the_committed_comparison_is_what_its_reports_say(tmp_path: Path) -> None:
    """The starter's family and independent cards; pictures may differ in the last digit between machines."""
    drawing = re.compile(r'(<svg class="drawing"[^>]*>).*?</svg>')
    stored = REPORTS / "cifar10-independent"
    folders = [str(REPORTS / "cifar10-starter"), str(stored)]
    assert main(["compare", *folders, "--out", str(tmp_path)]) == 0
    for name in ("compare.html", "compare.md"):
        made, kept = ((folder / name).read_text(encoding="utf-8") for folder in (tmp_path, stored))
        assert drawing.sub(r"\1", kept) == drawing.sub(r"\1", made), name
