"""The adversarial suite on a tiny deck: what its JSON holds and which rows bound which."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from eval_gates import fitted_gate, with_threshold

from cards_deck.data import Dataset, save_npz
from cards_deck.deck import Deck, GateConfig
from cards_deck.errors import MissingExtraError
from cards_deck.inference.engines import EngineKind
from cards_deck.inference.fake_deck import fake_deck, fake_images
from cards_deck.inference.gates import UniformGate
from cards_deck.inference.predictor import Predictor
from eval.attacks.judge import Found, Judge
from eval.context import Context, Settings
from eval.report import Suites
from eval.report.live import adversarial
from eval.report.markdown import document
from eval.suites import suite_named

N = 12
SUITE = dataclasses.replace(suite_named("adversarial"), radii=(0.5, 2, 9), steps=4, gate_steps=10, queries=8)


def _context(deck: Deck, root: Path, **changes: Any) -> Context:
    settings = Settings(SUITE, root, "cifar10", subset=N, resamples=100, engine=EngineKind.TORCH)
    return Context(deck, dataclasses.replace(settings, **changes))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images from clean to noisy, labelled with the deck's own answers but for some: clean accuracy below 1."""
    deck, folder = fake_deck(16, 4), tmp_path_factory.mktemp("data")
    images, random = fake_images(40, 16, 7), np.random.default_rng(7)
    noise = np.linspace(0, 30, 40)[:, None, None, None] * random.normal(size=images.shape)
    images = np.clip(images + noise, 0, 255).astype(np.uint8)
    labels = Predictor(deck, engine=EngineKind.TORCH).predict(images).labels
    labels[::8] = (labels[::8] + 1) % 4
    save_npz(Dataset(images, labels, deck.classes, "cifar10", "test"), folder)
    return folder


@pytest.fixture(scope="module")
def measured(root: Path) -> dict[str, Any]:
    return SUITE.measure(_context(fake_deck(16, 4), root))


def _rows(measured: dict[str, Any], **wanted: Any) -> list[dict[str, Any]]:
    return [row for row in measured["attacks"] if all(row[key] == value for key, value in wanted.items())]


def test_every_attack_is_measured_and_nothing_is_claimed(measured: dict[str, Any]) -> None:
    assert "No adversarial robustness is claimed" in measured["claim"]
    assert measured["n"] == N
    assert measured["data"]["name"] == "cifar10"
    json.dumps(measured, allow_nan=False)
    found = {(row["attack"], row["target"], row["radius"]) for row in measured["attacks"]}
    routes = ("gated", "uniform", "best_card")
    kinds = [(attack, route) for attack in ("pgd", "square", "all") for route in routes] + [("pgd", "gate")]
    assert found == {(*kind, radius) for kind in kinds for radius in ("0.5/255", "2/255", "9/255")}
    assert len(found) == len(measured["attacks"])
    assert {row["eps"] for row in measured["attacks"]} == {0.001961, 0.007843, 0.035294}


def test_a_radius_below_one_grey_level_is_the_control(measured: dict[str, Any]) -> None:
    for row in _rows(measured, radius="0.5/255"):
        assert row["accuracy"] == row["clean_accuracy"]
        assert row["grey_levels"] == 0
        assert row.get("choice_changed", 0) == 0


def test_attacks_bite_and_all_together_bite_most(measured: dict[str, Any]) -> None:
    for radius in ("2/255", "9/255"):
        together = {row["target"]: row["accuracy"]["value"] for row in _rows(measured, attack="all", radius=radius)}
        for row in _rows(measured, radius=radius):
            answered = {row["target"]: row["accuracy"], **row.get("transfer", {})}
            for route in together.keys() & answered.keys():
                assert together[route] <= answered[route]["value"]
            assert row["accuracy"]["low"] <= row["accuracy"]["value"] <= row["accuracy"]["high"]
    (pgd,) = _rows(measured, attack="pgd", target="gated", radius="9/255")
    assert pgd["accuracy"]["value"] < pgd["clean_accuracy"]["value"]
    assert 0 < pgd["clean_accuracy"]["value"] < 1


