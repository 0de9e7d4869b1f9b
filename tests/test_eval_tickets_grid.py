"""The grid of `python -m eval tickets`: its cells, its report from cells alone, and the command as a whole."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
from test_eval_claims import numbers_of
from tiny_cells import cell, place, setting
from tiny_training import one_thread  # noqa: F401

from cards_deck.errors import DataError, InputError
from eval.__main__ import main
from eval.tickets.grid import grid
from eval.tickets.grid_report import points, read_folder, write_reports
from eval.tickets.options import numbers, tickets_parser
from eval.tickets.pictures import curves, standalone

ARGUMENTS = (
    "--name patterns --images 64 --epochs 2 --network.widths 4,8 --network.blocks 1,1 --schedule.batch_size 16 "
    "--validation 16 --corrupted 5 --test 24 --test-corrupted 5"
)
SMALL = ARGUMENTS.split()


def cells_of(*arguments: str) -> list[str]:
    options = tickets_parser(arguments).parse_args(list(arguments))
    return [f"{each.name} {each.seed}" for each in grid(options)]


def test_the_grid_is_every_method_density_and_seed() -> None:
    found = cells_of("--methods", "rigl,random", "--densities", "0.2,0.1", "--seeds", "3,4")
    assert found == [f"{m}-d{d} {s}" for s in (3, 4) for m in ("rigl", "random") for d in (0.2, 0.1)]
    assert cells_of("--label-noise", "0.2", "--densities", "0.8^0-4", "--seeds", "0") == ["levels-d0.4096 0"]


def test_options_are_settings() -> None:
    arguments = ["--methods", "lottery", "--set", "lottery.rewind=7", *SMALL]
    first = grid(tickets_parser(arguments).parse_args(arguments))[0]
    assert first.method["rewind"] == 7
    assert first.setting.network == {"name": "resnet", "widths": [4, 8], "blocks": [1, 1]}
    assert (first.setting.schedule["epochs"], first.setting.images, first.setting.data) == (2, 64, "patterns")
    deeper = ["--methods", "rigl", "--network.blocks", "2,2,2"]
    network = grid(tickets_parser(deeper).parse_args(deeper))[0].setting.network
    assert network == {"name": "resnet", "widths": [16, 32, 64], "blocks": [2, 2, 2]}, "the rest is the scale's"
    fitted = ["--methods", "lottery", "--epochs", "4"]
    assert grid(tickets_parser(fitted).parse_args(fitted))[0].method["rewind"] == 5000 // 64


def test_a_short_schedule_shortens_what_must_fit_into_it() -> None:
    short = ["--images", "500", "--epochs", "2", "--methods", "rigl,lottery"]
    cells = grid(tickets_parser(short).parse_args(short))
    found = {cell.method["name"]: cell.method for cell in cells}
    assert found["rigl"]["interval"] == 2 * (500 // 64) // 4
    assert found["lottery"]["rewind"] == 0
    usual = grid(tickets_parser([]).parse_args(["--methods", "rigl"]))
    assert usual[0].method["interval"] == 25


def test_a_field_of_a_method_that_is_not_asked_for_is_refused() -> None:
    with pytest.raises(InputError, match="--set changes lottery, which is not among the methods: rigl, set"):
        cells_of("--methods", "rigl,set", "--set", "lottery.rewind=3")


def test_a_field_of_the_wrong_kind_is_refused() -> None:
    wrong = ["--methods", "rigl", "--set", "rigl.interval=abc"]
    with pytest.raises(InputError, match=r"rigl cannot be made with .*interval='abc'"):
        grid(tickets_parser(wrong).parse_args(wrong))


def test_powers_and_lists_of_numbers() -> None:
    assert numbers("0.5,0.1") == (0.5, 0.1)
    assert numbers("0.8^1-3") == pytest.approx((0.8, 0.64, 0.512))
    with pytest.raises(SystemExit):
        tickets_parser(()).parse_args(["--densities", "few"])


def test_unknown_methods_and_missing_data_are_refused() -> None:
    with pytest.raises(InputError, match="unknown method 'magic': choose among bimp, "):
        cells_of("--methods", "magic")
    with pytest.raises(InputError, match="unknown method 'magic'"):
        cells_of("--set", "magic.x=1")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two methods at two densities and three seeds, and a sweep under label noise."""
    for seed in range(3):
        for method, better in (("rigl", 0.1), ("random", 0.0)):
            for density in (0.2, 0.1):
                each = dataclasses.replace(cell(method, seed=seed, density=density), name=f"{method}-d{density}")
                made = numbers_of(each, 0.5 + better + density + 0.01 * seed)
                sizes = next(iter(made["cards"].values()))["sizes"]
                sizes["density"], sizes["compression"] = density, 1 / density
                del made["ensemble"]
                each.write(tmp_path, made)
        noisy = dataclasses.replace(cell("levels", seed=seed), setting=setting(label_noise=0.2))
        made = numbers_of(noisy, 0.4)
        made["training"]["before_retraining"] = 0.3
        for level, card in enumerate(made["cards"].values()):
            card["sizes"] = card["sizes"] | {"density": 0.8**level}
        noisy.write(tmp_path, made)
    return tmp_path


