"""The command line from end to end, on small generated data."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from eval_tiny import CLASSES, PART, SUITE, TEST, labelled, tiny_test
from PIL import Image

from cards_deck.corruptions import CORRUPTIONS, corrupt
from cards_deck.data import save_npz
from cards_deck.deck import Deck, write_deck
from cards_deck.inference.fake_deck import fake_deck, fake_images
from eval.__main__ import main
from eval.report.samples import write_samples_page
from eval.suites import SUITES


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, eval_deck: Deck) -> Path:
    """A folder with the deck and a cache that the tests of this file share."""
    folder = tmp_path_factory.mktemp("shared")
    write_deck(eval_deck, folder / "deck")
    return folder


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Few corruptions; pages are drawn only by the test that looks at them."""
    monkeypatch.setitem(SUITES, "cifar10-c", SUITE)
    if "drawn" not in request.fixturenames:
        monkeypatch.setattr("eval.report.write_reports", lambda folder: [])


@pytest.fixture
def drawn() -> None:
    """Asks for the pages to be drawn."""


def _run(shared: Path, root: Path, out: Path, *more: str) -> int:
    places = ["--data", str(root), "--cache", str(shared / "cache"), "--out", str(out)]
    small = ["--subset", str(PART), "--resamples", "100", "--validation", "10", "--engine", "fake"]
    return main([str(shared / "deck"), *places, *small, *more])


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


