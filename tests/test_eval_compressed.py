"""A deck beside its compressed versions: what is measured, what is refused, and the section of the report."""

from __future__ import annotations

import copy
import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from eval_tiny import CLASSES, PART, SUITE, TEST, measured_part, tiny_settings, tiny_test, write_root
from families import family_deck

from cards_deck import corruptions, data
from cards_deck.card import card_bytes
from cards_deck.corruptions import corrupt
from cards_deck.deck import Deck, GateConfig, read_deck, write_deck
from cards_deck.errors import InputError
from cards_deck.inference.engines import EngineKind
from cards_deck.inference.fake_deck import fake_deck
from cards_deck.inference.predictor import Predictor
from eval.__main__ import main
from eval.cells import balanced_subset, ranks_by_pixels
from eval.compressed import Compressed
from eval.context import Settings
from eval.evaluate import evaluate
from eval.report import Suites, read_suites, write_json
from eval.report.compressed import compressed
from eval.report.page import render
from eval.suites import SUITES
from eval.tables import results_table
from eval.versions import labels_for

Json = dict[str, Any]
FIELDS = ("clean", "mean", "severity5")


def version(deck: Deck, quantizer: str, **changes: Any) -> Deck:
    """Cards of the same names in the opposite order; another quantizer gives other ids, and so other fake answers."""
    cards = [
        dataclasses.replace(card, record=dataclasses.replace(card.record, quantizer={"name": quantizer}))
        for card in reversed(deck.cards)
    ]
    changes = {"name": f"fake-{quantizer}", "measured": {}, **changes}
    return dataclasses.replace(deck, cards=tuple(cards), **changes)


@pytest.fixture(scope="module")
def others(eval_deck: Deck) -> tuple[Deck, ...]:
    same = dataclasses.replace(eval_deck, name="same")
    return same, version(eval_deck, "int8"), version(eval_deck, "binary", gate=GateConfig(kind="uniform"))


@pytest.fixture(scope="module")
def settings(eval_root: Path, others: tuple[Deck, ...], tmp_path_factory: pytest.TempPathFactory) -> Settings:
    cache = tmp_path_factory.mktemp("cache")
    return dataclasses.replace(tiny_settings(eval_root, cache), suite=Compressed(SUITE, others))


@pytest.fixture(scope="module")
def stored(eval_deck: Deck, settings: Settings) -> Json:
    return evaluate(eval_deck, dataclasses.replace(settings, timing=True))


@pytest.fixture
def result(stored: Json) -> Json:
    return copy.deepcopy(stored)


def _accuracies(deck: Deck, card: str | None, test: data.Dataset) -> dict[str, float]:
    """By the served predictor, cell by cell: gated for None, else that card alone."""
    predictor = Predictor(deck, engine=EngineKind.FAKE)
    part = test.subset(balanced_subset(test.labels, ranks_by_pixels(test.images, 0), PART))
    place = None if card is None else [each.name for each in deck.cards].index(card)

    def right(images: data.Images, labels: Any) -> float:
        alone = place is not None and predictor.card_logits(images, place).argmax(axis=1)
        answers = predictor.predict(images).labels if place is None else alone
        return float(np.mean(answers == labels))

    cells = np.array(
        [[right(corrupt(part.images, name, s, seed=0), part.labels) for s in range(1, 6)] for name in SUITE.corruptions]
    )
    return {"clean": right(test.images, test.labels), "mean": cells.mean(), "severity5": cells[:, 4].mean()}


def test_differences_are_those_of_the_served_decks_on_the_same_images(
    eval_deck: Deck, others: tuple[Deck, ...], result: Json
) -> None:
    test = tiny_test(eval_deck)
    first, row = result["versions"][0], result["versions"][2]
    assert (first["gated"]["difference"], row["label"]) == (None, "int8")
    for place, name in enumerate([None, *(card.name for card in eval_deck.cards)]):
        wanted, other = _accuracies(eval_deck, name, test), _accuracies(others[1], name, test)
        before, after = ((each["gated"], *each["cards"])[place] for each in (first, row))
        assert name is None or before["name"] == after["name"] == name
        for field in FIELDS:
            change = after["difference"][field]
            assert before[field]["value"] == pytest.approx(wanted[field], abs=1e-6)
            assert after[field]["value"] == pytest.approx(other[field], abs=1e-6)
            assert change["value"] == pytest.approx(other[field] - wanted[field], abs=2e-6)
            assert change["low"] <= change["value"] <= change["high"]
            assert change["low"] < change["high"]


