"""What is kept between runs: nothing is measured twice, nothing is lost, and no number depends on it."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from eval_tiny import (
    PART,
    SUITE,
    TEST,
    VALIDATION,
    VALIDATION_CELLS,
    measured_part,
    tiny_settings,
)

from cards_deck.deck import Deck, GateConfig
from cards_deck.errors import DeckError
from cards_deck.inference.predictor import Predictor
from eval.cache import Cache
from eval.context import Context, Settings
from eval.evaluate import evaluate
from eval.measure import CellAnswers, Job, clean_job
from eval.progress import Progress


@pytest.fixture(scope="module", autouse=True)
def _few_gates() -> Iterator[None]:
    """Gates are fitted anew by every run: two kinds will do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("eval.alternatives.KINDS", ("cascade", "spectral"))
        yield


@pytest.fixture
def settings(eval_root: Path, tmp_path: Path) -> Settings:
    return tiny_settings(eval_root, tmp_path / "cache")


@pytest.fixture(scope="module")
def whole(eval_deck: Deck, eval_root: Path) -> dict[str, Any]:
    """A run that keeps nothing."""
    return evaluate(eval_deck, tiny_settings(eval_root, None))


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of images of every forward pass of a card, in order."""
    made: list[int] = []
    run = Predictor._run

    def counted(self: Predictor, card: int, images: Any) -> Any:
        made.append(len(images))
        return run(self, card, images)

    monkeypatch.setattr(Predictor, "_run", counted)
    return made


def _same(first: dict[str, Any], second: dict[str, Any]) -> bool:
    return json.dumps(measured_part(first)) == json.dumps(measured_part(second))


def test_a_second_run_makes_no_pass_and_no_image_and_the_same_bytes(
    eval_deck: Deck, settings: Settings, whole: dict[str, Any], passes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = evaluate(eval_deck, settings)
    assert sum(passes) == len(eval_deck.cards) * (TEST + len(SUITE.cells) * PART + VALIDATION_CELLS * VALIDATION)
    passes.clear()
    monkeypatch.setattr("eval.cells.corruptions.corrupt", None)
    monkeypatch.setattr("eval.measure.log_amplitude", None)
    second = evaluate(eval_deck, dataclasses.replace(settings, threads=3))
    assert passes == []
    assert _same(first, second)
    assert _same(first, whole)


def test_another_gate_needs_no_pass_and_no_image(
    eval_deck: Deck, settings: Settings, passes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluate(eval_deck, settings)
    passes.clear()
    monkeypatch.setattr("eval.cells.corruptions.corrupt", None)
    results = [
        evaluate(dataclasses.replace(eval_deck, gate=gate), settings)
        for gate in (
            GateConfig("uniform"),
            GateConfig(max_cards=1),
            GateConfig(max_cards=4, parameters={"margin": 0.9}),
        )
    ]
    assert passes == []
    assert len({json.dumps(result["cells"]["routes"]["gated"]) for result in results}) == 3
    assert [result["routes"]["gated"]["cards_per_image"] for result in results[:2]] == [4, 1]
    assert all(result["cells"]["cards"] == results[0]["cells"]["cards"] for result in results)


def test_other_references_are_measured_from_the_kept_spectra(
    eval_deck: Deck, settings: Settings, passes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = evaluate(eval_deck, settings)
    passes.clear()
    monkeypatch.setattr("eval.cells.corruptions.corrupt", None)
    swapped = np.ascontiguousarray(eval_deck.references.log_amplitude[::-1])
    moved = dataclasses.replace(eval_deck.references, log_amplitude=swapped)
    second = evaluate(dataclasses.replace(eval_deck, references=moved), settings)
    assert passes == []
    shares = [result["gate_choices"]["choices"]["augmix"]["clean"]["share"] for result in (first, second)]
    assert shares[0] == pytest.approx(1 - shares[1])


def test_a_killed_run_goes_on_where_it_stopped(
    eval_deck: Deck, settings: Settings, whole: dict[str, Any], monkeypatch: pytest.MonkeyPatch, passes: list[int]
) -> None:
    evaluate(eval_deck, dataclasses.replace(settings, cache=None))
    total, run = len(passes), Predictor._run
    passes.clear()

    def killed(self: Predictor, card: int, images: Any) -> Any:
        if len(passes) == 90:
            raise KeyboardInterrupt
        return run(self, card, images)

    monkeypatch.setattr(Predictor, "_run", killed)
    with pytest.raises(KeyboardInterrupt):
        evaluate(eval_deck, settings)
    passes.clear()
    monkeypatch.setattr(Predictor, "_run", run)
    assert _same(evaluate(eval_deck, settings), whole)
    assert len(passes) == total - 90


KILLED = """
import os, signal, sys
from pathlib import Path
from cards_deck.inference.predictor import Predictor
from eval.evaluate import evaluate
from eval_tiny import tiny_deck, tiny_settings

