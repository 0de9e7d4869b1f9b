"""Cells of the tickets' evaluation: identity, files, what a finished cell holds, and going on after a kill."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_cells import cell, place, setting
from tiny_training import one_thread  # noqa: F401
from torch import Tensor, nn

from cards_deck.errors import CardsDeckError, DataError, InputError
from cards_deck.training import loop
from cards_deck.training.tickets.pruning import PruneOnTheWay
from eval.tickets import run
from eval.tickets.cells import Cell, with_givens
from eval.tickets.observe import ObservedTask
from eval.tickets.pool import outstanding, run_all, waves
from eval.tickets.run import Place, card_files, make


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return place(tmp_path_factory.mktemp("tickets"))


@pytest.fixture
def fresh(here: Place, tmp_path: Path) -> Place:
    """The same data, nothing made yet."""
    return dataclasses.replace(here, out=tmp_path / "report", work=tmp_path / "work")


def test_identity_is_every_setting_and_no_name() -> None:
    one = cell("rigl", density=0.3)
    others = [
        cell("rigl", density=0.31),
        cell("rigl", density=0.3, seed=1),
        cell("rigl", density=0.3, given=one),
        dataclasses.replace(one, setting=setting(images=65)),
        dataclasses.replace(one, procedure="barrier"),
        dataclasses.replace(one, options={"pgd": 1}),
    ]
    assert len({each.key for each in [one, *others]}) == 7
    assert dataclasses.replace(one, name="other").key == one.key
    assert json.loads(json.dumps(one.identity)) == one.identity


def test_odd_cells_are_refused() -> None:
    with pytest.raises(InputError, match="a file's name"):
        dataclasses.replace(cell("rigl"), name="a/b")
    with pytest.raises(InputError, match="must be one of tickets"):
        dataclasses.replace(cell("rigl"), procedure="guess")
    with pytest.raises(InputError, match="needs a given cell"):
        dataclasses.replace(cell("rigl"), procedure="soup")


def test_a_file_that_is_not_the_cells_own_is_refused(fresh: Place) -> None:
    one, other = cell("rigl", density=0.3), cell("rigl", density=0.4)
    assert one.read(fresh.out) is None
    path = one.write(fresh.out, {"seconds": 1.0})
    assert one.read(fresh.out) == json.loads(path.read_text())
    foreign = path.with_name(other.file)
    foreign.write_text(path.read_text())
    with pytest.raises(DataError, match=r"other settings than its name says.*delete it"):
        other.read(fresh.out)
    foreign.write_text(path.read_text()[:-20])
    with pytest.raises(DataError, match=r"cannot be read.*delete it"):
        other.read(fresh.out)
    foreign.write_text("{}")
    with pytest.raises(DataError, match="cell of schema 1"):
        other.read(fresh.out)


def test_a_given_cell_comes_first_and_once() -> None:
    base = cell("lottery", density=0.3, rewind=2)
    users = [cell("same_mask", given=base), cell("same_mask", given=base, places="shuffled")]
    order = with_givens([*users, base])
    assert [each.name for each in order] == ["lottery", "same_mask", "same_mask"]
    assert [[each.name for each in wave] for wave in waves(order)] == [["lottery"], ["same_mask", "same_mask"]]


def test_a_cell_holds_what_reports_need(fresh: Place) -> None:
    one = cell("fine_tune", density=0.3, epochs=0.5)
    numbers = make(one, fresh)
    assert numbers["training"]["epochs"] == 3  # two dense, one of fine-tuning
    assert [name for name, _, _ in numbers["training"]["stages"]] == ["dense", "fine-tune"]
    assert 0 <= numbers["training"]["before_retraining"] <= 1
    (card,) = numbers["cards"].values()
    sizes = card["sizes"]
    assert sizes["density"] == pytest.approx(0.3, abs=1e-3)
    assert sizes["compression"] > 1
    assert sizes["speedup"] == pytest.approx(sizes["dense_macs"] / sizes["macs"], abs=1e-4)
    assert set(card["accuracy"]) == {"fit", "validation", "test"}
    assert len(card["accuracy"]["validation"]) == 2 + 4
    test = card["accuracy"]["test"]
    assert len(test) == 2 + 15
    corrupted = [value for name, value in test.items() if name not in ("clean", "corrupted")]
    assert test["corrupted"] == pytest.approx(np.mean(corrupted), abs=1e-6)
    assert numbers["provenance"]["versions"]["torch"]
    assert one.read(fresh.out)["training"] == numbers["training"]  # type: ignore[index]
    assert not list(fresh.work.rglob("*.checkpoint.pt"))
    assert len(card_files(one, fresh)) == 1


ON_THE_WAY = [
    cell("bimp", density=0.3, rounds=1, dense=0.5),
    cell("gradual_magnitude", density=0.3, start=0.2, end=0.6, interval=1),
]


@pytest.mark.parametrize("one", ON_THE_WAY, ids=lambda one: one.name)
def test_what_the_last_pruning_within_a_training_leaves_is_measured(
    fresh: Place, one: Cell, monkeypatch: pytest.MonkeyPatch
) -> None:
    left: list[dict[str, Tensor]] = []
    measured: list[Mapping[str, Tensor]] = []
    prune, accuracy_of = PruneOnTheWay.prune, ObservedTask._accuracy_of

    def pruning(hook: PruneOnTheWay, kept: Any) -> None:
        prune(hook, kept)
        left.append({name: weight.detach().clone() for name, weight in hook.weights.items()})

    def measuring(task: ObservedTask, network: nn.Module, state: Mapping[str, Tensor]) -> float:
        measured.append(state)
        return accuracy_of(task, network, state)

    monkeypatch.setattr(PruneOnTheWay, "prune", pruning)
    monkeypatch.setattr(ObservedTask, "_accuracy_of", measuring)
    numbers = make(one, fresh)
    assert 0 <= numbers["training"]["before_retraining"] <= 1
    (state,) = measured
    assert all(torch.equal(state[name], weight) for name, weight in left[-1].items())
    assert any((weight != 0).any() for weight in left[-1].values())


def test_multiply_adds_are_counted_by_size_and_density(fresh: Place) -> None:
    """Dense and at half the density of every layer, against a count by hand."""
    found = [make(cell("random", density=density, distribution="uniform"), fresh) for density in (1.0, 0.5)]
    dense, half = (numbers["training"]["multiply_adds"] for numbers in found)
    macs = next(iter(found[0]["cards"].values()))["sizes"]["dense_macs"]
    # One epoch of 64 images at 24 px, one at 32; only the linear layer does not shrink with the images.
    assert dense == pytest.approx(3 * 64 * macs * (1 + (24 / 32) ** 2), rel=0.01)
    assert half == pytest.approx(dense / 2, rel=0.01)


@pytest.mark.parametrize(
    ("one", "when"),
    [
        (cell("lr_rewinding", density=0.3, rate=0.5), 14),  # in the second epoch of the second stage
        (cell("bimp", density=0.3, rounds=1, dense=0.5), 7),  # with the only pruning behind it
    ],
    ids=lambda value: value.name if isinstance(value, Cell) else None,
)
def test_a_killed_cell_goes_on_to_the_same_numbers(
    fresh: Place, one: Cell, when: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = make(one, dataclasses.replace(fresh, out=fresh.out / "whole", work=fresh.work / "whole"))
    step, taken = loop._step, 0

    def killed(*arguments: object) -> object:
        nonlocal taken
        taken += 1
        if taken == when:
            raise KeyboardInterrupt
        return step(*arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(loop, "_step", killed)
        with pytest.raises(KeyboardInterrupt):
            make(one, fresh)
    assert one.read(fresh.out) is None
    resumed = make(one, fresh)
    assert (whole["resumed"], resumed["resumed"]) == (False, True)
    assert resumed["cards"] == whole["cards"]
    assert resumed["training"] == whole["training"]


def test_finished_cells_are_not_made_again(fresh: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    base = cell("random", density=0.3)
    user = cell("same_mask", given=base, start="random")
    assert run_all([user], fresh) == []
    assert outstanding([user, base], fresh) == []
    monkeypatch.setattr(run, "train", lambda cell, place: pytest.fail("trained again"))
    assert run_all([user, base], fresh) == []


def test_a_cell_that_fails_is_named_and_stops_no_other(fresh: Place) -> None:
    bad, good = cell("lottery", density=0.3, rewind=10_000), cell("random", density=0.3)
    (line,) = run_all([bad, good], fresh)
    assert line.startswith("lottery (seed 0): lottery: `rewind` must be one of the 8 steps")
    assert good.read(fresh.out) is not None


def test_a_lost_card_is_trained_again_for_those_that_need_it(fresh: Place) -> None:
    base = cell("random", density=0.3)
    make(base, fresh)
    before = [path.read_bytes() for path in card_files(base, fresh)]
    run.forget(base, fresh)
    user = cell("same_mask", given=base)
    assert [each.name for each in outstanding([user], fresh)] == ["random", "same_mask"]
    assert run_all([user], fresh) == []
    assert [path.read_bytes() for path in card_files(base, fresh)] == before


@pytest.mark.parametrize("method", ["apart", "levels"])
def test_controls_give_several_tickets(fresh: Place, method: str) -> None:
    fields = {"epochs": 1} if method == "apart" else {"density": 0.3, "rate": 0.5}
    numbers = make(cell(method, **fields), fresh)
    cards = numbers["cards"]
    densities = [card["sizes"]["density"] for card in cards.values()]
    assert densities == ([1, 1] if method == "apart" else [pytest.approx(share, abs=1e-3) for share in (1, 0.5, 0.3)])


def test_averages_of_tunings(fresh: Place) -> None:
    base = cell("random", density=0.3)
    given = {"given": base, "setting": base.setting, "method": base.method, "seed": 0}
    soup = Cell(
        "soup", **given, procedure="soup",
        options={"learning_rates": [0.01, 0.02], "statistics": "averaged",
                 "pgd": {"levels": 8, "steps": 1, "images": 8}},
    )  # fmt: skip
    numbers = make(soup, fresh)
    assert set(numbers["cards"]) == {"member-1", "member-2", "uniform", "greedy"}
    assert numbers["soup"]["best_member"] in numbers["cards"]
    assert numbers["training"]["epochs"] == 4
    assert all(
        found <= numbers["cards"][name]["accuracy"]["test"]["clean"] + 1 for name, found in numbers["pgd"].items()
    )
    wise = make(Cell("wise", **given, procedure="wise_ft", options={"statistics": "averaged"}), fresh)
    assert set(wise["cards"]) == {"base", "tuned", "half", "best"}
    assert 0 < wise["wise_ft"]["alpha"] < 1


def test_a_barrier_lies_between_two_tickets(fresh: Place) -> None:
    two = dataclasses.replace(cell("apart"), procedure="barrier")
    numbers = make(two, fresh)
    assert numbers["barrier"]["alphas"][0] == 0
    assert numbers["barrier"]["height"] >= 0
    one = dataclasses.replace(cell("random", density=0.3), procedure="barrier")
    with pytest.raises(CardsDeckError, match="between two tickets, random gave 1"):
        make(one, fresh)
