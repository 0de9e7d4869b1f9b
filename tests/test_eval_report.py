"""The report of a deck, rendered from the JSON of its suites alone."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import pytest
from eval_json import Maker

from eval.report import (
    Suites,
    beyond,
    corruptions,
    costs,
    gating,
    headline,
    live,
    read_suites,
    summary_line,
    trust,
    write_json,
    write_reports,
)
from eval.report.markdown import document
from eval.report.page import render
from eval.report.published import adaptation_rows, comparable, published_rows
from eval.tables import REPORTS

Json = dict[str, Any]
VOID = {"meta", "br", "path", "use", "line", "circle", "rect"}
OPTIONAL = (
    "validation",
    "calibration",
    "selective",
    "diversity",
    "relative",
    "significance",
    "regret",
    "gates",
    "spectra",
    "timing",
)


@pytest.fixture(scope="module")
def rendered(stored_reports: dict[str, Json], tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """The whole report, drawn once: it takes seconds."""
    folder = tmp_path_factory.mktemp("report")
    for name, result in stored_reports.items():
        write_json(result, folder / f"{name}.json")
    page, text = write_reports(folder)
    assert [page.name, text.name] == ["report.html", "report.md"]
    return page.read_text(encoding="utf-8"), text.read_text(encoding="utf-8")


class _Page(HTMLParser):
    """Fails where a tag closes another than the last one opened."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.ids: list[str] = []
        self.links: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        found = dict(attrs)
        assert not any(name.startswith("on") for name in found)
        assert not {"src", "xlink:href"} & set(found)
        if found.get("id"):
            self.ids.append(str(found["id"]))
        if found.get("href"):
            self.links.add(str(found["href"]))
        if tag == "svg":
            assert found.get("aria-label"), "a picture has to say what it shows"
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag


def test_the_page_is_whole_and_reaches_for_nothing(rendered: tuple[str, str]) -> None:
    parser = _Page()
    parser.feed(rendered[0])
    assert parser.open == []
    assert not parser.seen & {"script", "link", "img", "iframe", "object", "style2"}
    assert not re.search(r"@import|url\(", rendered[0])
    assert all(link.startswith("#") and link[1:] in parser.ids for link in parser.links)
    assert len(parser.ids) == len(set(parser.ids)), "an id stands twice, so that a picture may borrow from another"


def test_every_colour_is_defined_in_light_dark_and_print(rendered: tuple[str, str]) -> None:
    palettes = re.findall(r":root \{(.*?)\}", rendered[0], flags=re.DOTALL)
    assert len(palettes) == 3
    used = set(re.findall(r"var\((--[a-z]+)\)", rendered[0])) - {"--stops", "--p"}
    for palette in palettes:
        assert used <= set(re.findall(r"(--[a-z]+):", palette))
    assert not re.search(r"(fill|stroke):#", rendered[0]), "a picture has a colour of its own"


def test_the_page_shows_every_cell_and_says_what_was_measured(
    rendered: tuple[str, str], stored_reports: dict[str, Json]
) -> None:
    page = rendered[0]
    for suite in ("cifar10-c", "cifar10-c-bar"):
        for row in stored_reports[suite]["cells"]["routes"]["gated"].values():
            for value in row:
                assert f">{100 * value:.1f}</td>" in page
    for name in ("CIFAR-10-C (regenerated, seed 0)", "published benchmark", "numpy 2.4.6", "CIFAR-10.1 v6"):
        assert name in page
    for section in (
        "headline",
        "cells",
        "routes",
        "published",
        "gate",
        "spectra",
        "calibration",
        "ood",
        "stream",
        "how",
    ):
        assert f'<section id="{section}">' in page


def test_markdown_holds_the_same_sections_in_rectangular_tables(rendered: tuple[str, str]) -> None:
    blocks = [block.splitlines() for block in rendered[1].split("\n\n") if block.startswith("|")]
    assert len(blocks) > 25
    assert all(len({len(re.findall(r"(?<!\\)\|", line)) for line in block}) == 1 for block in blocks)
    titles = re.findall(r"<h2>(.*?)</h2>", rendered[0])
    assert re.findall("^## (.*)$", rendered[1], flags=re.MULTILINE) == [title for title in titles if title != "Spectra"]
    assert "| gaussian noise |" in rendered[1]


def test_text_from_the_json_is_escaped(reports: dict[str, Json]) -> None:
    result = bare(reports["cifar10-c"])
    result["deck"] = "<script>alert(1)</script>"
    result["cards"][0]["name"] = "<img src=x>"
    result["best_card"]["name"] = "<b>"
    page, _ = render(Suites((result,)))
    assert not re.search("<script|<img|>-<b>", page)
    assert "&lt;script&gt;" in page


def bare(result: Json) -> Json:
    """A corruption suite without everything that may be missing."""
    return {name: value for name, value in result.items() if name not in (*OPTIONAL, "gate_choices", "timing")}


def test_what_is_missing_leaves_its_section_out(reports: dict[str, Json]) -> None:
    result = bare(reports["cifar10-c"]) | {"deck_size_bytes": None}
    for card in result["cards"]:
        for name in ("macs", "macs_executed", "bytes", "flop_density"):
            del card[name]
    page, _ = render(Suites((result,)))
    shown = re.findall(r'<section id="([a-z]+)">', page)
    assert shown == ["headline", "cells", "routes", "differences", "published", "cards", "how"], "no gates, no studies"