@pytest.mark.usefixtures("drawn")
def test_a_measured_deck_has_its_json_and_one_report(
    shared: Path, eval_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(shared, eval_root, tmp_path) == 0
    written = ["cifar10-c.json", "cifar10-c.pairs.npz", "report.html", "report.md"]
    assert sorted(path.name for path in (tmp_path / "fake").iterdir()) == written
    result = _read(tmp_path / "fake" / "cifar10-c.json")
    assert set(result["timing"]["batch_1_ms"]) == {"gated", "uniform", "best_card"}
    assert "cards per image" in capsys.readouterr().out
    page = tmp_path / "fake" / "report.html"
    assert page.stat().st_size > 10_000


def test_reports_are_rendered_again_folder_by_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("eval.report.write_reports", lambda folder: [folder / "report.html"])
    assert main(["report", str(tmp_path / "a"), str(tmp_path / "b")]) == 0
    assert capsys.readouterr().out.split() == [
        "wrote",
        f"{tmp_path}/a/report.html",
        "wrote",
        f"{tmp_path}/b/report.html",
    ]


def test_another_gate_goes_to_a_folder_of_its_own_and_runs_no_card(
    shared: Path, eval_root: Path, tmp_path: Path
) -> None:
    assert _run(shared, eval_root, tmp_path, "--max-cards", "1", "--margin", "0.25") == 0
    assert _run(shared, eval_root, tmp_path, "--gate", "uniform") == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fake@spectral-maxcards1-margin0.25", "fake@uniform"]
    first = _read(tmp_path / "fake@spectral-maxcards1-margin0.25" / "cifar10-c.json")
    second = _read(tmp_path / "fake@uniform" / "cifar10-c.json")
    assert (first["gate"]["max_cards"], first["gate"]["margin"], first["timing"]) == (1, 0.25, None)
    assert second["gate"]["kind"] == "uniform"
    assert first["cells"]["cards"] == second["cells"]["cards"]


@pytest.mark.parametrize("most", ["0", "5"])
def test_more_cards_than_there_are_are_refused(
    most: str, shared: Path, eval_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(shared, eval_root, tmp_path / "out", "--max-cards", most) == 1
    assert f"--max-cards must be 1 to 4, as many as the deck has, not {most}" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_samples_are_the_images_of_the_cells_and_the_surest_mistakes(
    shared: Path, eval_root: Path, tmp_path: Path, eval_deck: Deck
) -> None:
    assert _run(shared, eval_root, tmp_path, "--samples", "--no-timing") == 0
    with np.load(tmp_path / "fake" / "samples" / "cifar10-c.npz") as stored:
        arrays = dict(stored)
    assert arrays["cells"].tolist() == [f"{name} {severity}" for name, severity in SUITE.cells]
    test = tiny_test(eval_deck)
    rows = {image.tobytes(): row for row, image in enumerate(test.images)}
    place = arrays["cells"].tolist().index("contrast 3")
    shown = {corrupt(test.images[row : row + 1], "contrast", 3, seed=0).tobytes() for row in rows.values()}
    assert all(image.tobytes() in shown for image in arrays["images"][place])
    assert (arrays["mistake_labels"] != arrays["mistake_answers"]).all()
    assert (np.diff(arrays["mistake_confidence"]) <= 0).all()
    for image, cell, label in zip(
        arrays["mistake_images"], arrays["mistake_cells"], arrays["mistake_labels"], strict=True
    ):
        if cell == "clean":
            assert test.labels[rows[image.tobytes()]] == label
    assert write_samples_page(tmp_path / "fake") == tmp_path / "fake" / "samples.html"


def test_samples_are_refused_where_reports_are_published(shared: Path, eval_root: Path) -> None:
    published = Path(__file__).resolve().parent.parent / "eval" / "reports"
    assert _run(shared, eval_root, published, "--samples") == 1


def test_a_written_layout_is_measured_as_what_it_is(
    shared: Path, eval_root: Path, tmp_path: Path, eval_deck: Deck, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["write", "--data", str(eval_root), "--out", str(tmp_path), "--seed", "5"]) == 0
    folder = tmp_path / "CIFAR-10-C"
    assert {path.name for path in folder.glob("*.npy")} == {"labels.npy", *(f"{n}.npy" for n in SUITE.corruptions)}
    assert f"{TEST} images" in capsys.readouterr().out
    for split in ("train", "test"):
        (tmp_path / f"cifar10_{split}.npz").write_bytes((eval_root / f"cifar10_{split}.npz").read_bytes())
    for source, name in ((eval_root, "made"), (tmp_path, "read")):
        assert _run(shared, source, tmp_path / name, "--no-timing", "--seed", "5" if name == "made" else "0") == 0
    made, read = (_read(tmp_path / name / "fake" / "cifar10-c.json") for name in ("made", "read"))
    assert read["title"] == made["title"] == "CIFAR-10-C (regenerated, seed 5)"
    assert (read["source"], read["n"]) == ("regenerated", made["n"])
    (folder / "manifest.json").unlink()
    assert _run(shared, tmp_path, tmp_path / "official", "--no-timing") == 0
    official = _read(tmp_path / "official" / "fake" / "cifar10-c.json")
    assert (official["title"], official["source"]) == ("CIFAR-10-C", "official")
    assert official["cells"] == read["cells"]
    (folder / "contrast.npy").unlink()
    capsys.readouterr()
    assert _run(shared, tmp_path, tmp_path / "broken") == 1
    assert "contrast.npy is missing" in capsys.readouterr().err


def test_a_hundred_classes_on_cifar100_c(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SUITES, "cifar100-c", dataclasses.replace(SUITES["cifar100-c"], corruptions=CORRUPTIONS[3:5]))  # type: ignore[type-var]
    deck = fake_deck(classes=100)
    write_deck(deck, tmp_path / "deck")
    save_npz(labelled(deck, 120, "test", 1, "cifar100"), tmp_path)
    save_npz(labelled(deck, 200, "train", 2, "cifar100"), tmp_path)
    assert _run(tmp_path, tmp_path, tmp_path / "out", "--suite", "cifar100-c") == 0
    result = _read(tmp_path / "out" / "fake" / "cifar100-c.json")
    assert (result["title"], result["data"]["classes"]) == ("CIFAR-100-C (regenerated, seed 0)", 100)
    assert set(result["relative"]["gated"]) == {"mce", "relative_mce"}
    assert result["relative"]["gated"]["relative_mce"] is None
    assert 0.05 < result["routes"]["uniform"]["clean"]["value"] < 1


def test_a_folder_of_64_pixel_images_in_four_classes(tmp_path: Path) -> None:
    deck = fake_deck(64, CLASSES)
    write_deck(deck, tmp_path / "deck")
    for split, seed in (("train", 3), ("test", 4)):
        for place, image in enumerate(fake_images(16, 64, seed)):
            folder = tmp_path / "data" / split / deck.classes[place % CLASSES]
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(folder / f"{place}.png")
    more = ["--name", "folder", "--subset", "4", "--threads", "2", "--no-timing"]
    assert _run(tmp_path, tmp_path / "data", tmp_path / "reports", *more) == 0
    result = _read(tmp_path / "reports" / "fake" / "cifar10-c.json")
    assert (result["n"], result["n_clean"], result["data"]["image_size"]) == (4, 16, 64)
    assert result["title"] == "CIFAR-10-C corruptions on folder (regenerated, seed 0)"


def test_all_suites_leave_out_what_cannot_be_measured(
    shared: Path, eval_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in set(SUITES) - {"cifar10-c", "cifar100-c"}:
        monkeypatch.delitem(SUITES, name)
    assert _run(shared, eval_root, tmp_path, "--suite", "all", "--no-timing") == 0
    assert "cifar100-c is left out" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "fake").glob("*.json")] == ["cifar10-c.json"]
    assert _run(shared, eval_root, tmp_path, "--suite", "all", "--name", "cifar10") == 1


def test_an_expected_error_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path), "--data", str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith(f"error: {tmp_path}")


def test_the_command_line_starts_without_torch_and_plots() -> None:
    heavy = ("torch", "matplotlib", "cv2", "skimage", "robustbench")
    code = f"import sys, eval.__main__; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