def test_the_report_is_made_from_the_cells_of_the_folder(folder: Path) -> None:
    written = {path.name for path in write_reports(folder)}
    kinds = {
        f"{domain}-{kind}.svg"
        for domain in ("clean", "corrupted")
        for kind in ("compression", "density", "theory", "measured")
    }
    assert written == {"tickets.md", "noise.md", "noise-density.svg", *kinds}
    text = (folder / "tickets.md").read_text()
    assert re.search(r"^\| rigl \| 0.2 \| 3 \| 81.0 ± 1.0 \| 61.0 ± 1.0 ", text, re.MULTILINE)
    assert "| levels" not in text
    assert all(f"]({name})" in text for name in kinds)
    noise = (folder / "noise.md").read_text()
    assert len(re.findall(r"^\| levels \|", noise, re.MULTILINE)) == 5
    assert "20% of the labels wrong" in noise
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    write_reports(folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before


def test_settings_of_one_method_are_kept_apart() -> None:
    made = []
    for interval in (10, 20):
        each = cell("rigl", density=0.2, interval=interval)
        made.append(numbers_of(each, 0.5) | {"identity": each.identity})
    assert sorted(method for method, _ in points(made)) == ["rigl interval 10", "rigl interval 20"]


def test_tickets_that_answer_together_are_as_large_and_slow_as_all(tmp_path: Path) -> None:
    each = cell("free_tickets", tickets=2)
    made = numbers_of(each, 0.5)
    made["ensemble"]["members"] = ["ticket-01", "ticket-02"]
    made["speed"]["measured_speedup"] = {"1": 3.0, "32": 5.0}
    first = next(iter(made["cards"].values()))
    first["sizes"] |= {"compression": 8.0, "speedup": 6.0}
    each.write(tmp_path, made)
    write_reports(tmp_path)
    row = next(line for line in (tmp_path / "tickets.md").read_text().splitlines() if line.startswith("| free_tickets"))
    assert row.split(" | ")[7] == "4.0"
    assert row.split(" | ")[9:12] == ["3.0", "1.5", "2.5"]


def test_what_pruning_left_stands_with_the_level_that_was_pruned(folder: Path) -> None:
    write_reports(folder)
    rows = [line.split(" | ") for line in (folder / "noise.md").read_text().splitlines()]
    assert [row[6] for row in rows if row[0] == "| levels"] == ["–"] * 4 + ["30.0 ± 0.0"]


def test_a_cell_under_another_name_is_refused(folder: Path) -> None:
    path = next(folder.glob("cells/*.json"))
    path.rename(path.with_name("other-s0-0123456789ab.json"))
    with pytest.raises(DataError, match="other settings than its name says"):
        read_folder(folder)


def test_an_empty_folder_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="run `python -m eval tickets --data ROOT` first"):
        write_reports(tmp_path)


def test_pictures_stand_alone() -> None:
    drawn = curves("x", {"a": [(2.0, [0.5, 0.6]), (8.0, [0.3])], "b": [(2.0, [0.4])]}, x="compression", y="accuracy, %")
    assert drawn.startswith("<svg ")
    assert 'xmlns="http://www.w3.org/2000/svg"' in drawn.split(">", 1)[0]
    assert "<style>" in drawn
    assert "accuracy, % against compression: a: 55.0 at 2, 30.0 at 8; b: 40.0 at 2" in drawn
    assert standalone("<svg a><g/></svg>").count("<svg") == 1


def test_the_command_from_data_to_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    here = place(tmp_path)
    where = ["--data", str(here.root), "--out", str(here.out), "--work", str(here.work)]
    asked = ["tickets", *where, *SMALL, "--methods", "random", "--densities", "0.3", "--seeds", "0"]
    assert main(asked) == 0
    assert "wrote" in capsys.readouterr().out
    assert len(read_folder(here.out)) == 1
    before = next(here.out.glob("cells/*.json")).read_bytes()
    assert main(asked) == 0
    assert next(here.out.glob("cells/*.json")).read_bytes() == before
    assert main(["tickets", "--out", str(here.out)]) == 1
    assert "--data must name the data root" in capsys.readouterr().err