@pytest.mark.parametrize("kind", ["shift", "ood", "sequences", "adversarial", "stream"])
def test_a_deck_may_be_measured_on_anything_alone(reports: dict[str, Json], kind: str) -> None:
    (result,) = [one for one in reports.values() if one["kind"] == kind]
    page, text = render(Suites((result,)))
    assert re.findall(r'<section id="([a-z]+)">', page) == ["headline", kind, "how"]
    assert result["title"] in text
    assert result["deck"] in summary_line(result)


def test_images_without_labels_show_what_the_gate_did() -> None:
    section = beyond.shift(Suites((Maker().folder(),)))
    assert section is not None
    assert [type(block).__name__ for block in section.blocks] == ["Heading", "Text"]
    assert "mean 86.0 %, median 93.0 %" in document("deck", "", [section])


@pytest.mark.parametrize(
    ("part", "field"),
    [
        (trust.calibration, "calibration"),
        (trust.selective, "selective"),
        (trust.diversity, "diversity"),
        (gating.choices, "gate_choices"),
        (gating.spectra, "spectra"),
    ],
)
def test_a_section_needs_its_field(part: Callable[[Suites], Any], field: str, reports: dict[str, Json]) -> None:
    result = reports["cifar10-c"]
    del result[field]
    assert part(Suites((result,))) is None
    assert live.streams(Suites((result,))) is None


def test_better_is_said_only_where_the_paired_interval_excludes_zero(reports: dict[str, Json]) -> None:
    result = reports["cifar10-c"]
    for low, said in ((0.001, "better than"), (-0.001, "no difference shown"), (-0.02, "worse than")):
        high = low + 0.01
        result["differences"]["gated_minus_best_card"]["mean"] = {"value": low + 0.005, "low": low, "high": high}
        section = headline.headline(Suites((result,)))
        assert section is not None
        points = section.blocks[2].left[1].points  # type: ignore[union-attr]
        (point,) = [found.text for found in points if "best single card" in found.text]
        assert said in point
        assert "best single card (gaussian-2)" in point
        for word in {"better", "worse"} - {said.split()[0]}:
            assert word not in point


def test_cells_are_marked_where_the_test_says_so(reports: dict[str, Json]) -> None:
    result = reports["cifar10-c"]
    tested = result["significance"]["gated_vs_best_card"]
    for row in tested.values():
        row[:] = [{"gained": 5, "lost": 5, "p": 1.0, "holm": 1.0}] * 5
    tested["fog"][1] = {"gained": 90, "lost": 20, "p": 1e-6, "holm": 0.049}
    tested["snow"][4] = {"gained": 20, "lost": 90, "p": 1e-6, "holm": 0.001}
    tested["frost"][0] = {"gained": 20, "lost": 90, "p": 1e-6, "holm": 0.05}
    section = corruptions.maps(Suites((result,)))
    assert section is not None
    shown = section.blocks[1].maps[1]  # type: ignore[union-attr]
    found = {(name, place): mark for name, row in shown.marks.items() for place, mark in enumerate(row) if mark}
    assert found == {("fog", 1): "better", ("snow", 4): "worse"}


def test_published_rows_stand_beside_ours_with_a_tag(reports: dict[str, Json], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(costs, "cost_picture", lambda *_, **__: "<svg/>")
    result = reports["cifar10-c"]

    def tags() -> list[str]:
        section = costs.published(Suites((result,)))
        return [] if section is None else [row.name.tag for row in section.blocks[-1].rows]  # type: ignore[union-attr]

    assert sorted(set(tags())) == ["official", "regenerated"]
    assert tags().count("regenerated") == 3
    result["source"] = "official"
    assert tags().count("") == 3
    result["data"]["name"] = "folder"
    assert tags() == []
    assert comparable(reports["cifar10-c-bar"]) == []


def test_published_rows_are_percentages_with_passes_and_sizes() -> None:
    for suite in ("cifar10-c", "cifar100-c"):
        rows, source = published_rows(suite)
        assert "RobustBench" in source
        assert [row["mean"] for row in rows] == sorted((row["mean"] for row in rows), reverse=True)
        for row in rows:
            assert 50 < row["severity5"] < row["mean"] < row["clean"] < 100
            assert row["passes"] in (1, 6)
            assert row["kept"] in (1, 0.05)
            assert 2e6 < row["parameters"] < row["macs"] < 6e9
    rows, source = adaptation_rows()
    assert "severity 5" in source
    assert {row["name"]: row["mixed"] for row in rows}["TENT"] == 44.1


def test_executed_multiply_adds_are_passes_times_cards(reports: dict[str, Json]) -> None:
    result = reports["cifar10-c"]
    for place, card in enumerate(result["cards"]):
        card["macs_executed"] = 10.0 * (place + 1)
    assert costs.executed(result, "gated") == pytest.approx(1.6 * 25)
    assert costs.executed(result, "best_card") == 10.0
    result["routes"]["gated"]["macs_executed"] = 7
    assert costs.executed(result, "gated") == 7


def test_committed_reports_are_what_their_json_says() -> None:
    """Pictures may differ in the last digit between machines, and are left out."""
    drawing = re.compile(r'(<svg class="drawing"[^>]*>).*?</svg>')
    for folder in sorted({path.parent for path in REPORTS.glob("*/*.json")}):
        page, text = render(read_suites(folder))
        stored = (folder / "report.html").read_text(encoding="utf-8")
        assert drawing.sub(r"\1", stored) == drawing.sub(r"\1", page), folder
        assert (folder / "report.md").read_text(encoding="utf-8") == text, folder
