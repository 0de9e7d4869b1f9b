"""What a search says of its trials: differences on the same images, and what each trial changed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cards_deck.inference.gates import CLEAN, Observed
from cards_deck.training.ranking import document, ranking
from cards_deck.training.recipe_file import read_deck_recipe
from cards_deck.training.searching import _difference

SPEED = {"device": "cpu", "images_per_second": 1234.0, "training_seconds": 90.0}


def observed(right: list[list[list[int]]]) -> Observed:
    """Of cards x cells x images that are right or wrong; a cell may have fewer images than the first."""
    counts = [len(cell) for cell in right[0]]
    answers = np.array([np.concatenate(cells) for cells in right])
    logits = np.stack([answers, 1 - answers], axis=2).astype(np.float32)
    return Observed(
        spectra=np.zeros((sum(counts), 4, 3), np.float16),
        logits=logits,
        labels=np.zeros(sum(counts), np.int64),
        cell=np.repeat(np.arange(len(counts)), counts),
        names=(CLEAN, *(f"fog {severity}" for severity in range(1, len(counts)))),
    )


def test_difference_by_hand() -> None:
    """Two cells of two images, four clean: image one gains (1 + 1) / 2 - 0, image two (1 + 1/2) / 2 - (0 + 1/2) / 2."""
    found = _difference(observed([[[0, 0, 1, 1], [0, 0], [0, 1]], [[1, 1, 0, 0], [1, 0], [1, 1]]]), 1)
    gains = np.array([1.0, 0.75 - 0.25])
    assert found["n"] == 2
    assert found["value"] == pytest.approx(gains.mean())
    assert found["high"] - found["value"] == pytest.approx(1.96 * gains.std(ddof=1) / 2**0.5, abs=1e-6)
    assert found["value"] - found["low"] == pytest.approx(found["high"] - found["value"], abs=2e-6)


def test_without_corruptions_the_clean_images_are_compared() -> None:
    found = _difference(observed([[[0, 1, 1]], [[1, 1, 1]]]), 1)
    assert (found["n"], found["value"]) == (3, pytest.approx(1 / 3, abs=1e-6))


def result(smoke: bool = False) -> dict[str, Any]:
    """Of two trials of the flagship's search, the second ahead."""
    cards = {card.name: card for card in read_deck_recipe("cifar10-search").cards}
    trials = []
    for name, score, gain in (
        ("prime-jsd", 0.75, {"n": 40, "value": 0.05, "low": -0.01, "high": 0.11}),
        ("augmix", 0.7, None),
    ):
        trials.append(
            {
                "name": name, "from": None, "recipe": cards[name].recipe.describe(), "against_first": gain,
                "validation": {"n": 50, "accuracy": 0.8, "corrupted": 0.7, "score": score},
                "density": 0.08, "flop_density": 0.2, "multiply_adds": 1, "speed": SPEED,
            }
        )  # fmt: skip
    return {
        "recipe": "cifar10-search", "version": "1", "smoke": smoke, "corrupted_images": 40, "first": "augmix",
        "trials": trials, "date": "2026-11-29T12:00:00+00:00", "hardware": {"cpu": "a processor", "cores": 2},
        "versions": {"cards-deck": "0.1.0", "torch": None},
    }  # fmt: skip


def test_ranking_tells_score_difference_and_minutes() -> None:
    lines = ranking(result()).splitlines()
    assert lines[1].split()[:5] == ["prime-jsd", "75.00", "%", "+5.00", "[-1.00,"]
    assert lines[2].split()[:4] == ["augmix", "70.00", "%", "–"]
    assert all(line.endswith("1,234     1.5") for line in lines[1:])


def test_document_tells_what_each_trial_changes_and_with_what() -> None:
    text = document(result())
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    prime = "prime (width 3, depth 3, filter_strength 4.0, color_strength 0.01, waves 100, jsd True)"
    assert rows[1].endswith(f"| {prime}, label_smoothing 0.0 |")
    assert rows[2].endswith("| – |")
    assert "50 validation images" in text
    assert "40 images each" in text
    assert "cpu, a processor; cards-deck 0.1.0; 2026-11-29." in text
    assert "say nothing" not in text
    assert "its numbers say nothing" in document(result(smoke=True))
