"""The scoreboard: the rule on numbers made by hand, claims as data, and a report made from cells alone."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from scipy import stats
from tiny_training import one_thread  # noqa: F401

from cards_deck.errors import DataError, InputError
from eval.tickets import scoreboard, verdicts
from eval.tickets.cells import Cell, Json, with_givens
from eval.tickets.claims import Claim, Measure, all_claims, claims_named
from eval.tickets.claims.colt import rounds
from eval.tickets.claims.double_descent import humps, memorised
from eval.tickets.run import Place, recipe_of
from eval.tickets.scales import FULL, SCALES, SMALL, Scale
from eval.tickets.verdicts import INCONCLUSIVE, MISSING, NOT_SEEN, SEEN, effect, together, verdict

SEEDS = (0, 1, 2)


def test_the_interval_is_students() -> None:
    values = [0.01, 0.02, 0.06]
    found = effect(values)
    low, high = stats.t.interval(0.95, 2, loc=0.03, scale=stats.sem(values))
    assert (found.value, found.low, found.high) == pytest.approx((0.03, low, high))
    assert effect([0.2]).high == math.inf
    with pytest.raises(InputError, match="finite numbers"):
        effect([])
    with pytest.raises(InputError, match="finite numbers"):
        effect([math.nan])


@pytest.mark.parametrize(
    ("values", "gain", "no_loss"),
    [
        ((0.030, 0.031, 0.029), SEEN, SEEN),
        ((-0.030, -0.031, -0.029), NOT_SEEN, NOT_SEEN),
        ((0.001, 0.0012, 0.0008), NOT_SEEN, SEEN),  # above 0, but too small to matter
        ((0.0, 0.0, 0.0), NOT_SEEN, SEEN),
        ((0.05, -0.05, 0.01), INCONCLUSIVE, INCONCLUSIVE),
        ((0.030, 0.031), MISSING, MISSING),
    ],
)
def test_the_rule(values: tuple[float, ...], gain: str, no_loss: str) -> None:
    assert verdict(effect(values), 0.01, "greater") == gain
    assert verdict(effect(values), 0.01, "no_worse") == no_loss


def test_several_effects_make_one_verdict() -> None:
    assert together([SEEN, SEEN]) == SEEN
    assert together([SEEN, INCONCLUSIVE]) == INCONCLUSIVE
    assert together([SEEN, INCONCLUSIVE, NOT_SEEN]) == NOT_SEEN
    assert together([NOT_SEEN, MISSING]) == MISSING


def test_sixteen_papers_in_their_order() -> None:
    claims = all_claims()
    assert [claim.number for claim in claims] == list(range(1, 17))
    assert len({claim.key for claim in claims}) == 16
    assert [claim.key for claim in claims_named(["rigl", "cards"])] == ["cards", "rigl"]
    with pytest.raises(InputError, match=r"no paper is called 'nobody' here: choose among cards, "):
        claims_named(["nobody"])


@pytest.mark.parametrize("scale", SCALES.values(), ids=list(SCALES))
def test_every_arm_is_a_recipe(scale: Scale) -> None:
    """At both scales: another seed is another cell, and what a cell describes can be built again."""
    for claim in all_claims():
        for arm in claim.arms.values():
            cell = arm(scale, 0)
            assert arm(scale, 1).key != cell.key
            for each in with_givens([cell]):
                recipe = recipe_of(each)
                assert recipe.describe()["network"] == each.setting.network
                assert Cell(each.name, each.setting, recipe.describe()["method"], 0, each.given, each.procedure,
                            each.options).key == each.key  # fmt: skip


def test_shared_arms_are_one_cell_and_scales_are_not() -> None:
    everything = [cell for claim in all_claims() for cell in claim.cells(SMALL, [0])]
    named: dict[str, set[str]] = {}
    for cell in with_givens(everything):
        named.setdefault(cell.name, set()).add(cell.key)
    assert all(len(keys) == 1 for keys in named.values()), named
    assert len(named) < len(everything)
    assert not {cell.key for cell in everything} & {c.key for claim in all_claims() for c in claim.cells(FULL, [0])}


def curve(*errors: float) -> dict[str, Json]:
    """The same errors on test and on held-out images; 15 % of the training labels are not fitted."""
    cards = {}
    for level, error in enumerate(errors):
        accuracy = {"test": {"clean": 1 - error}, "validation": {"clean": 1 - error}, "fit": {"clean": 0.85}}
        cards[f"ticket-{level:02d}"] = {"accuracy": accuracy}
    return {"levels": {"cards": cards}}


def test_a_hump_is_one_for_the_other_seeds_too() -> None:
    rising = [curve(0.3, 0.32, 0.35, 0.4)] * 3
    assert humps(rising) == pytest.approx([0, 0, 0])
    humped = [curve(0.3, 0.4, 0.33, 0.5 - 0.15)] * 3
    assert humps(humped) == pytest.approx([0.07, 0.07, 0.07])
    # Each seed has a hump of its own, at a place where no other has one: noise, and no hump on the mean.
    noise = [curve(0.3, 0.4, 0.3, 0.3, 0.3), curve(0.3, 0.3, 0.4, 0.3, 0.3), curve(0.3, 0.3, 0.3, 0.4, 0.3)]
    assert max(humps(noise)) <= 1e-9
    assert humps(humped[:1]) == [0.0]
    assert memorised(humped[0]) == pytest.approx(0.05)


def test_levels_are_chosen_on_held_out_images() -> None:
    """Test errors have a hump at the second level, held-out ones at the third: that is the one that is measured."""
    seeds = [curve(0.3, 0.4, 0.31, 0.2, 0.3) for _ in range(3)]
    for arms in seeds:
        for level, error in enumerate((0.3, 0.31, 0.4, 0.2, 0.3)):
            arms["levels"]["cards"][f"ticket-{level:02d}"]["accuracy"]["validation"]["clean"] = 1 - error
    assert humps(seeds) == pytest.approx([0.01] * 3)


def test_what_a_claim_presupposes_must_hold_for_a_verdict(finished: Path) -> None:
    (claim,) = claims_named(["rigl"])

    def report(*values: float, above: float | None = 0.0) -> str:
        measure = Measure("premise", lambda seeds: list(values), above)
        return scoreboard.report([replace(claim, measures=(measure,))], SMALL, SEEDS, finished)

    assert f"## 8. {claim.paper}: seen" in report(0.1, 0.2, 0.003)
    assert "| premise | +10.0, +20.0, +0.3 | above 0.0: holds |" in report(0.1, 0.2, 0.003)
    assert f"## 8. {claim.paper}: inconclusive at this scale" in report(0.1, 0.2, 0.0)
    assert "| premise | +10.0, +20.0, 0.0 | above 0.0: does not hold |" in report(0.1, 0.2, 0.0)
    assert f"## 8. {claim.paper}: seen" in report(-0.1, 0.2, 0.3, above=None)
    assert "| premise | −10.0, +20.0, +30.0 | – |" in report(-0.1, 0.2, 0.3, above=None)


def test_a_plan_of_the_full_scale_is_not_that_of_the_small_one(tmp_path: Path) -> None:
    (claim,) = claims_named(["lottery"])
    left = []
    for scale in (SMALL, FULL):
        last = scoreboard.plan([claim], scale, SEEDS, Place(Path(), tmp_path, tmp_path / "work")).splitlines()[-1]
        left.append(float(last.split("about ")[1].split(" ")[0]))
    assert left[1] / left[0] == pytest.approx(160 * 45_000 * 9 / (10 * 5000 * 3), rel=0.1)


def test_rounds_are_counted_from_the_stages() -> None:
    lottery = [[f"level-{level:02d}", 1, 1] for level in range(4)]
    colt = [[f"round-{r:02d}-group-{g}", 1, 1] for r in range(2) for g in range(2)] + [["all-classes", 1, 1]]
    arms = {"a": {"training": {"stages": lottery}}, "b": {"training": {"stages": colt}}}
    assert (rounds(arms, "a"), rounds(arms, "b")) == (3, 2)


def numbers_of(cell: Cell, clean: float) -> dict[str, Any]:
    """Plausible numbers of a cell, made by hand; an ensemble and every procedure's own included."""
    names = {"soup": ["member-1", "member-2", "uniform", "greedy"], "wise_ft": ["base", "tuned", "half", "best"]}
    cards = names.get(cell.procedure, ["ticket"])
    if cell.method["name"] == "levels":
        cards = [f"ticket-{level:02d}" for level in range(1, 6)]
    accuracy = {split: {"clean": clean, "corrupted": clean - 0.2} for split in ("fit", "validation", "test")}
    sizes = {"density": 0.1, "conv_density": 0.1, "compression": 9.0, "speedup": 6.0, "macs": 1, "dense_macs": 6}
    return {
        "training": {"epochs": 8.0, "multiply_adds": 10**12, "before_retraining": None, "stages": [["level-01", 8, 9]]},
        "cards": {name: {"sizes": sizes, "accuracy": accuracy} for name in cards},
        "ensemble": {"members": cards, "accuracy": accuracy},
        "speed": {"milliseconds": {}, "measured_speedup": {"1": 2.5, "32": 3.0}},
        "pgd": {"ticket": clean - 0.4},
        "barrier": {"height": 0.01},
        "soup": {"best_member": "member-1", "greedy": [1, 0]},
        "seconds": 60.0,
        "resumed": False,
        "provenance": {"hardware": {"cpu": "a CPU"}, "date": "2026-01-02", "versions": {"torch": "2"}},
    }


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    """All cells of one claim that is seen (RigL) and one that is not (ToST)."""
    values = {"rigl-d0.1": 0.7, "random-d0.1": 0.6, "set": 0.65, "tost": 0.5}
    for claim in claims_named(["rigl", "tost"]):
        for cell in claim.cells(SMALL, SEEDS):
            cell.write(tmp_path, numbers_of(cell, values[cell.name] + 0.001 * cell.seed))
    return tmp_path