def test_the_same_cards_differ_by_nothing_as_the_images_are_paired(result: Json) -> None:
    nothing = {"value": 0, "low": 0, "high": 0}
    row = result["versions"][1]
    for found in (row["gated"], *row["cards"]):
        assert all(found["difference"][field] == nothing for field in FIELDS)
        assert found["mean"]["low"] < found["mean"]["high"]


def test_a_version_runs_under_its_own_gate(eval_deck: Deck, result: Json) -> None:
    first, _, _, binary = result["versions"]
    assert first["gate"] == eval_deck.gate.summary() == result["gate"]
    assert binary["gate"]["kind"] == "uniform"
    assert binary["gated"]["cards_per_image"] == binary["gated"]["cards_per_image_clean"] == len(eval_deck.cards)
    assert 1 <= first["gated"]["cards_per_image"] <= eval_deck.gate.max_cards


def test_the_json_has_the_fields_of_every_suite(eval_deck: Deck, others: tuple[Deck, ...], result: Json) -> None:
    assert (result["deck"], result["suite"], result["kind"]) == ("fake", "compressed", "compressed")
    assert (result["schema_version"], result["n"], result["n_clean"]) == (2, PART, TEST)
    assert result["title"] == "Compressed cards on CIFAR-10-C (regenerated, seed 0)"
    assert [row["label"] for row in result["versions"]] == ["fp16 (fake)", "fp16 (same)", "int8", "binary"]
    assert result["engine"].endswith("int8: fake, binary: fake")
    for row, source in zip(result["versions"], (eval_deck, *others), strict=True):
        sizes = {card.name: len(card_bytes(card)) for card in source.cards}
        assert (row["deck"], row["bytes"], row["bits"]) == (source.name, None, [16])
        assert {card["name"]: card["bytes_alone"] for card in row["cards"]} == sizes
        assert [card["name"] for card in row["cards"]] == [card.name for card in eval_deck.cards]
        assert {card["engine"] for card in row["cards"]} == {"fake"}
        times = result["timing"]["versions"][row["label"]]
        assert all(times[what][size] > 0 for what in ("card", "gated") for size in ("1", "32"))
    assert result["timing"]["card"] == result["best_card"]["name"] == eval_deck.cards[2].name
    json.dumps(result, allow_nan=False)


