"""AUTO: the fastest engine that agrees with the reference, by a clock and runners made for the test; and real ones."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping

import numpy as np
import pytest
from numpy.typing import NDArray

from cards_deck.card import Card
from cards_deck.inference import engines
from cards_deck.inference.engines import MEASURED, EngineKind, choice, load, load_chosen
from cards_deck.inference.engines.choice import choose, golden_images
from cards_deck.inference.fake_deck import fake_card, fake_deck, fake_images
from cards_deck.inference.predictor import Predictor
from cards_deck.spectrum import Floats, Images

SPARSE, ONNX, OPENVINO = MEASURED
CARD = fake_card("card")
INSTALLED = [kind for kind in (*MEASURED, EngineKind.TORCH) if engines.available(kind)]


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@dataclasses.dataclass
class Timed:
    """Answers with the mean of each colour, plus `off` times their range, after `ms[batch]` milliseconds per image."""

    clock: Clock
    ms: Mapping[int, float]
    off: float
    batches: list[int]

    def __call__(self, images: Images) -> Floats:
        self.batches.append(len(images))
        self.clock.now += self.ms[len(images)] * len(images) / 1000
        means = images.mean(axis=(1, 2)).astype(np.float32)
        changed = means[0, 0] + self.off * np.ptp(means)
        return np.concatenate([[[changed]], means[:1, 1:]], axis=1) if len(means) == 1 else means


class Race:
    """Runners in place of the engines."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock, self.runners, self.loaded = Clock(), dict[EngineKind, Timed](), list[EngineKind]()
        self.broken: set[EngineKind] = set()
        monkeypatch.setattr(engines, "load_named", self.load)
        monkeypatch.setattr(choice, "_chosen", {})

    def enter(self, kind: EngineKind, ms: float | tuple[float, float], off: float = 0) -> None:
        pair = ms if isinstance(ms, tuple) else (ms, ms)
        self.runners[kind] = Timed(self.clock, dict(zip(choice.BATCHES, pair, strict=True)), off, [])

    def load(self, card: Card, kind: EngineKind, *, image_size: int, threads: int) -> Timed:
        self.loaded.append(kind)
        if kind in self.broken:
            raise RuntimeError(f"{kind} is broken")
        return self.runners[kind]

    def winner(self, card: Card = CARD, *, image_size: int = 32, threads: int = 1) -> EngineKind:
        candidates = [kind for kind in MEASURED if kind in self.runners]
        return choose(card, candidates, image_size=image_size, threads=threads, clock=self.clock).kind


@pytest.fixture
def race(monkeypatch: pytest.MonkeyPatch) -> Race:
    return Race(monkeypatch)


@pytest.mark.parametrize("fastest", MEASURED)
def test_the_fastest_wins(race: Race, fastest: EngineKind) -> None:
    for kind in MEASURED:
        race.enter(kind, 1 if kind is fastest else 1.5)
    assert race.winner() is fastest


@pytest.mark.parametrize(("times", "expected"), [((1.05, 1, 1), SPARSE), ((1.5, 1.05, 1), ONNX), ((1.2, 1, 1), ONNX)])
def test_within_noise_the_preferred_engine_stays(
    race: Race, times: tuple[float, float, float], expected: EngineKind
) -> None:
    for kind, ms in zip(MEASURED, times, strict=True):
        race.enter(kind, ms)
    assert race.winner() is expected


def test_an_engine_that_cannot_load_the_card_is_left_out(race: Race, caplog: pytest.LogCaptureFixture) -> None:
    for kind in MEASURED:
        race.enter(kind, 1 if kind is SPARSE else 2)
    race.broken = {SPARSE}
    assert race.winner() is ONNX
    assert "sparse engine cannot load it" in caplog.text
    race.broken = set(MEASURED)
    with pytest.raises(RuntimeError, match="is broken"):
        race.winner(threads=2)


def test_single_images_and_batches_count_alike(race: Race) -> None:
    race.enter(SPARSE, (1.0, 1.0))
    race.enter(ONNX, (1.5, 0.5))  # 0.87 ms, the geometric mean
    assert race.winner() is ONNX


def test_an_engine_far_behind_on_one_image_is_not_tried_on_more(race: Race) -> None:
    race.enter(SPARSE, 1)
    race.enter(ONNX, 1.5)
    race.enter(OPENVINO, (3, 0.01))
    assert race.winner() is SPARSE
    assert set(race.runners[OPENVINO].batches) == {1}
    assert set(race.runners[ONNX].batches) == set(choice.BATCHES)


@pytest.mark.parametrize("off", [0.01, -0.01, np.nan, np.inf])
def test_an_engine_that_lies_is_refused_however_fast(race: Race, off: float, caplog: pytest.LogCaptureFixture) -> None:
    race.enter(SPARSE, 0.1, off)
    race.enter(ONNX, 2)
    race.enter(OPENVINO, 1)
    assert race.winner() is OPENVINO
    (warning,) = (record.getMessage() for record in caplog.records if record.levelno == logging.WARNING)
    assert "card card" in warning
    assert "sparse" in warning


def test_a_card_that_overflows_loads_as_in_the_reference_alone() -> None:
    overflowing = {name: value * np.float32(1e30) if value.ndim == 4 else value for name, value in CARD.tensors.items()}
    kind, runner = load_chosen(dataclasses.replace(CARD, tensors=overflowing), image_size=32)
    assert kind is ONNX
    assert not np.isfinite(runner(fake_images(1))).all()