def section(text: str, claim: Claim) -> str:
    return text.split(f'<a id="{claim.key}"></a>')[1].split("<a id=")[0]


def test_the_report_is_made_from_cells_alone(finished: Path) -> None:
    claims = claims_named(["rigl", "tost", "lottery"])
    text = scoreboard.report(claims, SMALL, SEEDS, finished)
    seen, not_seen, missing = (next(c for c in claims if c.key == key) for key in ("rigl", "tost", "lottery"))
    assert f"## 8. {seen.paper}: seen" in section(text, seen)
    assert "| RigL − static, clean | +10.0 [+10.0, +10.0] | +0.5 points | 3 | seen |" in section(text, seen)
    assert (
        "| RigL | 70.1 ± 0.1 | 50.1 ± 0.1 | 0.100 ± 0.000 | 9.0 ± 0.0 | 6.0 ± 0.0 | 2.5 ± 0.0 | 8 ± 0 | 1 T |" in text
    )
    assert f"## 15. {not_seen.paper}: not seen" in section(text, not_seen)
    assert f"## 5. {missing.paper}: not measured" in section(text, missing)
    assert verdicts.RULE in text
    assert "12 cells, 0.2 hours of one core, measured 2026-01-02 on a CPU with torch 2." in text
    assert text == scoreboard.report(claims, SMALL, SEEDS, finished)


