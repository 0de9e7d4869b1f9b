"""Pictures: the same bytes on every run, text that stays text, colours of the page, labels that keep apart."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.axes import Axes

from eval.report.canvas import COLOURS, VARIABLES, picture, spread
from eval.report.plots import Point, cost_picture, reliability, severity_lines

ROOT = Path(__file__).resolve().parent.parent
DRAW = """
from eval.report.plots import Point, cost_picture
points = [Point("ours & more", 1e6, 0.8, {"value": 0.8, "low": 0.79, "high": 0.81}, "accent"),
          Point("theirs", 2e7, 0.9, None, "muted", "o", ours=False, reach=1e6)]
svg = cost_picture("size", points, axis="bytes")
"""


def lines_of(axes: Axes) -> None:
    axes.plot([0, 1], [0.25, 0.75], color=COLOURS["accent"], marker="o")
    axes.annotate("0.1234 < here", (0.5, 0.5), color=COLOURS["second"])


def test_the_bytes_depend_on_nothing_around(tmp_path: Path) -> None:
    """Neither on hashing, nor on the user's own settings, nor on the time."""
    (tmp_path / "matplotlibrc").write_text(
        "font.size: 30\naxes.facecolor: red\nsvg.fonttype: path\nlines.linewidth: 9\n"
    )
    environment = os.environ | {"PYTHONHASHSEED": "7", "MATPLOTLIBRC": str(tmp_path), "SOURCE_DATE_EPOCH": "1"}
    command = [sys.executable, "-c", DRAW + "print(svg, end='')"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    here: dict[str, str] = {}
    exec(DRAW, here)
    assert done.stdout == here["svg"]


def test_a_picture_is_one_element_with_text_and_variables() -> None:
    svg = picture(lines_of, name="one", alt='a "line"', size=(300, 200))
    assert svg.startswith('<svg class="drawing" viewBox="0 0 300 200" width="300" height="200" role="img"')
    assert 'aria-label="a &quot;line&quot;"' in svg
    assert ">0.1234 &lt; here</text>" in svg, "numbers in texts are not rounded"
    assert "var(--accent)" in svg
    assert not re.search(r"#[0-9a-f]{6}|<style|<metadata|<\?xml|<!--|font-family|date", svg)
    assert not re.search(r"\d\.\d{2}", re.sub(">[^<]*<", "><", svg)), "positions hold one digit after the point"


def test_names_keep_the_ids_of_pictures_apart() -> None:
    ids = [set(re.findall(' id="([^"]+)"', picture(lines_of, name=name, alt="", size=(300, 200)))) for name in "ab"]
    assert all(ids)
    assert not ids[0] & ids[1]


def test_drawing_leaves_the_settings_of_matplotlib_alone() -> None:
    import matplotlib

    before = dict(matplotlib.rcParams)
    picture(lines_of, name="one", alt="", size=(300, 200))
    assert dict(matplotlib.rcParams) == before


def test_stand_in_colours_are_all_different() -> None:
    assert len(set(COLOURS.values())) == len(VARIABLES)


@given(st.lists(st.floats(0, 100), min_size=1, max_size=6))
def test_labels_are_spread_in_order_and_within_the_ends(places: list[float]) -> None:
    moved = spread(places, 10, 0, 100)
    order = sorted(range(len(places)), key=places.__getitem__)
    gaps = [moved[b] - moved[a] for a, b in itertools.pairwise(order)]
    assert all(gap >= 10 - 1e-9 for gap in gaps)
    assert min(moved) >= -1e-9
    assert max(moved) <= 100 + 1e-9


def test_places_far_enough_apart_stay() -> None:
    assert spread([0.0, 50.0, 20.0], 10) == [0.0, 50.0, 20.0]


def boxes(svg: str) -> list[tuple[float, float, float, float]]:
    """Roughly where the labels of `cost_picture` stand: left, top, right, bottom."""
    found = []
    pattern = r'<text style="([^"]*)" x="([\d.]+)" y="([\d.]+)"[^>]*>(label \d+)</text>'
    for style, x, y, text in re.findall(pattern, svg):
        width = 6.5 * len(text)
        left = float(x) - width * (0 if "start" in style or "anchor" not in style else 0.5 if "middle" in style else 1)
        found.append((left, float(y) - 9, left + width, float(y) + 1))
    return found


def test_labels_of_near_dots_do_not_lie_on_each_other() -> None:
    points = [Point(f"label {place}", 1 + 0.02 * place, 0.8 + 0.004 * (place % 2)) for place in range(4)]
    points.append(Point("label 9", 3.0, 0.82))
    found = boxes(cost_picture("near", points, axis="passes", scale="linear"))
    assert len(found) == 5
    for place, a in enumerate(found):
        for b in found[place + 1 :]:
            assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]


def test_bins_without_images_are_not_drawn() -> None:
    full = [{"confidence": 0.9, "accuracy": 0.8, "count": 10}, {"confidence": 0.7, "accuracy": 0.7, "count": 5}]
    empty = {"confidence": 0.5, "accuracy": 0.0, "count": 0}
    assert reliability("r", {"tempered": full}) == reliability("r", {"tempered": [empty, *full]})


def test_the_words_of_a_picture_hold_its_numbers() -> None:
    svg = severity_lines("s", {"gated": ("Deck, gated", [0.9, 0.85, 0.8, 0.75, 0.7, 0.651])})
    label = re.findall('aria-label="([^"]*)"', svg)[0]
    assert label.endswith("Deck, gated 90.0, 85.0, 80.0, 75.0, 70.0, 65.1")


@pytest.mark.parametrize("count", [1, 2])
def test_one_point_is_enough(count: int) -> None:
    assert "<svg" in cost_picture("few", [Point("a", 5.0, 0.5)] * count, axis="bytes")