def test_rounding_is_no_lie(race: Race) -> None:
    race.enter(SPARSE, 1, off=1e-4)
    race.enter(ONNX, 2)
    assert race.winner() is SPARSE


def test_cards_of_8_bits_may_round_activations_either_way(race: Race) -> None:
    race.enter(ONNX, 2)
    race.enter(OPENVINO, 1, off=0.05)
    assert race.winner() is ONNX
    card = fake_card("other", seed=1)
    object.__setattr__(card, "ranges", {"x1": (0.0, 1.0)})
    assert race.winner(card) is OPENVINO


def test_a_choice_holds_for_the_process(race: Race) -> None:
    race.enter(SPARSE, 2)
    race.enter(ONNX, 1)
    assert race.winner() is ONNX
    race.enter(SPARSE, 0.1)
    assert race.winner() is ONNX
    assert race.loaded == [SPARSE, ONNX, ONNX]


@pytest.mark.parametrize("other", [{"card": fake_card("b", seed=2)}, {"image_size": 16}, {"threads": 2}], ids=str)
def test_another_card_size_or_number_of_threads_is_measured_anew(race: Race, other: dict[str, object]) -> None:
    race.enter(SPARSE, 2)
    race.enter(ONNX, 1)
    assert race.winner() is ONNX
    race.enter(SPARSE, 0.1)
    assert race.winner(**other) is SPARSE  # type: ignore[arg-type]


def test_the_choice_and_what_was_measured_are_logged(race: Race, caplog: pytest.LogCaptureFixture) -> None:
    race.enter(SPARSE, (1, 0.5))
    race.enter(ONNX, (1.5, 2))
    with caplog.at_level(logging.INFO, "cards_deck.engines"):
        race.winner()
    (text,) = caplog.messages
    for part in ("card card runs on the sparse engine", "sparse 1.00 / 0.50", "onnx 1.50 / 2.00", "batch 1 / 8"):
        assert part in text


def test_golden_images_are_the_same_everywhere() -> None:
    images = golden_images(3, 24)
    assert images.shape == (3, 24, 24, 3)
    assert images.dtype == np.uint8
    np.testing.assert_array_equal(images, golden_images(3, 24))
    assert images.std(axis=(1, 2, 3)).min() > 20


@pytest.mark.skipif(not {SPARSE, ONNX} <= {*INSTALLED}, reason="needs both engines")
def test_a_broken_kernel_is_noticed(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """With the real engines: one wrong bias in the sparse one."""
    from cards_deck.inference.engines import sparse

    def off(card: Card, *, image_size: int, threads: int) -> sparse.SparseRunner:
        tensors = {**card.tensors, "head.bias": card.tensors["head.bias"] + np.float32(0.1)}
        return sparse.SparseRunner(dataclasses.replace(card, tensors=tensors), image_size, threads)

    monkeypatch.setattr(choice, "_chosen", {})
    monkeypatch.setattr(sparse, "load", off)
    assert load_chosen(CARD, image_size=32)[0] is not SPARSE
    assert any("the sparse engine is" in message and "not used" in message for message in caplog.messages)


@pytest.mark.skipif(ONNX not in INSTALLED, reason="needs ONNX Runtime")
def test_a_card_that_the_sparse_engine_cannot_run_is_left_to_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    tried, real = [], engines.load_named

    def noting(card: Card, kind: EngineKind, *, image_size: int, threads: int) -> engines.Runner:
        tried.append(kind)
        return real(card, kind, image_size=image_size, threads=threads)

    monkeypatch.setattr(choice, "_chosen", {})
    monkeypatch.setattr(engines, "load_named", noting)
    kind, runner = load_chosen(in_8_bits(CARD), image_size=32)
    assert kind in (ONNX, OPENVINO)
    assert SPARSE not in tried
    assert runner(fake_images(2)).shape == (2, 10)


def in_8_bits(card: Card) -> Card:
    """The card's weights on a grid of 1/64, its stem's output in 8 bits."""
    scales = {name: np.full(1, 1 / 64, np.float32) for name in card.graph.weight_names}
    rounded: dict[str, NDArray[np.float32]] = {
        name: np.rint(card.tensors[name] * 64).clip(-127, 127) / np.float32(64) for name in scales
    }
    record = dataclasses.replace(card.record, bits=8)
    ranges = {"x0": (-2.0, 2.0), "x1": (-4.0, 4.0)}
    return dataclasses.replace(card, record=record, tensors={**card.tensors, **rounded}, scales=scales, ranges=ranges)


@pytest.mark.parametrize("kind", INSTALLED)
def test_the_predictor_says_which_engines_run_its_cards(kind: EngineKind) -> None:
    deck, images = fake_deck(), fake_images(4)
    named, auto = Predictor(deck, engine=kind), Predictor(deck)
    assert named.engines == (kind,) * len(deck.cards)
    assert len(auto.engines) == len(deck.cards)
    assert set(auto.engines) <= {*INSTALLED}
    np.testing.assert_allclose(
        named.predict(images).probabilities, auto.predict(images).probabilities, atol=1e-5
    )  # fmt: skip


@pytest.mark.parametrize("kind", INSTALLED)
def test_an_engine_can_be_named_as_text(kind: EngineKind) -> None:
    images = fake_images(2)
    expected = load(CARD, kind, image_size=32)(images)
    np.testing.assert_array_equal(load(CARD, str(kind.value), image_size=32)(images), expected)  # type: ignore[arg-type]
