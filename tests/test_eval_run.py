"""Whole evaluations of a fake deck: what they measure, and what they refuse."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from eval_tiny import (
    CLASSES,
    PART,
    SUITE,
    TEST,
    VALIDATION,
    VALIDATION_CELLS,
    measured_part,
    tiny_settings,
    tiny_test,
)

from cards_deck.corruptions import CORRUPTIONS, corrupt
from cards_deck.deck import Deck, GateConfig
from cards_deck.errors import DataError, InputError
from cards_deck.inference.engines import EngineKind
from cards_deck.inference.fake_deck import fake_deck
from cards_deck.inference.predictor import Predictor
from eval.alternatives import KINDS, MOST_CARDS
from eval.cells import balanced_subset, ranks_by_pixels
from eval.context import Context, Settings
from eval.evaluate import evaluate
from eval.routes import ROUTES
from eval.validation import recorded_choice

GROUPS = ("clean", "mean", "severity5", "noise", "non_noise")


@pytest.fixture(scope="module")
def settings(eval_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """With a cache that the tests of this file share."""
    return tiny_settings(eval_root, tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def result(eval_deck: Deck, settings: Settings) -> dict[str, Any]:
    return evaluate(eval_deck, settings, command=["python", "-m", "eval", "/home/someone/decks/mine"])


def test_a_cell_holds_what_the_served_predictor_answers(eval_deck: Deck, result: dict[str, Any]) -> None:
    test = tiny_test(eval_deck)
    part = test.subset(balanced_subset(test.labels, ranks_by_pixels(test.images, 0), PART))
    predictor = Predictor(eval_deck, engine=EngineKind.FAKE)
    gate = result["gate_choices"]
    for corruption in SUITE.corruptions:
        for severity in range(1, 6):
            images = corrupt(part.images, corruption, severity, seed=0)
            answer = predictor.predict(images)
            used = np.mean([(row > 0).sum() for row in answer.weights])
            assert result["cells"]["routes"]["gated"][corruption][severity - 1] == pytest.approx(
                float(np.mean(answer.labels == part.labels)), abs=1e-6
            )
            assert gate["cards_per_image"]["cells"][corruption][severity - 1] == pytest.approx(used, abs=1e-6)
            for place, name in enumerate(eval_deck.references.augmentations):
                assert gate["choices"][name]["count"][corruption][severity - 1] == (answer.choice == place).sum()
    clean = predictor.predict(test.images)
    assert result["routes"]["gated"]["clean"]["value"] == pytest.approx(
        float(np.mean(clean.labels == test.labels)), abs=1e-6
    )
    alone = predictor.card_logits(test.images, 3).argmax(axis=1) == test.labels
    assert result["cards"][3]["clean"]["value"] == pytest.approx(float(alone.mean()), abs=1e-6)


def test_the_result_has_the_documented_fields(eval_deck: Deck, result: dict[str, Any]) -> None:
    assert (result["deck"], result["suite"], result["kind"]) == ("fake", "cifar10-c", "corruptions")
    assert (result["schema_version"], result["n"], result["n_clean"]) == (2, PART, TEST)
    assert (result["source"], result["seed"], result["engine"]) == ("regenerated", 0, "fake")
    assert result["title"] == "CIFAR-10-C (regenerated, seed 0)"
    assert result["gate"] == eval_deck.gate.summary()
    assert tuple(result["routes"]) == ROUTES
    for route in (*result["routes"].values(), *result["cards"]):
        for field in GROUPS:
            assert 0 <= route[field]["low"] <= route[field]["value"] <= route[field]["high"] <= 1
    for name, route in result["routes"].items():
        cells = np.array(list(result["cells"]["routes"][name].values()))
        assert route["mean"]["value"] == pytest.approx(cells.mean(), abs=2e-6)
        assert route["severity5"]["value"] == pytest.approx(cells[:, 4].mean(), abs=2e-6)
        assert route["noise"]["value"] == pytest.approx(cells[0].mean(), abs=2e-6)
        assert route["non_noise"]["value"] == pytest.approx(cells[1:].mean(), abs=2e-6)
        assert result["relative"][name] == {"mce": pytest.approx(1 - cells.mean(), abs=2e-6), "relative_mce": None}
    assert result["provenance"]["command"] == "python -m eval .../mine"
    assert result["provenance"]["versions"]["numpy"] == np.__version__
    assert result["provenance"]["seconds"] > 0
    assert result["timing"] is None
    json.dumps(result, allow_nan=False)


def test_routes_cost_what_they_run_and_bounds_bound(eval_deck: Deck, result: dict[str, Any]) -> None:
    routes, k = result["routes"], len(eval_deck.cards)
    costs = {name: route["cards_per_image"] for name, route in routes.items()}
    assert 1 <= costs.pop("gated") <= eval_deck.gate.max_cards
    assert costs.pop("uniform") == costs.pop("confidence") == costs.pop("oracle") == k
    assert costs.pop("random_cards") == MOST_CARDS
    assert all(1 <= costs.pop(f"gate_{kind}") <= eval_deck.gate.max_cards for kind in KINDS)
    assert set(costs.values()) == {1}
    for name in ("best_card", "random_card", "classifier", "confidence", "cell_oracle"):
        assert routes[name]["mean"]["value"] <= routes["oracle"]["mean"]["value"]
    assert routes["best_card"]["mean"]["value"] <= routes["cell_oracle"]["mean"]["value"]
    for other in ("uniform", "best_card", "random_card", "random_cards", "confidence", "classifier", "gate_router"):
        gain = result["differences"][f"gated_minus_{other}"]["mean"]["value"]
        assert gain == pytest.approx(routes["gated"]["mean"]["value"] - routes[other]["mean"]["value"], abs=2e-6)
    hindsight = max(card["mean"]["value"] for card in result["cards"])
    gain = result["differences"]["gated_minus_hindsight_card"]["mean"]["value"]
    assert gain == pytest.approx(routes["gated"]["mean"]["value"] - hindsight, abs=2e-6)
    for bound in ("cell_oracle", "oracle"):
        lost = routes[bound]["mean"]["value"] - routes["gated"]["mean"]["value"]
        assert result["regret"][bound]["value"] == pytest.approx(lost, abs=2e-6)


def test_the_best_card_comes_from_the_record(eval_deck: Deck, result: dict[str, Any]) -> None:
    best = result["best_card"]
    chosen = "accuracy on clean validation images, recorded in the deck"
    assert (best["name"], best["chosen_on"]) == (eval_deck.cards[2].name, chosen)
    assert result["cells"]["routes"]["best_card"] == result["cells"]["cards"][eval_deck.cards[2].id]


def test_a_recorded_score_goes_before_clean_accuracy(eval_deck: Deck) -> None:
    measured = {
        card: {"validation": {"score": 0.5, **entry["validation"]}} for card, entry in eval_deck.measured.items()
    }
    measured[eval_deck.cards[1].id]["validation"]["score"] = 0.6
    choice = recorded_choice(dataclasses.replace(eval_deck, measured=measured))
    assert choice is not None
    assert (choice.place, choice.scores) == (1, (0.5, 0.6, 0.5, 0.5))
    assert choice.chosen_on.startswith("validation score, half clean")
    assert recorded_choice(dataclasses.replace(eval_deck, measured={eval_deck.cards[0].id: 3})) is None
    measured[eval_deck.cards[2].id]["validation"]["corrupted"] = 0.9
    for place in (0, 1, 3):
        measured[eval_deck.cards[place].id]["validation"]["corrupted"] = 0.1
    again = recorded_choice(dataclasses.replace(eval_deck, measured=measured))
    assert again is not None
    assert again.place == 1


def test_the_best_card_is_measured_on_validation_images_else(eval_deck: Deck, settings: Settings) -> None:
    context = Context(dataclasses.replace(eval_deck, measured={}), settings)
    assert context.validation is not None
    assert (context.validation.count, len(context.validation.cells)) == (VALIDATION, VALIDATION_CELLS)
    assert not {name for name, _ in context.validation.cells} & set(CORRUPTIONS)
    right = [cell.logits.argmax(axis=2) == cell.labels for cell in context.validation.answers]
    assert context.best_card.scores == pytest.approx(np.mean(right, axis=(0, 2)))
    assert context.best_card.place == int(np.mean(right, axis=(0, 2)).argmax())
    assert "6 validation images" in context.best_card.chosen_on


def test_without_validation_images_nothing_is_fitted_and_it_is_said(
    eval_deck: Deck, settings: Settings, eval_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "cifar10_test.npz").write_bytes((eval_root / "cifar10_test.npz").read_bytes())
    result = evaluate(dataclasses.replace(eval_deck, measured={}), dataclasses.replace(settings, root=tmp_path))
    assert result["best_card"]["name"] == eval_deck.cards[0].name
    assert result["validation"] is None
    assert "no training split" in result["validation_reason"]
    assert not {"classifier", "gate_router"} & set(result["routes"])
    assert result["gates"] is None
    assert {part["temperature"] for part in result["calibration"].values()} == {1}
    assert capsys.readouterr().err.count("no validation images") == 1


def test_a_uniform_gate_is_the_plain_average(eval_deck: Deck, settings: Settings) -> None:
    result = evaluate(dataclasses.replace(eval_deck, gate=GateConfig(kind="uniform")), settings)
    assert result["routes"]["gated"] == result["routes"]["uniform"]
    assert result["gate_choices"]["choices"]["gaussian"]["clean"] == {"count": 0, "share": 0.0, "weight": 0.5}
    assert result["differences"]["gated_minus_uniform"]["mean"] == {"value": 0, "low": 0, "high": 0}


def test_another_seed_gives_other_cells(eval_deck: Deck, settings: Settings, result: dict[str, Any]) -> None:
    other = evaluate(eval_deck, dataclasses.replace(settings, seed=1))
    assert other["cells"] != result["cells"]
    assert measured_part(other)["title"] == "CIFAR-10-C (regenerated, seed 1)"


def test_data_of_other_classes_or_size_is_refused(eval_deck: Deck, settings: Settings) -> None:
    with pytest.raises(DataError, match="deck's classes"):
        evaluate(dataclasses.replace(eval_deck, classes=("a", "b", "c", "d")), settings)
    with pytest.raises(InputError, match="48"):
        evaluate(fake_deck(48, CLASSES), settings)


@pytest.mark.parametrize("fault", [{"threads": 0}, {"resamples": 1}, {"validation": 0}, {"seed": -1}])
def test_impossible_settings_are_refused(settings: Settings, fault: dict[str, int]) -> None:
    with pytest.raises(InputError, match=next(iter(fault))):
        dataclasses.replace(settings, **fault)  # type: ignore[arg-type]
