"""Reports and tables rendered from JSON alone."""

from __future__ import annotations

import copy
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cards_deck.errors import DataError, InputError
from cards_deck.inference.fake_deck import fake_deck
from cards_deck.inference.gate import Routing
from eval import report, tables
from eval.__main__ import main
from eval.markdown import render_markdown
from eval.provenance import provenance
from eval.results import results
from eval.routes import Outcome, outcome
from eval.sources import published_rows
from eval.suites import SUITES

SUITE = SUITES["cifar10-c"]
VOID = {"meta", "line", "circle", "polyline", "br"}


def _outcome(n: int, seed: int) -> Outcome:
    random = np.random.default_rng(seed)
    choice = random.integers(0, 2, n)
    weights = np.zeros((n, 4), np.float32)
    weights[np.arange(n), choice] = 1
    routing = Routing(weights, np.zeros((n, 2), np.float32), random.random(n) < 0.1, choice)
    labels = np.arange(n) % 10
    logits = random.normal(size=(4, n, 10)).astype(np.float32) + 2 * np.eye(10, dtype=np.float32)[labels]
    return outcome(logits, routing, labels)


@pytest.fixture(scope="module")
def made() -> dict[str, Any]:
    deck = fake_deck()
    cells = [_outcome(20, 1 + place) for place in range(75)]
    identity = {
        "schema_version": 1,
        "deck": "cifar10-fake",
        "deck_version": "1",
        "deck_size_bytes": 4_200_000,
        "suite": "cifar10-c",
        "title": SUITE.title_for("cifar10", "regenerated", 0),
        "data": {"name": "cifar10", "split": "test", "classes": 10, "image_size": 32, "sha256": "ab" * 32},
        "n": 20,
        "n_clean": 30,
        "seed": 0,
        "source": "regenerated",
        "frost": "published",
        "engine": "fake",
        "bootstrap": {"resamples": 100, "level": 0.95, "unit": "image", "seed": 0},
        "best_card": {"id": deck.cards[1].id, "name": deck.cards[1].name, "chosen_on": "validation", "scores": {}},
    }
    measured = results(deck, _outcome(30, 0), cells, SUITE, best_card=1, seed=0, resamples=100)
    return {**identity, **measured, "provenance": provenance(["python", "-m", "eval"])}


@pytest.fixture
def result(made: dict[str, Any]) -> dict[str, Any]:
    return copy.deepcopy(made)


