"""Out-of-distribution detection on a fake deck: the sets, the scores, and what stands in the result."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cards_deck.card import Card
from cards_deck.data import Dataset, save_npz
from cards_deck.deck import Deck
from cards_deck.errors import DataError, InputError
from cards_deck.graph import Graph
from cards_deck.inference.engines import EngineKind, load
from cards_deck.inference.fake_deck import fake_card, fake_deck, fake_images
from cards_deck.inference.predictor import Predictor
from eval import metrics
from eval.context import Context, Settings
from eval.evaluate import evaluate
from eval.measure import Job
from eval.options import measure_parser, settings_for
from eval.suites import SUITES
from eval.suites._ood_neighbours import MeanLogits, bank_images, feature_card, vectors_of
from eval.suites._ood_scores import TITLES, card_scores, detection_table
from eval.suites._ood_sets import GENERATED, NOISES, outside_sets, read_images
from eval.suites.ood import full_spectrum_cells

CLASSES = 4


def _dataset(name: str, split: str, count: int, seed: int, classes: tuple[str, ...], size: int = 32) -> Dataset:
    labels = np.random.default_rng(seed).integers(0, len(classes), count)
    return Dataset(fake_images(count, size, seed), labels, classes, name, split)


@pytest.fixture(scope="module")
def deck() -> Deck:
    return fake_deck(classes=CLASSES)


@pytest.fixture(scope="module")
def root(deck: Deck, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    save_npz(_dataset("cifar10", "test", 40, 1, deck.classes), folder)
    save_npz(_dataset("cifar10", "train", 90, 2, deck.classes), folder)
    save_npz(_dataset("cifar100", "test", 30, 3, ("apple", "bear")), folder)
    save_npz(_dataset("dtd10", "test", 20, 4, ("banded", "dotted"), size=48), folder)
    return folder


@pytest.fixture(scope="module")
def settings(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    cache = tmp_path_factory.mktemp("cache")
    return Settings(SUITES["ood"], root, "cifar10", 20, resamples=50, cache=cache, engine=EngineKind.FAKE, validation=8)


@pytest.fixture(scope="module")
def result(deck: Deck, settings: Settings) -> dict[str, Any]:
    return evaluate(deck, settings)


def test_the_sets_and_what_was_skipped(result: dict[str, Any], root: Path) -> None:
    groups = {one["name"]: (one["group"], one["n"]) for one in result["sets"]}
    assert groups == {
        "cifar100": ("near", 20),
        "textures": ("far", 20),
        **dict.fromkeys(NOISES, ("noise", 20)),
    }
    (digits,) = result["skipped"]
    assert digits["name"] == "digits"
    assert "DATA/mnist_test.npz" in digits["reason"]
    assert str(root) not in str(result | {"provenance": None})


def test_scores_are_those_of_the_served_predictor(deck: Deck, result: dict[str, Any], root: Path) -> None:
    """The near set's numbers, made again from the predictor's own probabilities."""
    predictor = Predictor(deck, engine=EngineKind.FAKE)
    context = Context(deck, Settings(SUITES["ood"], root, "cifar10", engine=EngineKind.FAKE))
    sets, _ = outside_sets(root, "cifar10", 32, subset=20, seed=0)
    known = _subset(context.dataset("test").images, result)
    for route in ("gated", "uniform"):
        weights = np.full(4, 0.25, np.float32) if route == "uniform" else None
        inside = 1 - predictor.predict(known, weights=weights).probabilities.max(axis=1)
        outside = 1 - predictor.predict(sets[0].images, weights=weights).probabilities.max(axis=1)
        found = result["scores"][f"{route}_msp"]["cifar100"]
        assert found["auroc"] == pytest.approx(metrics.auroc(inside, outside), abs=1e-6)
        assert found["fpr95"] == pytest.approx(metrics.fpr_at_tpr(inside, outside), abs=1e-6)
    spectral = result["scores"]["spectral_distance"]["cifar100"]
    nearest = [predictor.predict(images).distances.min(axis=1) for images in (known, sets[0].images)]
    assert spectral["auroc"] == pytest.approx(metrics.auroc(*nearest), abs=0.01)  # spectra are kept in half precision


def _subset(images: np.ndarray[Any, Any], result: dict[str, Any]) -> np.ndarray[Any, Any]:
    from eval.cells import balanced_subset, ranks_by_pixels

    labels = _dataset("cifar10", "test", 40, 1, ("a", "b", "c", "d")).labels
    return np.asarray(images[balanced_subset(labels, ranks_by_pixels(images, 0), result["n"])])


def test_every_score_is_there_with_means_and_intervals(result: dict[str, Any]) -> None:
    assert set(result["scores"]) == set(result["fsood"]) == set(TITLES) - {"knn_logits"} == set(result["titles"])
    for table in (result["scores"], result["fsood"]):
        for row in table.values():
            means = {f"{group}{field}" for group in ("near", "far", "noise") for field in ("", "_fpr95")}
            assert set(row) == {"cifar100", "textures", *NOISES, *means}
            assert row["near"] == row["cifar100"]["auroc"]
            assert row["far_fpr95"] == row["textures"]["fpr95"]
            assert row["noise"] == pytest.approx(sum(row[name]["auroc"] for name in NOISES) / 3, abs=1e-6)
            for name in ("cifar100", "textures", *NOISES):
                assert all(0 <= value <= 1 for value in row[name].values())
                assert row[name]["auroc_low"] <= row[name]["auroc"] <= row[name]["auroc_high"]
    assert set(result["definitions"]) == set(result["titles"])
    assert result["full_spectrum"]["n"] == 20 + 15 * 20
    assert result["full_spectrum"]["source"] == "regenerated"
    assert set(result["accuracy"]) == {"gated", "uniform"}
    assert result["scores"]["spectral_distance"]["uniform_noise"]["auroc"] == 1


def test_full_spectrum_differs_where_corruptions_look_strange(result: dict[str, Any]) -> None:
    """Corrupted images are farther from the references: counting them as known has to cost the spectral distance."""
    plain, full = (result[t]["spectral_distance"]["cifar100"]["auroc"] for t in ("scores", "fsood"))
    assert full < plain


def test_two_runs_agree_and_the_second_runs_no_card(
    deck: Deck, settings: Settings, result: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Predictor, "card_logits", lambda *_: pytest.fail("a card ran"))
    again = evaluate(deck, settings)
    assert {**again, "provenance": 0} == {**result, "provenance": 0}


def test_without_training_images_there_are_no_neighbours(
    deck: Deck, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "cifar10_test.npz").write_bytes((root / "cifar10_test.npz").read_bytes())
    bare = Settings(SUITES["ood"], tmp_path, "cifar10", 5, resamples=10, engine=EngineKind.FAKE)
    result = evaluate(deck, bare)
    assert "knn_features" not in result["scores"]
    assert [one["name"] for one in result["skipped"]] == ["cifar100", "textures", "digits", "nearest neighbours"]
    assert "near" not in result["scores"]["gated_msp"]
    assert "no nearest neighbours" in capsys.readouterr().err


def test_scores_agree_with_a_loop(deck: Deck, root: Path) -> None:
    context = Context(deck, Settings(SUITES["ood"], root, "cifar10", engine=EngineKind.FAKE))
    images = fake_images(6, seed=9)
    job = Job("some", lambda: images, None, lambda: "some", 6)
    (cell,) = context.measurer.run([job], threads=1, progress=context.progress(6, "some"))
    found = card_scores(cell, deck)
    answer = context.predictor.predict(images)
    for i in range(6):
        cards = cell.logits[:, i].astype(np.float64)
        chances = [[math.exp(x) / sum(math.exp(y) for y in card) for x in card] for card in cards]
        pooled = [sum(answer.weights[i, k] * chances[k][c] for k in range(4)) for c in range(CLASSES)]
        energies = [-math.log(sum(math.exp(x) for x in card)) for card in cards]
        assert found["gated_msp"][i] == pytest.approx(1 - max(pooled), abs=1e-5)
        assert found["gated_entropy"][i] == pytest.approx(-sum(p * math.log(p) for p in pooled), abs=1e-4)
        assert found["uniform_energy"][i] == pytest.approx(sum(energies) / 4, rel=1e-5)
        assert found["gated_energy"][i] == pytest.approx(float(np.dot(answer.weights[i], energies)), rel=1e-5)


def test_a_table_has_the_means_of_groups() -> None:
    known, low, high = {"s": np.arange(10.0)}, {"s": np.arange(10.0) - 99}, {"s": np.arange(10.0) + 99}
    sets = {"a": low, "b": high, "c": high, "d": low}
    row = detection_table(known, sets, {"a": "far", "b": "far", "c": "near", "d": "own"})["s"]
    assert (row["a"]["auroc"], row["b"]["auroc"], row["d"]["auroc"]) == (0, 1, 0)
    assert (row["far"], row["far_fpr95"], row["near"], row["near_fpr95"]) == (0.5, 0.5, 1, 0)
    assert set(row) == {*sets, "far", "far_fpr95", "near", "near_fpr95"}


@pytest.mark.parametrize("kind", [EngineKind.ONNX, EngineKind.TORCH])
def test_a_cut_card_gives_what_the_last_layer_reads(kind: EngineKind) -> None:
    pytest.importorskip("onnxruntime" if kind is EngineKind.ONNX else "torch")
    card, images = fake_card("one"), fake_images(3)
    cut = feature_card(card)
    assert cut is not None
    features = load(cut, kind, image_size=32)(images)
    logits = features @ card.tensors["head.weight"].T + card.tensors["head.bias"]
    assert logits == pytest.approx(load(card, kind, image_size=32)(images), abs=1e-4)


def test_a_card_without_a_linear_end_has_no_features(deck: Deck, settings: Settings, monkeypatch: Any) -> None:
    card = fake_card("one")
    nodes = card.graph.nodes[:-1]
    names = Graph("images", "x6", nodes).parameter_names
    masks = {name: mask for name, mask in card.masks.items() if name in names}
    tensors = {name: card.tensors[name] for name in names}
    kept = sum(int(mask.sum()) for mask in masks.values()) / sum(mask.size for mask in masks.values())
    pooled = Card("one", dataclasses.replace(card.record, density=kept), Graph("images", "x6", nodes), tensors, masks)
    assert feature_card(pooled) is None
    monkeypatch.setattr("eval.suites._ood_neighbours.feature_card", lambda _: None)
    assert isinstance(vectors_of(Context(deck, settings)), MeanLogits)


def test_the_bank_holds_no_validation_image(deck: Deck) -> None:
    from cards_deck.data import image_digests, split_train_validation

    train = _dataset("cifar10", "train", 90, 2, deck.classes)
    kept = bank_images(train, 0, 40)
    _, held_out = split_train_validation(train)
    assert not set(image_digests(kept.images)) & set(image_digests(held_out.images))
    assert np.ptp(np.bincount(kept.labels)) <= 1
    assert (kept.images == bank_images(train, 0, 40).images).all()


@pytest.mark.parametrize("name", NOISES)
def test_noise_is_seeded_and_a_smaller_set_lies_in_a_larger(name: str) -> None:
    make, _ = NOISES[name]
    images = make(9, 8, 5)
    assert (images.shape, images.dtype) == ((9, 8, 8, 3), np.uint8)
    assert (make(4, 8, 5) == images[:4]).all()
    assert (make(9, 8, 6) != images).any()
    assert len({image.tobytes() for image in images}) == 9


def test_every_corruption_is_in_the_full_spectrum_once() -> None:
    cells = full_spectrum_cells(0)
    assert len({name for name, _ in cells}) == 15
    assert sorted(severity for _, severity in cells) == sorted([1, 2, 3, 4, 5] * 3)
    assert full_spectrum_cells(1) != cells


def test_the_users_own_images(tmp_path: Path, root: Path) -> None:
    (tmp_path / "photos" / "deep").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for place in range(5):
        pixels = rng.integers(0, 256, (40, 50, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / "deep" / f"{place}.png")
    np.savez(tmp_path / "some.npz", images=rng.integers(0, 256, (6, 32, 32, 3), np.uint8))
    np.save(tmp_path / "some.npy", rng.integers(0, 256, (6, 20, 20, 3), np.uint8))
    own = tuple((name, tmp_path / name) for name in ("photos", "some.npz", "some.npy"))
    sets, _ = outside_sets(root, "cifar10", 32, subset=4, seed=0, own=own)
    found = {one.name: one for one in sets if one.group == "own"}
    assert {name: one.images.shape for name, one in found.items()} == dict.fromkeys(found, (4, 32, 32, 3))
    assert set(found) == {"photos", "some.npz", "some.npy"}
    everything = read_images(tmp_path / "photos", 32)
    assert {i.tobytes() for i in found["photos"].images} < {i.tobytes() for i in everything}


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("absent", "is missing: name a folder of images"),
        ("empty", "none"),
        ("text.npy", "cut off"),
        ("flat.npy", "uint8"),
    ],
)
def test_own_sets_that_cannot_be_read_are_named(tmp_path: Path, root: Path, file: str, message: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.npy").write_text("no array")
    np.save(tmp_path / "flat.npy", np.zeros((4, 3)))
    with pytest.raises(DataError, match=message) as caught:
        outside_sets(root, "cifar10", 32, subset=4, seed=0, own=(("mine", tmp_path / file),))
    assert str(caught.value).count(str(tmp_path / file)) == 1


def test_own_sets_are_named_on_the_command_line(deck: Deck, root: Path, tmp_path: Path, capsys: Any) -> None:
    np.save(tmp_path / "mine.npy", fake_images(7, 20))
    options = measure_parser().parse_args(["deck", "--data", str(root), "--ood", f"mine={tmp_path / 'mine.npy'}"])
    given = dataclasses.replace(settings_for(options, SUITES["ood"], tmp_path), engine=EngineKind.FAKE, subset=5)
    result = evaluate(deck, dataclasses.replace(given, resamples=10, validation=5, cache=None))
    assert {"name": "mine", "group": "own", "n": 5, "what": "named by the user"} in result["sets"]
    assert "mine" in result["scores"]["gated_msp"]
    assert not [name for name in result["scores"]["gated_msp"] if name.startswith("own")]
    with pytest.raises(SystemExit):
        measure_parser().parse_args(["deck", "--data", str(root), "--ood", "nothing"])
    assert "NAME=PATH" in capsys.readouterr().err


def test_a_name_is_used_once(root: Path) -> None:
    with pytest.raises(InputError, match="textures"):
        outside_sets(root, "cifar10", 32, subset=4, seed=0, own=(("textures", root),))


def test_other_data_has_no_near_set(root: Path) -> None:
    sets, _ = outside_sets(root, "birds", 32, subset=4, seed=0)
    assert {one.name: one.group for one in sets} == {
        "cifar100": "far",
        "cifar10": "far",
        "textures": "far",
        **dict.fromkeys(NOISES, "noise"),
    }
    assert len(outside_sets(root, "cifar10", 8, subset=None, seed=0)[0][-1].images) == GENERATED
