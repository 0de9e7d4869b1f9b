"""Whole evaluations of a fake deck: what they measure, what they keep, and how they fail."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cards_deck.corruptions import corrupt
from cards_deck.data import Dataset, save_npz
from cards_deck.deck import Deck, GateConfig, write_deck
from cards_deck.errors import DataError, InputError
from cards_deck.inference.engines import EngineKind
from cards_deck.inference.fake_deck import fake_deck, fake_images
from cards_deck.inference.predictor import Predictor
from eval.__main__ import main
from eval.cells import balanced_subset, ranks_by_pixels
from eval.context import Settings
from eval.evaluate import evaluate
from eval.suites import SUITES
from eval.validation import recorded_choice

SUITE = dataclasses.replace(SUITES["cifar10-c"], corruptions=("gaussian_noise", "contrast", "pixelate"))
CLASSES, TEST = 4, 60


def _labelled(deck: Deck, count: int, split: str, seed: int) -> Dataset:
    """Images whose labels are mostly what the deck answers, so that accuracies are neither 0 nor 1."""
    images = fake_images(count, deck.image_size, seed)
    labels = Predictor(deck, engine=EngineKind.FAKE).predict(images).labels
    random = np.random.default_rng(seed)
    labels = np.where(random.random(count) < 0.25, random.integers(0, CLASSES, count), labels)
    return Dataset(images, labels, deck.classes, "cifar10", split)


@pytest.fixture(scope="module")
def deck() -> Deck:
    plain = fake_deck(classes=CLASSES, gate=GateConfig(margin=0.3))
    scores = dict(zip((card.id for card in plain.cards), (0.5, 0.6, 0.9, 0.7), strict=True))
    measured = {card: {"validation": {"accuracy": score}} for card, score in scores.items()}
    return dataclasses.replace(plain, measured=measured)


@pytest.fixture(scope="module")
def root(deck: Deck, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    save_npz(_labelled(deck, TEST, "test", 1), folder)
    save_npz(_labelled(deck, TEST, "train", 2), folder)
    return folder


@pytest.fixture
def settings(root: Path, tmp_path: Path) -> Settings:
    return Settings(
        SUITE,
        root,
        "cifar10",
        subset=20,
        resamples=200,
        cache=tmp_path / "cache",
        engine=EngineKind.FAKE,
        validation=10,
    )


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of images of every forward pass of a card, in order."""
    made: list[int] = []
    run = Predictor.card_logits

    def counted(self: Predictor, images: Any, card: int) -> Any:
        made.append(len(images))
        return run(self, images, card)

    monkeypatch.setattr(Predictor, "card_logits", counted)
    return made


def _measured(result: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in result.items() if name != "provenance"}


def test_a_cell_holds_what_the_served_predictor_answers(deck: Deck, root: Path, settings: Settings) -> None:
    result = evaluate(deck, settings)
    test = _labelled(deck, TEST, "test", 1)
    part = test.subset(balanced_subset(test.labels, ranks_by_pixels(test.images, 0), 20))
    predictor = Predictor(deck, engine=EngineKind.FAKE)
    for corruption in SUITE.corruptions:
        for severity in range(1, 6):
            images = corrupt(part.images, corruption, severity, seed=0)
            answer = predictor.predict(images)
            used = np.mean([(row > 0).sum() for row in answer.weights])
            gate = result["gate"]
            assert result["cells"]["routes"]["gated"][corruption][severity - 1] == pytest.approx(
                float(np.mean(answer.labels == part.labels)), abs=1e-6
            )
            assert gate["cards_per_image"]["cells"][corruption][severity - 1] == pytest.approx(used, abs=1e-6)
            for place, name in enumerate(deck.references.augmentations):
                assert gate["choices"][name]["count"][corruption][severity - 1] == (answer.choice == place).sum()
    clean = predictor.predict(test.images)
    assert result["routes"]["gated"]["clean"]["value"] == pytest.approx(
        float(np.mean(clean.labels == test.labels)), abs=1e-6
    )
    alone = predictor.card_logits(test.images, 3).argmax(axis=1) == test.labels
    assert result["cards"][3]["clean"]["value"] == pytest.approx(float(alone.mean()), abs=1e-6)


