"""What the report says of gates: compared with each other, and what the deck's own gate chose."""

from __future__ import annotations

from typing import Any

from eval.numbers import ROUTE_LABELS
from eval.report import Suites, gates, gating, headline
from eval.report.blocks import Maps

Json = dict[str, Any]


def test_the_headline_compares_with_the_plain_average_on_cells_and_on_clean_images(reports: dict[str, Json]) -> None:
    result = reports["cifar10-c"]
    gain = result["differences"]["gated_minus_uniform"]
    gain["mean"], gain["clean"] = ({"value": v, "low": v - 0.001, "high": v + 0.001} for v in (0.004, -0.003))
    section = headline.headline(Suites((result,)))
    assert section is not None
    first, second = section.blocks[2].left[1].points[:2]  # type: ignore[union-attr]
    assert (first.text, first.detail) == ("**+0.4 points**, better than the plain average", "+0.3 to +0.5")
    assert second.text == "**−0.3 points**, worse than the plain average on clean images"


def test_gates_are_compared_in_a_table_and_one_picture(reports: dict[str, Json]) -> None:
    result = reports["cifar10-c"]
    result["gates"]["kinds"]["router"]["minus_uniform"]["mean"] = {"value": 0.012, "low": 0.01, "high": 0.014}
    section = gates.compared(Suites((result,)))
    assert section is not None
    _, _, table, pictures, _ = section.blocks
    rows = {row.name.text: row for row in table.rows}  # type: ignore[union-attr]
    assert [name for name, row in rows.items() if row.name.tag] == ["Gate: spectrum, then confidence"]
    assert rows["Gate: spectrum, then confidence"].name.tag == "best on validation, at 1.5 passes"
    gain = rows["Gate: learned router"].cells[5]
    assert (gain.text, gain.detail, gain.kind) == ("+1.2", "+1.0 to +1.4", "better")  # type: ignore[union-attr]
    drawn = pictures.pictures[0].svg  # type: ignore[union-attr]
    shown = [name for name in result["routes"] if name not in ("cell_oracle", "oracle")]
    assert len(shown) == 16
    for name in shown:
        assert ROUTE_LABELS[name] in drawn
    tests = result["significance"]["gated_vs_uniform"]
    for rows_of in tests.values():
        for cell in rows_of:
            cell |= {"gained": 20, "lost": 20}
    result["n"] = 1000
    tests["fog"][2] |= {"gained": 10, "lost": 60}
    tests["snow"][0] |= {"gained": 90, "lost": 10}
    said = gates.compared(Suites((result,))).blocks[-1].text  # type: ignore[union-attr]
    assert "above it in 1, below it in 1 of" in said
    assert "At its worst, fog at severity 3, it is −5.0 points [−6.6, −3.4] away" in said
    assert "allowed it 3 points in any cell of validation images" in said
    assert said.endswith("at worst it lost 1.2 there (spatter 4).")
    result["gates"]["promised"] |= {"most_loss": 0.009}
    said = gates.compared(Suites((result,))).blocks[-1].text  # type: ignore[union-attr]
    assert said.endswith("(spatter 4); no other gate lost less.")
    del result["gates"]["promised"]  # reports of older versions
    assert "allowed" not in gates.compared(Suites((result,))).blocks[-1].text  # type: ignore[union-attr]
    result["gates"] = None
    assert gates.compared(Suites((result,))) is None


def test_a_gate_that_names_no_reference_has_no_map_of_choices(reports: dict[str, Json]) -> None:
    result = reports["cifar10-c"]

    def titles() -> list[str]:
        section = gating.choices(Suites((result,)))
        assert section is not None
        return [shown.title for block in section.blocks if isinstance(block, Maps) for shown in block.maps]

    assert titles() == ["Nearest: augmix", "Nearest: gaussian", "Cards run", "Unknown spectrum"]
    for choice in result["gate_choices"]["choices"].values():
        choice["clean"]["share"], choice["share"] = 0.0, {name: [0.0] * 5 for name in choice["share"]}
    assert titles() == ["Cards run", "Unknown spectrum"]