def test_an_image_broken_by_any_attack_is_broken_by_all_together(root: Path) -> None:
    deck = fake_deck(16, 4)
    context = _context(deck, root)
    judge = Judge(context, context.dataset("test"), 0)
    right = np.flatnonzero(judge.before["gated"].labels == judge.clean.labels)
    found = []
    for attack, row in (("pgd", right[0]), ("square", right[1])):
        images = judge.clean.images.copy()
        images[row] = images[np.flatnonzero(judge.before["gated"].labels != judge.clean.labels[row])[0]]
        found.append(Found(attack, "gated", 1, images, {}))
    rows = {(row["attack"], row["target"]): row["accuracy"]["value"] for row in judge.rows(found)}
    count = len(judge.clean)
    assert rows["pgd", "gated"] == pytest.approx((len(right) - 1) / count, abs=1e-6)
    assert rows["all", "gated"] == pytest.approx((len(right) - 2) / count, abs=1e-6)


def test_the_gate_is_attacked_alone_and_costs_no_more(measured: dict[str, Any]) -> None:
    for row in _rows(measured, target="gate"):
        assert row["where_changed"]["n"] == round(row["choice_changed"] * N)
        assert row["most_cards"] <= 2
        assert 1 <= row["cards_per_image"] <= row["most_cards"]
    assert _rows(measured, target="gate", radius="9/255")[0]["choice_changed"] > 0
    assert _rows(measured, target="gate", radius="0.5/255")[0]["where_changed"]["accuracy"] is None


def test_two_runs_agree_whatever_the_threads(measured: dict[str, Any], root: Path) -> None:
    again = SUITE.measure(_context(fake_deck(16, 4), root, threads=2))
    assert json.dumps(again) == json.dumps(measured)


def test_a_uniform_deck_has_no_choice_to_attack(root: Path) -> None:
    suite = dataclasses.replace(SUITE, radii=(1,))
    rows = suite.measure(_context(fake_deck(16, 4, gate=GateConfig(kind="uniform")), root))["attacks"]
    assert not [row for row in rows if row["target"] == "gate"]
    accuracy = {row["target"]: row["accuracy"] for row in rows if row["attack"] == "pgd"}
    assert accuracy["gated"] == accuracy["uniform"]


def test_a_cascade_can_be_made_to_cost_its_limit_and_no_more(root: Path) -> None:
    plain, images = fake_deck(16, 4), fake_images(24, 16, 7)
    chances = Predictor(plain, engine=EngineKind.TORCH, gate=UniformGate.from_deck(plain)).predict(images).probabilities
    gate = with_threshold(fitted_gate(plain, images, "spectrum_cascade"), float(np.median(chances.max(axis=1))))
    suite = dataclasses.replace(SUITE, radii=(0.5, 9))
    found = suite.measure(_context(dataclasses.replace(plain, gate=gate.config), root))
    assert {row["target"] for row in found["attacks"]} == {"gated", "uniform", "best_card", "gate", "cost"}
    control, strong = (_rows(found, target="cost", radius=radius)[0] for radius in ("0.5/255", "9/255"))
    assert control["cards_per_image"] == found["cost"]["cards_per_image_clean"] < 2
    assert control["routing_changed"] == 0 < strong["routing_changed"]
    assert control["cards_per_image"] < strong["cards_per_image"] <= strong["most_cards"] == found["cost"]["limit"] == 2
    section = adversarial(Suites((found | {"suite": "adversarial", "kind": "adversarial"},)))
    assert section is not None
    assert "limit is 2 for any image" in document("", "", [section])


def test_without_torch_the_remedy_is_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eval.suites.adversarial.available", lambda kind: False)
    with pytest.raises(MissingExtraError, match="pip install"):
        SUITE.measure(_context(fake_deck(16, 4), root))
