"""Reading and writing the JSON of suites, the table made from it, and comparisons of decks."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cards_deck.errors import DataError, InputError
from eval import tables
from eval.__main__ import main
from eval.report import read_json, read_suites, write_json, write_reports

Json = dict[str, Any]


@pytest.mark.parametrize("text", ["", "[1]", "{}", '{"deck": 1', '{"schema_version": 2}'])
def test_what_is_no_report_is_refused_by_name(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(DataError, match=r"x\.json"):
        read_json(tmp_path / "x.json")


def test_the_old_schema_is_refused_with_what_to_do(reports: dict[str, Json], tmp_path: Path) -> None:
    path = write_json(reports["cifar10-c"] | {"schema_version": 1}, tmp_path / "x.json")
    with pytest.raises(DataError, match=r"schema_version 2, got 1: measure again .*cifar10-fake --suite cifar10-c"):
        read_json(path)


def test_a_folder_holds_one_deck_under_one_gate(reports: dict[str, Json], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="at least one suite"):
        read_suites(tmp_path)
    with pytest.raises(DataError, match="absent must hold"):
        write_reports(tmp_path / "absent")
    for name, result in reports.items():
        write_json(result, tmp_path / f"{name}.json")
    found = read_suites(tmp_path)
    assert found.main is not None
    assert found.main["suite"] == "cifar10-c"
    assert [suite["suite"] for suite in found.of("corruptions")] == ["cifar10-c", "cifar10-c-bar"]
    write_json(reports["ood"] | {"gate": {"kind": "uniform"}}, tmp_path / "ood.json")
    with pytest.raises(DataError, match=r"ood\.json .* gate is \{'kind': 'uniform'\}"):
        read_suites(tmp_path)


def test_what_is_left_to_win_is_written_with_its_sign(reports: dict[str, Json], tmp_path: Path) -> None:
    reports["cifar10-c"]["regret"]["cell_oracle"] = {"value": -0.012, "low": -0.02, "high": 0.004}
    write_json(reports["cifar10-c"], tmp_path / "cifar10-c.json")
    text = write_reports(tmp_path)[1].read_text(encoding="utf-8")
    assert "against the gated deck: the best card of each cell −1.2 points (−2.0 to +0.4), any card that is" in text


def test_numbers_in_the_json_are_kept(reports: dict[str, Json], tmp_path: Path) -> None:
    path = write_json(reports["cifar10-c"], tmp_path / "deck" / "cifar10-c.json")
    assert read_json(path) == json.loads(path.read_text(encoding="utf-8")) == reports["cifar10-c"]
    assert [file.name for file in path.parent.iterdir()] == ["cifar10-c.json"]


def test_the_table_is_written_between_the_markers_and_checked(reports: dict[str, Json], tmp_path: Path) -> None:
    for name, result in reports.items():
        write_json(result, tmp_path / "reports" / "cifar10-fake" / f"{name}.json")
        write_json(result, tmp_path / "reports" / "cifar10-fake@uniform" / f"{name}.json")
    readme, where = tmp_path / "README.md", ["--reports", str(tmp_path / "reports")]
    readme.write_text(f"before\n<!-- results:begin -->\nold\n{tables.END}\nafter\n")
    assert main(["table", *where, "--check", str(readme)]) == 1
    assert main(["table", *where, "--write", str(readme)]) == 0
    assert main(["table", *where, "--check", str(readme)]) == 0
    text = readme.read_text(encoding="utf-8")
    assert text.startswith("before\n<!-- results:begin -->\n")
    assert text.endswith(f"\n{tables.END}\nafter\n")
    for suite in ("cifar10-c", "cifar10-c-bar"):
        shown = reports[suite]["routes"]["gated"]["mean"]
        assert f"{100 * shown['value']:.1f} [{100 * shown['low']:.1f}, {100 * shown['high']:.1f}]" in text
    readme.write_text(text.replace("best single card |", "best single card | 1"), encoding="utf-8")
    assert main(["table", *where, "--check", str(readme)]) == 1


def test_the_table_has_three_rows_per_corruption_suite(reports: dict[str, Json], tmp_path: Path) -> None:
    reports["cifar10-c-bar"]["routes"]["uniform"]["noise"] = None
    for name, result in reports.items():
        write_json(result, tmp_path / "cifar10-fake" / f"{name}.json")
    lines = [line for line in tables.results_table(tmp_path).splitlines() if line.startswith("|")]
    names = [line.split(" | ")[0].strip("| ") for line in lines[2:]]
    first = ["deck, gated", "deck, plain average", "best single card"]
    assert names == [*first, *(f"{name}, CIFAR-10-C-bar" for name in first)]
    assert len({line.count("|") for line in lines}) == 1
    assert lines[6].split(" | ")[4] == "–"


def test_a_file_without_markers_is_refused_by_name() -> None:
    with pytest.raises(InputError, match=r"README\.md must hold"):
        tables.with_table(f"{tables.END}\n<!-- results:begin -->", tables.REPORTS, name="README.md")


def test_a_block_may_name_the_one_deck_that_it_shows(reports: dict[str, Json], tmp_path: Path) -> None:
    for deck in ("one", "two"):
        write_json(reports["cifar10-c"] | {"deck": deck}, tmp_path / deck / "cifar10-c.json")
    before, after = "<!-- results:begin two -->", f"{tables.END}\n"
    text = tables.with_table(f"{before}\nold\n{after}", tmp_path, name="README.md")
    assert text.startswith(f"{before}\n**two** on")
    assert "**one**" not in text
    assert "old" not in text
    assert text.endswith(after)
    assert "**one**" in tables.with_table(f"<!-- results:begin -->\n{after}", tmp_path, name="README.md")


def test_no_report_gives_a_sentence(reports: dict[str, Json], tmp_path: Path) -> None:
    assert tables.results_table(tmp_path) == "No deck has been measured yet."
    write_json(reports["ood"], tmp_path / "cifar10-fake" / "ood.json")
    assert tables.results_table(tmp_path) == "No deck has been measured yet."


def test_reports_are_rendered_again_from_a_folder_or_a_file_in_it(
    reports: dict[str, Json], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_json(reports["cifar10.1"], tmp_path / "deck" / "cifar10.1.json")
    assert main(["report", str(path.parent)]) == 0
    page = (path.parent / "report.html").read_bytes()
    assert main(["report", str(path)]) == 0
    assert (path.parent / "report.html").read_bytes() == page
    assert capsys.readouterr().out.count("report.md") == 2


def test_importing_the_report_does_not_import_matplotlib() -> None:
    code = "import sys, eval.__main__, eval.report, eval.tables; print('matplotlib' in sys.modules)"
    root = Path(__file__).resolve().parent.parent
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "False", done.stderr