def test_the_result_has_the_documented_fields(deck: Deck, settings: Settings) -> None:
    result = evaluate(deck, settings, command=["python", "-m", "eval", "/home/someone/decks/mine"])
    assert (result["deck"], result["suite"], result["n"], result["n_clean"]) == ("fake", "cifar10-c", 20, TEST)
    assert (result["source"], result["seed"]) == ("regenerated", 0)
    assert result["title"] == "CIFAR-10-C (regenerated, seed 0)"
    assert set(result["routes"]) == {"gated", "uniform", "best_card", "cell_oracle", "oracle"}
    for route in (*result["routes"].values(), *result["cards"]):
        for field in ("clean", "mean", "severity5", "noise", "non_noise"):
            assert 0 <= route[field]["low"] <= route[field]["value"] <= route[field]["high"] <= 1
    for name, route in result["routes"].items():
        cells = np.array(list(result["cells"]["routes"][name].values()))
        assert route["mean"]["value"] == pytest.approx(cells.mean(), abs=2e-6)
        assert route["severity5"]["value"] == pytest.approx(cells[:, 4].mean(), abs=2e-6)
        assert route["noise"]["value"] == pytest.approx(cells[0].mean(), abs=2e-6)
        assert route["non_noise"]["value"] == pytest.approx(cells[1:].mean(), abs=2e-6)
    routes = result["routes"]
    assert 1 <= routes["gated"]["cards_per_image"] <= deck.gate.max_cards
    assert (routes["uniform"]["cards_per_image"], routes["best_card"]["cards_per_image_clean"]) == (4, 1)
    order = ["best_card", "cell_oracle", "oracle"]
    assert [routes[name]["mean"]["value"] for name in order] == sorted(routes[name]["mean"]["value"] for name in order)
    gain = result["differences"]["gated_minus_uniform"]["mean"]["value"]
    assert gain == pytest.approx(routes["gated"]["mean"]["value"] - routes["uniform"]["mean"]["value"], abs=2e-6)
    assert result["provenance"]["command"] == "python -m eval .../mine"
    assert result["provenance"]["versions"]["numpy"] == np.__version__
    json.dumps(result, allow_nan=False)