class _Balance(HTMLParser):
    """Fails where a tag closes another than the last one opened."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        assert not any(name.startswith("on") for name, _ in attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag


def test_the_page_is_whole_and_reaches_for_nothing(result: dict[str, Any]) -> None:
    page = report.render_html(result)
    parser = _Balance()
    parser.feed(page)
    assert parser.open == []
    assert not parser.seen & {"script", "link", "img", "iframe", "object"}
    assert not re.search(r"(src|href)\s*=|@import|url\(", page)
    assert "prefers-color-scheme: dark" in page
    assert "@media print" in page


def test_the_page_shows_every_cell_and_says_what_was_measured(result: dict[str, Any]) -> None:
    page = report.render_html(result)
    for row in result["cells"]["routes"]["gated"].values():
        for value in row:
            assert f">{100 * value:.1f}</td>" in page
    assert page.count("jpeg compression") >= 5
    assert "CIFAR-10-C (regenerated, seed 0)" in page
    assert "published benchmark" in page
    assert result["provenance"]["versions"]["numpy"] in page


def test_text_from_the_json_is_escaped(result: dict[str, Any]) -> None:
    result["deck"] = "<script>alert(1)</script>"
    result["cards"][0]["name"] = "<img src=x>"
    result["best_card"]["name"] = "<b>"
    page = report.render_html(result)
    assert not re.search("<script|<img|>-<b>", page)
    assert "&lt;script&gt;" in page


def test_published_rows_stand_beside_ours_with_a_tag(result: dict[str, Any]) -> None:
    page = report.render_html(result)
    assert page.count("<em>regenerated</em>") == 2
    assert "LRR CARD-Deck (Diffenderfer 2021)" in page
    result["source"] = "official"
    assert "<em>regenerated</em>" not in report.render_html(result)
    result["data"]["name"] = "folder"
    assert "LRR CARD-Deck" not in report.render_html(result)


def test_published_rows_are_percentages_with_passes() -> None:
    for suite in SUITES:
        rows, source = published_rows(suite)
        assert "RobustBench" in source
        assert [row["mean"] for row in rows] == sorted((row["mean"] for row in rows), reverse=True)
        assert all(50 < row["severity5"] < row["mean"] < row["clean"] < 100 and row["passes"] in (1, 6) for row in rows)


def test_a_uniform_gate_has_no_map_of_choices(result: dict[str, Any]) -> None:
    assert "Nearest: augmix" in report.render_html(result)
    result["gate"]["kind"] = "uniform"
    assert "Nearest: augmix" not in report.render_html(result)


def test_markdown_tables_are_rectangular(result: dict[str, Any]) -> None:
    text = render_markdown(result)
    blocks = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    assert len(blocks) == 6
    assert all(len({line.count("|") for line in block}) == 1 for block in blocks)
    assert "| gaussian noise |" in text


def test_reports_are_written_beside_their_json_and_rendered_again(result: dict[str, Any], tmp_path: Path) -> None:
    path = report.write_json(result, tmp_path / "deck" / "cifar10-c.json")
    assert report.read_json(path) == json.loads(path.read_text(encoding="utf-8"))
    assert main(["report", str(path)]) == 0
    assert sorted(file.name for file in path.parent.iterdir()) == ["cifar10-c.html", "cifar10-c.json", "cifar10-c.md"]
    assert path.with_suffix(".html").read_text(encoding="utf-8") == report.render_html(report.read_json(path))


@pytest.mark.parametrize("text", ["", "[1]", "{}", '{"deck": 1'])
def test_what_is_no_report_is_refused_by_name(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(DataError, match=r"x\.json"):
        report.read_json(tmp_path / "x.json")


def test_a_later_schema_is_refused(result: dict[str, Any], tmp_path: Path) -> None:
    path = report.write_json(result | {"schema_version": 2}, tmp_path / "x.json")
    with pytest.raises(DataError, match="schema_version 1, got 2"):
        report.read_json(path)


def test_committed_reports_are_what_their_json_says() -> None:
    for path in sorted(tables.REPORTS.glob("*/*.json")):
        stored = report.read_json(path)
        assert path.with_suffix(".html").read_text(encoding="utf-8") == report.render_html(stored), path
        assert path.with_suffix(".md").read_text(encoding="utf-8") == render_markdown(stored), path


def test_the_table_is_written_between_the_markers_and_checked(result: dict[str, Any], tmp_path: Path) -> None:
    report.write_json(result, tmp_path / "reports" / "cifar10-fake" / "cifar10-c.json")
    readme, where = tmp_path / "README.md", ["--reports", str(tmp_path / "reports")]
    readme.write_text(f"before\n{tables.BEGIN}\nold\n{tables.END}\nafter\n")
    assert main(["table", *where, "--check", str(readme)]) == 1
    assert main(["table", *where, "--write", str(readme)]) == 0
    assert main(["table", *where, "--check", str(readme)]) == 0
    text = readme.read_text(encoding="utf-8")
    assert text.startswith(f"before\n{tables.BEGIN}\n")
    assert text.endswith(f"\n{tables.END}\nafter\n")
    shown = result["routes"]["gated"]["mean"]
    assert f"{100 * shown['value']:.1f} [{100 * shown['low']:.1f}, {100 * shown['high']:.1f}]" in text
    readme.write_text(text.replace("best single card |", "best single card | 1"), encoding="utf-8")
    assert main(["table", *where, "--check", str(readme)]) == 1


def test_a_file_without_markers_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"README\.md must hold"):
        tables.with_table(f"{tables.END}\n{tables.BEGIN}", "table", name="README.md")


def test_no_report_gives_a_sentence(tmp_path: Path) -> None:
    assert tables.results_table(tmp_path) == "No deck has been measured yet."


def test_groups_of_corruptions_are_marked_in_every_map(result: dict[str, Any]) -> None:
    page = report.render_html(result)
    assert page.count('<tr class="first">') == 3 * (3 + 4)
