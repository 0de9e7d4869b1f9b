"""The suite of perturbation sequences: what counts as a flip, what is measured, which frames it reads."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cards_deck.corruptions.sequences import NOISE, frames_of, perturb
from cards_deck.data import Dataset, save_npz
from cards_deck.deck import Deck, GateConfig
from cards_deck.errors import DataError, InputError
from cards_deck.inference.engines import EngineKind
from cards_deck.inference.fake_deck import fake_deck, fake_images
from cards_deck.inference.predictor import Predictor
from eval.context import Context, Settings
from eval.evaluate import evaluate
from eval.suites import SUITES, cifar10_p
from eval.suites._sequence_results import Block, flip_probability, flips, joined, sequence_results

SUITE = dataclasses.replace(SUITES["cifar10-p"], perturbations=("gaussian_noise", "translate"))
TEST = 24


def test_flips_by_hand() -> None:
    predictions = np.array([[3, 3, 5, 5, 3], [1, 1, 1, 1, 1], [0, 1, 0, 1, 0]])
    np.testing.assert_array_equal(flips(predictions, noise=False), [2 / 4, 0, 4 / 4])
    np.testing.assert_array_equal(flips(predictions, noise=True), [2 / 4, 0, 2 / 4])
    assert flip_probability(predictions, noise=False) == pytest.approx(0.5)
    assert flip_probability(predictions, noise=True) == pytest.approx(1 / 3)


@pytest.mark.parametrize("noise", [False, True])
def test_flips_agree_with_the_published_loop(noise: bool) -> None:
    predictions = np.random.default_rng(0).integers(0, 3, (40, 31))
    total = 0.0
    for sequence in predictions:
        before, found = sequence[0], []
        for answer in sequence[1:]:
            found.append(int(before != answer))
            if not noise:
                before = answer
        total += float(np.mean(found)) / len(predictions)
    assert flip_probability(predictions, noise) == pytest.approx(total)


@pytest.mark.parametrize("shape", [(5,), (5, 1), (2, 3, 4)])
def test_flips_refuse_what_is_no_sequence(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"must be \[n, frames\] with at least 2 frames"):
        flips(np.zeros(shape, np.int64), noise=False)


def test_results_by_hand() -> None:
    """Two images, two perturbations: means over images, then over perturbations; the interval spans the two images."""

    def block(gated: list[float], uniform: list[float]) -> Block:
        flip = {"choice": [0.5, 0.5], "routing": [0.25, 0.25], "gated": gated, "uniform": uniform}
        cost = {"gated": [1.0, 2.0], "uniform": [4.0, 4.0]}
        return Block(*({name: np.array(v) for name, v in some.items()} for some in (flip, {}, cost)))

    measured = {"tilt": block([0.0, 0.5], [0.25, 0.75]), "shot_noise": block([0.25, 0.25], [0.25, 0.25])}
    found = sequence_results(measured, seed=0, resamples=200)
    tilt, noise = found["perturbations"]["tilt"], found["perturbations"]["shot_noise"]
    assert tilt["flip_probability"]["gated"] == {"value": 0.25, "low": 0.0, "high": 0.5}
    assert (tilt["frames"], tilt["compared_with"]) == (31, "previous")
    assert (noise["compared_with"], noise["accuracy"]) == ("first", None)
    assert found["mean"]["flip_probability"]["gated"]["value"] == pytest.approx(0.25)
    assert found["mean"]["flip_probability"]["uniform"]["value"] == pytest.approx(0.375)
    assert found["mean"]["choice_flip"] == {"value": 0.5, "low": 0.5, "high": 0.5}
    assert found["mean"]["routing_flip"] == {"value": 0.25, "low": 0.25, "high": 0.25}
    assert found["differences"] == {
        "gated_minus_uniform": {"flip_probability": {"value": -0.125, "low": -0.125, "high": -0.125}}
    }
    assert found["cards_per_image"] == {"gated": 1.5, "uniform": 4.0}


def test_blocks_are_joined_in_order() -> None:
    parts = [Block({"gated": np.array([float(i)])}, {}, {"gated": np.array([1.0])}) for i in range(3)]
    np.testing.assert_array_equal(joined(parts).flip["gated"], [0, 1, 2])


@pytest.fixture(scope="module")
def deck() -> Deck:
    plain = fake_deck(classes=4, gate=GateConfig(parameters={"margin": 0.3}))
    return dataclasses.replace(plain, measured={c.id: {"validation": {"accuracy": 0.5}} for c in plain.cards})


@pytest.fixture(scope="module")
def split(deck: Deck) -> Dataset:
    images = fake_images(TEST, deck.image_size, 1)
    labels = Predictor(deck, engine=EngineKind.FAKE).predict(images).labels
    return Dataset(images, labels, deck.classes, "cifar10", "test")


@pytest.fixture
def settings(split: Dataset, tmp_path: Path) -> Settings:
    save_npz(split, tmp_path)
    return Settings(
        SUITE, tmp_path, "cifar10", subset=8, resamples=100, cache=tmp_path / "cache", engine=EngineKind.FAKE
    )


def _measured(result: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in result.items() if name not in ("provenance", "timing")}


def test_flips_are_those_of_the_served_predictor(
    deck: Deck, split: Dataset, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cifar10_p, "BLOCK", 3)
    result = evaluate(deck, settings)
    chosen = SUITE.sequences_of(Context(deck, settings), split)
    predictor = Predictor(deck, engine=EngineKind.FAKE)
    for name in SUITE.perturbations:
        frames = perturb(chosen.clean.images, name, seed=0)
        answer = predictor.predict(frames.reshape(-1, 32, 32, 3))
        row = result["perturbations"][name]
        noise = name in NOISE
        expected = flip_probability(answer.labels.reshape(8, -1), noise)
        assert row["flip_probability"]["gated"]["value"] == pytest.approx(expected, abs=1e-6)
        expected = flip_probability(answer.choice.reshape(8, -1), noise)
        assert row["choice_flip"]["value"] == pytest.approx(expected, abs=1e-6)
        right = np.mean(answer.labels == np.repeat(chosen.clean.labels, frames_of(name)))
        assert row["accuracy"]["gated"]["value"] == pytest.approx(right, abs=1e-6)
        assert row["cards_per_image"]["gated"] == pytest.approx((answer.weights > 0).sum(axis=1).mean(), abs=1e-6)
        assert row["frames"] == frames_of(name)


def test_the_result_has_the_documented_fields(deck: Deck, settings: Settings) -> None:
    result = evaluate(deck, settings)
    assert (result["suite"], result["kind"], result["n"], result["source"]) == (
        "cifar10-p",
        "sequences",
        8,
        "regenerated",
    )
    assert result["title"] == "CIFAR-10-P (regenerated, seed 0)"
    routes = {"gated", "uniform", "best_card"}
    for row in (*result["perturbations"].values(), result["mean"]):
        assert set(row["flip_probability"]) == set(row["accuracy"]) == routes
        for found in (*row["flip_probability"].values(), row["choice_flip"]):
            assert 0 <= found["low"] <= found["value"] <= found["high"] <= 1
    assert set(result["differences"]) == {"gated_minus_uniform", "gated_minus_best_card"}
    assert result["cards_per_image"]["uniform"] == len(deck.cards)
    assert result["cards_per_image"]["best_card"] == 1


def test_a_second_run_answers_from_the_cache_and_says_the_same(
    deck: Deck, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = evaluate(deck, settings)

    def refuse(*_: Any) -> Any:
        raise AssertionError("a card ran although its answers are cached")

    monkeypatch.setattr(Predictor, "card_logits", refuse)
    assert settings.cache is not None
    assert not list(settings.cache.rglob("spectra-*.npz")), "of many frames they would fill the cache"
    assert _measured(evaluate(deck, settings)) == _measured(first)
    assert _measured(evaluate(deck, dataclasses.replace(settings, threads=3))) == _measured(first)


def test_another_seed_is_another_set_of_frames(deck: Deck, settings: Settings) -> None:
    keys = {cifar10_p.RegeneratedSequences(_dataset(deck), seed).key("tilt", 0, 2) for seed in (0, 1)}
    assert len(keys) == 2


def _dataset(deck: Deck) -> Dataset:
    return Dataset(fake_images(2, 32, 5), np.zeros(2, np.int64), deck.classes, "cifar10", "test")


def _publish(folder: Path, images: np.ndarray[Any, Any], seed: int = 9) -> Path:
    """The public layout, with other noise than seed 0 draws."""
    folder.mkdir()
    for name in SUITE.perturbations:
        np.save(folder / f"{name}.npy", perturb(images, name, seed=seed))
    return folder


def test_official_files_are_read_where_they_lie(deck: Deck, settings: Settings, split: Dataset) -> None:
    made = evaluate(deck, dataclasses.replace(settings, seed=9, subset=TEST))
    _publish(settings.root / "CIFAR-10-P", split.images)
    read = evaluate(deck, dataclasses.replace(settings, seed=9, subset=TEST))
    assert (read["source"], read["title"], read["n"]) == ("official", "CIFAR-10-P", TEST)
    assert read["perturbations"] == made["perturbations"]
    fewer = evaluate(deck, settings)
    assert (fewer["n"], fewer["source"]) == (8, "official")


def test_official_files_of_other_images_have_no_accuracy(deck: Deck, settings: Settings) -> None:
    _publish(settings.root / "CIFAR-10-P", fake_images(TEST, 32, seed=77))
    assert evaluate(deck, settings)["mean"]["accuracy"] is None
    for file in (settings.root / "CIFAR-10-P").iterdir():
        np.save(file, np.load(file)[:10])
    result = evaluate(deck, settings)
    assert (result["n"], result["mean"]["accuracy"]) == (8, None)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: path.unlink(), "translate.npy is missing"),
        (lambda path: path.write_bytes(b"no array"), "translate.npy cannot be read"),
        (lambda path: np.save(path, np.load(path)[:, :5]), r"must be uint8 \[n, 16, 32, 32, 3\], got uint8 \[24, 5"),
        (lambda path: np.save(path, np.load(path).astype(float)), "got float64"),
        (lambda path: np.save(path, np.load(path)[:3]), "equally many sequences"),
    ],
)
def test_broken_official_files_are_named(
    spoil: Any, message: str, deck: Deck, settings: Settings, split: Dataset
) -> None:
    spoil(_publish(settings.root / "CIFAR-10-P", split.images) / "translate.npy")
    with pytest.raises(DataError, match=message):
        evaluate(deck, settings)


def test_files_of_another_data_set_are_not_taken(deck: Deck, settings: Settings, split: Dataset) -> None:
    _publish(settings.root / "CIFAR-10-P", split.images)
    save_npz(dataclasses.replace(split, name="mine"), settings.root)
    result = evaluate(deck, dataclasses.replace(settings, name="mine", subset=3))
    assert (result["source"], result["title"]) == (
        "regenerated",
        "CIFAR-10-P perturbations on mine (regenerated, seed 0)",
    )
