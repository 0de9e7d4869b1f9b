"""The barrier between two cards: of functions that are known, of cards in one basin, and of cards that are not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_family import BASE, TRAIN, TUNE, VALIDATION, bench, cards  # noqa: F401  (fixtures)
from tiny_training import one_thread  # noqa: F401  (the fixture acts by being here)

from cards_deck.card import Card
from cards_deck.corruptions import VALIDATION_CORRUPTIONS, corrupt
from cards_deck.errors import InputError
from cards_deck.inference.engines import EngineKind, load
from cards_deck.training.averaging.average import average
from cards_deck.training.averaging.barrier import Barrier, along, barrier, even_alphas
from cards_deck.training.averaging.blends import Bench
from cards_deck.training.averaging.instability import instability
from cards_deck.training.averaging.judge import CLEAN, Judge, score
from cards_deck.training.averaging.wise_ft import Sweep, sweep

Family = tuple[Card, Card, Card]


def test_a_hill_between_two_equal_valleys() -> None:
    """err(a) = 0.1 + 4 h a (1 - a) rises by h in the middle."""
    path = along(lambda a: 0.1 + 4 * 0.3 * a * (1 - a), even_alphas(11))
    assert path.height == pytest.approx(0.3)
    assert path.above_mean == pytest.approx(0.3)


def test_a_valley_has_no_barrier() -> None:
    path = along(lambda a: 0.2 + (a - 0.5) ** 2, even_alphas(11))
    assert path.height == pytest.approx(0)
    assert path.above_mean == pytest.approx(0)


def test_a_slope_is_no_barrier_though_it_ends_above_the_mean() -> None:
    path = along(lambda a: 0.1 + 0.2 * a, even_alphas(5))
    assert path.height == pytest.approx(0)
    assert path.above_mean == pytest.approx(0.1)


def test_a_hill_on_a_slope() -> None:
    """err(a) = 0.1 a + a (1 - a): 0.25 above the line, at 0.5; 0.3025 - 0.05 above the mean of the ends, at 0.55."""
    path = along(lambda a: 0.1 * a + a * (1 - a), even_alphas(21))
    assert path.height == pytest.approx(0.25)
    assert path.above_mean == pytest.approx(0.3025 - 0.05)
    assert path.record["height"] == 0.25
    assert len(path.record["alphas"]) == len(path.record["errors"]) == 21


@pytest.mark.parametrize(
    ("alphas", "errors"),
    [((0, 1), (0.1,)), ((0, 0.5), (0, 0)), ((0.1, 1), (0, 0)), ((0, 0.5, 0.5, 1), (0, 0, 0, 0)), ((1, 0), (0, 0))],
)
def test_malformed_paths_are_refused(alphas: tuple[float, ...], errors: tuple[float, ...]) -> None:
    with pytest.raises(InputError, match="one error for each"):
        Barrier(alphas, errors)
    with pytest.raises(InputError, match="at least 3 points"):
        even_alphas(2)


def test_the_judge_measures_clean_and_corrupted_images(cards: Family, bench: Bench) -> None:  # noqa: F811
    """Against the torch engine, image by image."""
    found = bench.judge.accuracies(cards[0])
    assert list(found) == [CLEAN, *VALIDATION_CORRUPTIONS]
    runner = load(cards[0], EngineKind.TORCH, image_size=32)
    clean = (runner(VALIDATION.images).argmax(1) == VALIDATION.labels).mean()
    assert found[CLEAN] == pytest.approx(clean)
    right = [
        int(runner(corrupt(VALIDATION.images[[row]], "spatter", 1 + row % 5)).argmax()) == VALIDATION.labels[row]
        for row in range(20)
    ]
    assert len(bench.judge.domains["spatter"][1]) == 20
    assert found["spatter"] == pytest.approx(np.mean(right), abs=0.11)


def test_half_of_the_score_is_clean() -> None:
    assert score({"clean": 0.9, "spatter": 0.5, "saturate": 0.7}) == pytest.approx(0.75)
    assert score({"clean": 0.9}) == 0.9
    small = replace(VALIDATION, images=VALIDATION.images[:, :16, :16])
    assert list(Judge.of(small).domains) == ["clean"]


def test_cards_of_one_mask_tuned_from_one_lie_in_one_basin(cards: Family, bench: Bench) -> None:  # noqa: F811
    path = barrier(cards[0], cards[1], bench.judge, bench.images, alphas=even_alphas(5))
    assert path.alphas == (0, 0.25, 0.5, 0.75, 1)
    middle = average(cards[:2], (0.5, 0.5), bench.images, name="middle")
    assert path.errors[2] == pytest.approx(1 - bench.judge.accuracies(middle)[CLEAN])
    assert 0 <= path.height < 0.2
    plain = barrier(cards[0], cards[1], bench.judge, bench.images, alphas=even_alphas(3), statistics="averaged")
    for error, card in ((plain.errors[0], cards[0]), (plain.errors[2], cards[1])):
        assert error == pytest.approx(1 - bench.judge.accuracies(card)[CLEAN])


def test_a_network_and_its_mirror_do_not(cards: Family, bench: Bench) -> None:  # noqa: F811
    """The same function with its head's weights negated is wrong everywhere; half-way nothing is left of it."""
    base = cards[0]
    head = base.graph.weight_names[-1].removesuffix(".weight")
    tensors = {name: -array if name.startswith(head) else array for name, array in base.tensors.items()}
    record = replace(base.record, seed=99)
    mirror = Card("mirror", record, base.graph, tensors, dict(base.masks))
    upright = Card("upright", replace(record, seed=98), base.graph, dict(base.tensors), dict(base.masks))
    assert barrier(base, upright, bench.judge, bench.images, alphas=even_alphas(3)).height == pytest.approx(0, abs=1e-9)
    path = barrier(base, mirror, bench.judge, bench.images, alphas=even_alphas(3))
    assert path.errors[0] < 0.5 < path.errors[2]