run, made = Predictor._run, []

def killed(self, card, images):
    if len(made) == 90:
        os.kill(os.getpid(), signal.SIGKILL)
    made.append(card)
    return run(self, card, images)

Predictor._run = killed
evaluate(tiny_deck(), tiny_settings(Path(sys.argv[1]), Path(sys.argv[2])))
"""


def test_what_a_run_had_finished_survives_sigkill(
    eval_deck: Deck, settings: Settings, whole: dict[str, Any], passes: list[int], eval_root: Path
) -> None:
    tests = Path(__file__).resolve().parent
    environment = os.environ | {"PYTHONPATH": f"{tests}:{tests.parent}"}
    command = [sys.executable, "-c", KILLED, str(eval_root), str(settings.cache)]
    done = subprocess.run(command, env=environment, capture_output=True, timeout=120, check=False)
    assert done.returncode == -signal.SIGKILL
    assert _same(evaluate(eval_deck, settings), whole)
    assert len(passes) == len(eval_deck.cards) * (1 + len(SUITE.cells) + VALIDATION_CELLS) - 90


def test_what_a_killed_writer_left_is_cleared_after_a_day(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    cache.check()
    old, new = tmp_path / ".parts" / "a.part", tmp_path / ".parts" / "b.part"
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))
    cache.check()
    assert not old.exists()
    assert new.exists()


def test_two_runs_on_one_cache_at_once(eval_deck: Deck, settings: Settings, whole: dict[str, Any]) -> None:
    found: list[dict[str, Any]] = []
    threads = [threading.Thread(target=lambda: found.append(evaluate(eval_deck, settings))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert len(found) == 2
    assert all(_same(result, whole) for result in found)
    assert settings.cache is not None
    assert not list(settings.cache.rglob("*.part"))


def test_an_unwritable_cache_is_said_before_the_long_part_and_costs_nothing_else(
    eval_deck: Deck, settings: Settings, whole: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("not a folder")
    result = evaluate(eval_deck, dataclasses.replace(settings, cache=tmp_path / "file"))
    assert _same(result, whole)
    said = capsys.readouterr().err
    assert said.count("cannot be written") == 1
    assert said.index("cannot be written") < said.index("validation")


def test_answers_come_in_order_and_few_are_made_ahead(eval_deck: Deck, settings: Settings) -> None:
    measurer, data = Context(eval_deck, settings).measurer, Context(eval_deck, settings).dataset()
    made: list[str] = []

    def job(place: int) -> Job:
        def images() -> Any:
            made.append(f"cell {place}")
            return data.images[:4]

        return Job(f"cell {place}", images, None, lambda: f"x/{place}", count=4)

    answers = measurer.run([job(place) for place in range(20)], threads=2, progress=Progress(80, "t"))
    first = next(answers)
    assert isinstance(first, CellAnswers)
    assert first.name == "cell 0"
    assert len(made) <= 5
    assert [cell.name for cell in answers] == [f"cell {place}" for place in range(1, 20)]


def test_an_answer_that_is_not_finite_is_refused_with_the_card_s_name(
    eval_deck: Deck, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Predictor, images: Any, card: int) -> Any:
        return np.full((len(images), len(eval_deck.classes)), np.nan if card == 2 else 0, np.float32)

    monkeypatch.setattr(Predictor, "card_logits", broken)
    context = Context(eval_deck, settings)
    job = clean_job(context.dataset())
    with pytest.raises(DeckError, match=eval_deck.cards[2].name):
        list(context.measurer.run([job], threads=1, progress=context.progress(TEST, "t")))
    assert Cache(settings.cache).load(f"{job.key()}/{context.measurer.card_keys[2]}", (TEST, 4)) is None