def test_a_second_run_makes_no_forward_pass_and_the_same_numbers(
    deck: Deck, settings: Settings, passes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = evaluate(deck, settings)
    assert sum(passes) == len(deck.cards) * (TEST + 15 * 20)
    passes.clear()
    monkeypatch.setattr("eval.cells.corruptions.corrupt", None)
    second = evaluate(deck, dataclasses.replace(settings, threads=3))
    assert passes == []
    assert _measured(second) == _measured(first)


def test_another_gate_needs_no_forward_pass(deck: Deck, settings: Settings, passes: list[int]) -> None:
    evaluate(deck, settings)
    passes.clear()
    uniform = dataclasses.replace(deck, gate=GateConfig(kind="uniform"))
    result = evaluate(uniform, settings)
    assert passes == []
    assert result["routes"]["gated"] == result["routes"]["uniform"]
    assert result["gate"]["choices"]["gaussian"]["clean"] == {"count": 0, "share": 0.0, "weight": 0.5}


def test_a_killed_run_goes_on_where_it_stopped(
    deck: Deck, settings: Settings, monkeypatch: pytest.MonkeyPatch, passes: list[int]
) -> None:
    whole = evaluate(deck, dataclasses.replace(settings, cache=None))
    total, run = len(passes), Predictor.card_logits
    passes.clear()

    def killed(self: Predictor, images: Any, card: int) -> Any:
        if len(passes) == 9:
            raise KeyboardInterrupt
        return run(self, images, card)

    monkeypatch.setattr(Predictor, "card_logits", killed)
    with pytest.raises(KeyboardInterrupt):
        evaluate(deck, settings)
    passes.clear()
    monkeypatch.setattr(Predictor, "card_logits", run)
    assert _measured(evaluate(deck, settings)) == _measured(whole)
    assert len(passes) == total - 9


def test_threads_and_a_missing_cache_change_no_number(deck: Deck, settings: Settings) -> None:
    alone = evaluate(deck, dataclasses.replace(settings, cache=None))
    many = evaluate(deck, dataclasses.replace(settings, cache=None, threads=4))
    assert _measured(alone) == _measured(many)
    other = evaluate(deck, dataclasses.replace(settings, seed=1))
    assert other["cells"] != alone["cells"]


def test_the_best_card_comes_from_the_record(deck: Deck, settings: Settings) -> None:
    best = evaluate(deck, settings)["best_card"]
    assert (best["name"], best["chosen_on"]) == (
        deck.cards[2].name,
        "accuracy on clean validation images, recorded in the deck",
    )


def test_a_recorded_score_goes_before_clean_accuracy(deck: Deck) -> None:
    measured = {card: {"validation": {"score": 0.5, **entry["validation"]}} for card, entry in deck.measured.items()}
    measured[deck.cards[1].id]["validation"]["score"] = 0.6
    choice = recorded_choice(dataclasses.replace(deck, measured=measured))
    assert choice is not None
    assert (choice.place, choice.scores) == (1, (0.5, 0.6, 0.5, 0.5))
    assert recorded_choice(dataclasses.replace(deck, measured={deck.cards[0].id: 3})) is None


def test_the_best_card_is_measured_on_validation_images_else(deck: Deck, settings: Settings, passes: list[int]) -> None:
    result = evaluate(dataclasses.replace(deck, measured={}), settings)
    assert "validation images" in result["best_card"]["chosen_on"]
    scores = result["best_card"]["scores"]
    assert result["best_card"]["id"] == max(scores, key=scores.__getitem__)
    assert passes.count(6) == 21 * len(deck.cards)  # a tenth of the training images are validation images


def test_without_validation_images_the_deck_s_first_card_is_taken(
    deck: Deck, settings: Settings, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "cifar10_test.npz").write_bytes((root / "cifar10_test.npz").read_bytes())
    result = evaluate(dataclasses.replace(deck, measured={}), dataclasses.replace(settings, root=tmp_path))
    assert result["best_card"]["name"] == deck.cards[0].name
    assert "no validation images" in capsys.readouterr().err


def test_official_files_are_used_where_they_lie(deck: Deck, settings: Settings, root: Path, tmp_path: Path) -> None:
    test = _labelled(deck, TEST, "test", 1)
    folder = tmp_path / "CIFAR-10-C"
    folder.mkdir()
    for corruption in SUITE.corruptions:
        np.save(folder / f"{corruption}.npy", np.tile(test.images, (5, 1, 1, 1)))
    np.save(folder / "labels.npy", np.tile(test.labels, 5))
    (tmp_path / "cifar10_test.npz").write_bytes((root / "cifar10_test.npz").read_bytes())
    result = evaluate(deck, dataclasses.replace(settings, root=tmp_path, subset=None))
    assert (result["source"], result["title"], result["frost"]) == ("official", "CIFAR-10-C", "official")
    assert result["routes"]["gated"]["mean"]["value"] == result["routes"]["gated"]["clean"]["value"]


def test_data_of_other_classes_or_size_is_refused(deck: Deck, settings: Settings) -> None:
    with pytest.raises(DataError, match="deck's classes"):
        evaluate(dataclasses.replace(deck, classes=("a", "b", "c", "d")), settings)
    with pytest.raises(InputError, match="48"):
        evaluate(fake_deck(48, CLASSES), settings)


@pytest.mark.parametrize("fault", [{"threads": 0}, {"resamples": 1}, {"validation": 0}, {"seed": -1}])
def test_impossible_settings_are_refused(settings: Settings, fault: dict[str, int]) -> None:
    with pytest.raises(InputError, match=next(iter(fault))):
        dataclasses.replace(settings, **fault)  # type: ignore[arg-type]


def test_a_folder_of_64_pixel_images_in_four_classes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    deck = fake_deck(64, CLASSES)
    write_deck(deck, tmp_path / "deck")
    for split, seed in (("train", 3), ("test", 4)):
        for place, image in enumerate(fake_images(16, 64, seed)):
            folder = tmp_path / "data" / split / deck.classes[place % CLASSES]
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(folder / f"{place}.png")
    arguments = ["--data", str(tmp_path / "data"), "--name", "folder", "--subset", "4", "--resamples", "100"]
    places = [
        "--out",
        str(tmp_path / "reports"),
        "--cache",
        str(tmp_path / "cache"),
        "--engine",
        "fake",
        "--threads",
        "2",
    ]
    assert main([str(tmp_path / "deck"), *arguments, *places]) == 0
    result = json.loads((tmp_path / "reports" / "fake" / "cifar10-c.json").read_text(encoding="utf-8"))
    assert (result["n"], result["n_clean"], result["data"]["image_size"]) == (4, 16, 64)
    assert len(result["cells"]["routes"]["gated"]) == 15
    assert result["title"] == "CIFAR-10-C corruptions on folder (regenerated, seed 0)"
    page = (tmp_path / "reports" / "fake" / "cifar10-c.html").read_text(encoding="utf-8")
    assert "Beside published results" not in page
    assert "cards per image" in capsys.readouterr().out


def test_an_expected_error_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path), "--data", str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith(f"error: {tmp_path}")