def test_instability_trains_two_copies_apart(cards: Family, bench: Bench, tmp_path: Path) -> None:  # noqa: F811
    recipe = replace(TUNE, schedule=replace(TUNE.schedule, epochs=1))
    path = instability(cards[0], recipe, (5, 6), TRAIN, VALIDATION, bench.images, tmp_path, points=3, device="cpu")
    assert len(path.errors) == 3
    assert sorted(folder.name for folder in tmp_path.iterdir()) == ["seed-5", "seed-6"]
    with pytest.raises(InputError, match="two different seeds"):
        instability(cards[0], BASE, (5, 5), TRAIN, VALIDATION, bench.images, tmp_path)


def test_the_sweep_finds_the_best_point_between_the_cards(cards: Family, bench: Bench) -> None:  # noqa: F811
    line = sweep(cards[0], cards[1], bench.judge, bench.images, alphas=(0.6, 0.3))
    assert line.alphas == (0, 0.3, 0.6, 1)
    found = [score(bench.judge.accuracies(average(cards[:2], (1 - a, a), bench.images, name="x"))) for a in (0.3, 0.6)]
    assert line.scores[1:3] == pytest.approx(found)
    assert line.best[0] == (0.3 if found[0] > found[1] else 0.6)
    assert line.best[1] == pytest.approx(max(found))
    assert line.score_at(0.6) == line.scores[2]
    for alphas in ((), (0.0, 0.5), (0.5, 1.0)):
        with pytest.raises(InputError, match="between 0 and 1"):
            sweep(cards[0], cards[1], bench.judge, bench.images, alphas=alphas)


def test_ends_are_never_chosen_and_equals_go_to_the_middle() -> None:
    alphas = (0.0, 0.1, 0.4, 0.9, 1.0)
    path = Barrier(alphas, (0.1,) * 5)
    assert Sweep(alphas, (0.9, 0.5, 0.5, 0.5, 0.95), path).best == (0.4, 0.5)
    assert Sweep(alphas, (0.9, 0.6, 0.5, 0.5, 0.95), path).best == (0.1, 0.6)