def test_runs_agree_with_and_without_cache_on_any_number_of_threads(
    eval_deck: Deck, settings: Settings, result: Json, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    real = corrupt
    monkeypatch.setattr(corruptions, "corrupt", lambda *args, **more: made.append(args[1:]) or real(*args, **more))
    again = evaluate(eval_deck, dataclasses.replace(settings, cache=None, threads=3))
    assert json.dumps(measured_part(again)) == json.dumps(measured_part(result))
    assert sorted(made) == sorted(SUITE.cells), "a cell's images must be made once for all versions"
    assert again["timing"] is None


def test_decks_that_are_no_versions_are_refused_by_name(eval_deck: Deck, settings: Settings) -> None:
    renamed = dataclasses.replace(
        eval_deck, cards=(dataclasses.replace(eval_deck.cards[0], name="new"), *eval_deck.cards[1:])
    )
    renamed = dataclasses.replace(renamed, name="stranger", measured={})
    twice = dataclasses.replace(eval_deck, version="2")
    faults = {
        r"stranger must be a version of fake.*lacks augmix_1 and has new": renamed,
        r"the same classes": fake_deck(classes=CLASSES + 1),
        r"the same image_size; it has 48, not 32": fake_deck(48, CLASSES),
        r"must differ in name.*fp16 \(fake\)": twice,
    }
    for text, other in faults.items():
        with pytest.raises(InputError, match=text):
            evaluate(eval_deck, dataclasses.replace(settings, suite=Compressed(SUITE, (other,))))


def test_averages_that_a_version_lacks_are_not_compared(tmp_path: Path) -> None:
    """The first deck's best card is an average: among the others the best is taken. Gates run what each deck has."""
    first = family_deck(gate=GateConfig(kind="uniform"))
    scores = {card.id: {"validation": {"accuracy": 0.5 + place / 10}} for place, card in enumerate(first.cards)}
    first = dataclasses.replace(first, measured=scores)
    settings = tiny_settings(write_root(first, tmp_path), tmp_path / "cache")
    plain = tuple(card for card in first.cards if not card.averaged)
    small = version(dataclasses.replace(first, cards=plain), "int8")
    found = evaluate(first, dataclasses.replace(settings, suite=Compressed(SUITE, (small,)), timing=True))
    assert first.cards[-1].averaged, "the best"
    assert found["best_card"]["name"] == found["timing"]["card"] == plain[-1].name
    for row, deck in zip(found["versions"], (first, small), strict=True):
        assert [card["name"] for card in row["cards"]] == [card.name for card in plain]
        assert [card["id"] for card in row["cards"]] == [
            next(card.id for card in deck.cards if card.name == other.name) for other in plain
        ]
        assert row["gated"]["cards_per_image"] == 4  # the plain average is that of the trained cards
    lacking = dataclasses.replace(small, cards=small.cards[1:])
    with pytest.raises(InputError, match=r"lacks tuned_3: make a version with `cards-deck quantize`"):
        evaluate(first, dataclasses.replace(settings, suite=Compressed(SUITE, (lacking,))))


def test_labels_say_the_precision_of_mixed_decks_too(eval_deck: Deck) -> None:
    mixed = dataclasses.replace(
        eval_deck, cards=(*eval_deck.cards[:2], *version(eval_deck, "int8").cards[:2]), measured={}
    )
    assert labels_for([eval_deck, mixed]) == ["fp16", "fp16+int8"]


def test_the_command_writes_the_json_and_a_report_with_the_section(
    eval_deck: Deck, eval_root: Path, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SUITES, "cifar10-c", SUITE)
    folders = [str(write_deck(each, tmp_path / each.name)) for each in (eval_deck, version(eval_deck, "int8"))]
    options = ["--subset", str(PART), "--resamples", "100", "--engine", "fake", "--no-timing"]
    places = ["--data", str(eval_root), "--cache", str(settings.cache), "--out", str(tmp_path / "out")]
    assert main(["compressed", *folders, *options, *places]) == 0
    found = json.loads((tmp_path / "out" / "fake" / "compressed.json").read_text(encoding="utf-8"))
    sizes = [sum(file.stat().st_size for file in Path(folder).iterdir()) for folder in folders]
    assert [row["bytes"] for row in found["versions"]] == sizes
    for name, heading in (("report.html", "<h2>Compressed</h2>"), ("report.md", "## Compressed")):
        assert heading in (tmp_path / "out" / "fake" / name).read_text(encoding="utf-8")
    assert results_table(tmp_path / "out") == "No deck has been measured yet."
    write_deck(dataclasses.replace(read_deck(folders[1]), classes=("a", "b", "c", "d")), folders[1])
    assert main(["compressed", *folders, *options, *places]) == 1


def test_the_section_is_there_only_with_its_json(result: Json, tmp_path: Path) -> None:
    from eval_json import Maker

    write_json(Maker().shift(), tmp_path / "cifar10.1.json")
    assert "Compressed" not in "".join(render(read_suites(tmp_path)))
    assert compressed(read_suites(tmp_path)) is None
    change = result["versions"][2]["gated"]["difference"]
    for low, kind in ((0.001, "better"), (-0.001, "no"), (-0.02, "worse")):
        change["mean"] = {"value": low + 0.005, "low": low, "high": low + 0.01}
        section = compressed(Suites((result,)))
        assert section is not None
        decks, differences, cards = (block for block in section.blocks if type(block).__name__ == "Table")
        (row,) = [row for row in differences.rows if row.name.text.startswith("int8") and row.name.detail == "gated"]  # type: ignore[union-attr]
        assert row.cells[1].kind == kind  # type: ignore[union-attr]
        assert (len(decks.rows), len(cards.rows)) == (4, 16)  # type: ignore[union-attr]