def test_two_seeds_are_no_verdict(finished: Path) -> None:
    (claim,) = claims_named(["rigl"])
    assert "not measured on enough seeds (2 of 3)" in scoreboard.report([claim], SMALL, (0, 1), finished)


def test_every_claim_can_be_reported(tmp_path: Path) -> None:
    """Every contrast computes on what its arms' cells hold."""
    claims = all_claims()
    for claim in claims:
        for cell in with_givens(claim.cells(SMALL, SEEDS)):
            cell.write(tmp_path, numbers_of(cell, 0.6 + 0.01 * cell.seed))
    text = scoreboard.report(claims, SMALL, SEEDS, tmp_path)
    assert "not measured" not in text
    assert len(re.findall(r"^## \d+\. ", text, re.MULTILINE)) == 16


def test_the_plan_says_what_is_left(finished: Path) -> None:
    claims = claims_named(["rigl", "lottery"])
    place = Place(Path(), finished, finished / "work")
    lines = scoreboard.plan(claims, SMALL, SEEDS, place).splitlines()
    assert lines[-1].startswith("21 cells, 9 done, 12 missing: about 23 core-minutes left")
    assert sum(line.startswith("done") for line in lines) == 9


def test_a_foreign_cell_stops_the_report(finished: Path) -> None:
    (claim,) = claims_named(["tost"])
    cell = next(iter(claim.arms.values()))(SMALL, 0)
    path = cell.path(finished)
    path.write_text(path.read_text().replace('"seed":0', '"seed":1'))
    with pytest.raises(DataError, match="other settings than its name says"):
        scoreboard.report([claim], SMALL, SEEDS, finished)


def test_the_command_reports_and_plans(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = finished / "reports"
    for path in finished.glob("cells/*.json"):
        (out / "claims" / "cells").mkdir(parents=True, exist_ok=True)
        path.rename(out / "claims" / "cells" / path.name)
    assert scoreboard.main(["--out", str(out), "--report"]) == 0
    assert (out / "claims.md").read_text().startswith("# Sixteen claims about sparse networks")
    assert scoreboard.main(["--out", str(out), "--plan", "--only", "rigl", "--work", str(finished / "work")]) == 0
    assert "9 cells, 9 done, 0 missing" in capsys.readouterr().out
    with pytest.raises(InputError, match="--data must name the data root"):
        scoreboard.main(["--out", str(out)])


def test_the_committed_scoreboard_is_what_its_cells_say() -> None:
    reports = Path(scoreboard.__file__).resolve().parents[1] / "reports"
    found = (reports / "claims.md").read_text(encoding="utf-8")
    assert found == scoreboard.report(all_claims(), SMALL, SEEDS, reports / "claims")
    assert found.count("not measured") == 0, "every claim has its seeds"
