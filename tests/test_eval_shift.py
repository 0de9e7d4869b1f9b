"""CIFAR-10.1 and a user's folder, on a fake deck and generated files."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cards_deck.data import Dataset, save_npz
from cards_deck.deck import Deck
from cards_deck.errors import DataError
from cards_deck.inference.engines import EngineKind
from cards_deck.inference.fake_deck import fake_deck, fake_images
from cards_deck.inference.predictor import Predictor
from eval import metrics
from eval.context import Settings
from eval.evaluate import evaluate
from eval.routes import BOUNDS, ROUTES
from eval.suites import SUITES
from eval.suites._shift_data import cifar101, user_folder

DATA, LABELS = "cifar10.1_v6_data.npy", "cifar10.1_v6_labels.npy"
SERVED = tuple(name for name in ROUTES if name not in BOUNDS)
UNFITTED = SERVED[: SERVED.index("classifier")]  # without a training split


def answered(deck: Deck, count: int, seed: int) -> Dataset:
    """Images whose labels are what the deck answers, but for every fourth."""
    images = fake_images(count, deck.image_size, seed)
    labels = Predictor(deck, engine=EngineKind.FAKE).predict(images).labels
    labels[::4] = (labels[::4] + 1) % 10
    return Dataset(images, labels, deck.classes, "cifar10", "test")


@pytest.fixture(scope="module")
def deck() -> Deck:
    return fake_deck()


@pytest.fixture(scope="module")
def root(deck: Deck, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    shifted = answered(deck, 40, 5)
    np.save(folder / DATA, shifted.images)
    np.save(folder / LABELS, shifted.labels.astype(np.int32))
    save_npz(answered(deck, 60, 6), folder)
    save_npz(dataclasses.replace(answered(deck, 60, 7), split="train"), folder)
    return folder


def settings(suite: str, root: Path, **more: Any) -> Settings:
    given = {"resamples": 100, "engine": EngineKind.FAKE, "validation": 5} | more
    return Settings(SUITES[suite], root, SUITES[suite].data, **given)


@pytest.fixture(scope="module")
def result(deck: Deck, root: Path) -> dict[str, Any]:
    return evaluate(deck, settings("cifar10.1", root))


def test_accuracies_are_those_of_the_served_predictor(deck: Deck, root: Path, result: dict[str, Any]) -> None:
    predictor = Predictor(deck, engine=EngineKind.FAKE)
    for seed, count, field in ((5, 40, "accuracy"), (6, 60, "original")):
        data = answered(deck, count, seed)
        for route, weights in (("gated", None), ("uniform", np.full(4, 0.25, np.float32))):
            expected = float((predictor.predict(data.images, weights=weights).labels == data.labels).mean())
            found = result["routes"][route][field]
            assert found["value"] == pytest.approx(expected, abs=1e-6)
            assert found["low"] <= found["value"] <= found["high"]
    assert result["routes"]["gated"]["accuracy"]["value"] == 0.75
    assert (result["n"], result["n_clean"], result["source"]) == (40, 60, "official")


def test_effective_robustness_is_the_distance_to_the_line(result: dict[str, Any]) -> None:
    assert tuple(result["effective_robustness"]) == SERVED
    for route, found in result["effective_robustness"].items():
        row = result["routes"][route]
        expected = metrics.effective_robustness(row["accuracy"]["value"], row["original"]["value"])
        assert found["value"] == pytest.approx(expected, abs=1e-5)
        assert found["low"] <= found["value"] <= found["high"]
    gated, accuracy = result["effective_robustness"]["gated"], result["routes"]["gated"]["accuracy"]
    assert gated["high"] - gated["low"] > 1.1 * (accuracy["high"] - accuracy["low"])  # both test sets vary


def test_what_the_gate_chose(deck: Deck, result: dict[str, Any]) -> None:
    answer = Predictor(deck, engine=EngineKind.FAKE).predict(answered(deck, 40, 5).images)
    gate = result["gate_choices"]
    for place, name in enumerate(deck.references.augmentations):
        assert gate["choices"][name]["count"] == (answer.choice == place).sum()
    assert gate["unknown"] == pytest.approx(answer.unknown.mean(), abs=1e-6)
    assert gate["cards_per_image"] == pytest.approx(np.count_nonzero(answer.weights, axis=1).mean(), abs=1e-6)
    assert sum(result["answers"].values()) == 40
    assert list(result["answers"].values()) == np.bincount(answer.labels, minlength=10).tolist()
    assert result["gate"]["kind"] == "spectral"


def test_differences_are_paired(result: dict[str, Any]) -> None:
    routes = result["routes"]
    for name in SERVED[1:]:
        found = result["differences"][f"gated_minus_{name}"]["accuracy"]["value"]
        expected = routes["gated"]["accuracy"]["value"] - routes[name]["accuracy"]["value"]
        assert found == pytest.approx(expected, abs=2e-6)


def test_two_runs_agree(deck: Deck, root: Path, result: dict[str, Any]) -> None:
    again = evaluate(deck, settings("cifar10.1", root))
    assert again | {"provenance": 0} == result | {"provenance": 0}
    assert evaluate(deck, settings("cifar10.1", root, subset=10))["n"] == 10


def test_cifar101_that_is_absent_is_said_to_be_got_where(deck: Deck, tmp_path: Path) -> None:
    save_npz(answered(deck, 20, 6), tmp_path)
    with pytest.raises(DataError, match=r"cifar10.1_v6_data.npy is missing: get it from github.com"):
        evaluate(deck, settings("cifar10.1", tmp_path))


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (np.zeros((4, 32, 32), np.uint8), np.zeros(4, int), "data.npy: images must be uint8"),
        (np.zeros((4, 16, 16, 3), np.uint8), np.zeros(4, int), "the deck's size"),
        (np.zeros((4, 32, 32, 3)), np.zeros(4, int), "float64"),
        (np.zeros((4, 32, 32, 3), np.uint8), np.zeros(5, int), "labels.npy: labels must be integers"),
        (np.zeros((4, 32, 32, 3), np.uint8), np.zeros(4), "float64"),
        (np.zeros((4, 32, 32, 3), np.uint8), np.full(4, 10), "0 to 9"),
    ],
)
def test_a_broken_cifar101_is_named(tmp_path: Path, images: Any, labels: Any, message: str) -> None:
    np.save(tmp_path / DATA, images)
    np.save(tmp_path / LABELS, labels)
    with pytest.raises(DataError, match=message):
        cifar101(tmp_path, 32, subset=None, seed=0)


def test_a_cut_file_is_named(root: Path, tmp_path: Path) -> None:
    (tmp_path / DATA).write_bytes((root / DATA).read_bytes()[:5000])
    with pytest.raises(DataError, match=r"data.npy cannot be read: it is cut off.*get it from github.com"):
        cifar101(tmp_path, 32, subset=None, seed=0)


def write(folder: Path, images: Any, start: int = 0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for place, image in enumerate(images, start):
        Image.fromarray(image).save(folder / f"{place:03}.png")


def test_a_folder_with_classes_has_accuracy(deck: Deck, tmp_path: Path) -> None:
    data = answered(deck, 24, 8)
    present = sorted(set(data.labels.tolist()))
    for label in present:
        write(tmp_path / "test" / deck.classes[label], data.images[data.labels == label])
    result = evaluate(deck, settings("folder", tmp_path))
    assert result["routes"]["gated"]["accuracy"]["value"] == 0.75
    assert result["routes"]["oracle"]["accuracy"]["value"] >= 0.75
    assert (result["n"], result["data"]["labelled"], result["kind"]) == (24, True, "shift")
    assert 0 <= result["routes"]["gated"]["ece"] <= 1
    few = user_folder(tmp_path, deck.classes, 32, subset=len(present), seed=0)
    assert few.labels is not None
    assert sorted(few.labels.tolist()) == present


def test_a_folder_without_classes_has_choices_and_confidence_only(deck: Deck, tmp_path: Path) -> None:
    images = fake_images(9, 40, seed=9)
    write(tmp_path, images)
    result = evaluate(deck, settings("folder", tmp_path))
    assert result["data"]["labelled"] is False
    assert result["differences"] == {}
    assert tuple(result["routes"]) == UNFITTED
    for row in result["routes"].values():
        assert row["accuracy"] is None
        assert 0.1 <= row["confidence"]["p5"] <= row["confidence"]["mean"] <= 1
        assert "ece" not in row
    assert sum(choice["count"] for choice in result["gate_choices"]["choices"].values()) == 9
    gated = Predictor(deck, engine=EngineKind.FAKE).predict(user_folder(tmp_path, (), 32, subset=None, seed=0).images)
    confidence = result["routes"]["gated"]["confidence"]["mean"]
    assert confidence == pytest.approx(gated.probabilities.max(axis=1).mean(), abs=1e-5)
    assert user_folder(tmp_path, deck.classes, 32, subset=4, seed=0).images.shape == (4, 32, 32, 3)


def test_folders_that_cannot_be_read_are_named(deck: Deck, tmp_path: Path) -> None:
    def fails(name: str, message: str) -> None:
        with pytest.raises(DataError, match=message) as caught:
            user_folder(tmp_path / name, deck.classes, 32, subset=None, seed=0)
        assert name in str(caught.value)

    fails("absent", "must be a folder")
    (tmp_path / "empty").mkdir()
    fails("empty", "at least one image")
    write(tmp_path / "other" / "zebra", fake_images(1))
    fails("other", "one of the deck's classes, class_0")
    write(tmp_path / "mixed" / "class_0", fake_images(1))
    write(tmp_path / "mixed", fake_images(1))
    fails("mixed", "000.png: images must lie all")
    write(tmp_path / "text", fake_images(1))
    (tmp_path / "text" / "notes.txt").write_text("x")
    fails("text", "notes.txt: only images")
    write(tmp_path / "broken", fake_images(1))
    (tmp_path / "broken" / "001.png").write_bytes(b"\x89PNG\r\n")
    fails("broken", "001.png")
