"""What a ticket method is handed: training by name, validation, a labelled batch, a class subset; and what is shown."""

from __future__ import annotations

import io
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_training import (
    SHORT,
    equal_states,
    make_network,
    make_task,
    one_thread,  # noqa: F401  (the fixture acts by being here)
)

from cards_deck.errors import InputError
from cards_deck.training.loop import evaluate
from cards_deck.training.progress import Progress
from cards_deck.training.schedule import Schedule


def test_the_moving_average_is_returned_where_there_is_one() -> None:
    network = make_network()
    assert make_task().train(network) is network
    averaged = make_task(schedule=replace(SHORT, ema=0.5)).train(network := make_network())
    assert averaged is not network
    assert not equal_states(averaged, network)


def test_a_schedule_may_be_brought(tmp_path: Path) -> None:
    task = replace(make_task(folder=tmp_path), progress=Progress(quiet=True, log=tmp_path / "log.jsonl"))
    task.train(make_network(), stage="short", schedule=replace(SHORT, epochs=1))
    task.train(make_network(), stage="own")
    stages = [json.loads(line)["stage"] for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert stages == ["short", "own", "own"]


def test_a_finished_stage_is_not_trained_again(tmp_path: Path) -> None:
    first = make_network()
    make_task(folder=tmp_path).train(first)
    calls: list[int] = []
    again = make_network(seed=8)

    def hooks(optimizer: torch.optim.SGD) -> tuple[()]:
        calls.append(len(optimizer.state))
        return ()

    make_task(folder=tmp_path).train(again, hooks=hooks)
    assert calls == [0], "hooks get the optimizer before anything is restored"
    assert equal_states(first, again)


def test_validation_is_on_the_held_out_images_at_full_size() -> None:
    task = make_task(schedule=replace(SHORT, sizes=((1.0, 16),)))
    network = task.train(make_network())
    assert task.validate(network) == evaluate(network, task.validation_images, task.validation_labels)


def test_batches_are_training_images_with_their_labels() -> None:
    task = make_task()
    images, labels = task.batch(10, torch.Generator().manual_seed(0))
    assert images.dtype == torch.uint8
    names = {image.numpy().tobytes(): int(label) for image, label in zip(task.images, task.labels, strict=True)}
    assert all(names[i.numpy().tobytes()] == int(label) for i, label in zip(images, labels, strict=True))
    assert len({image.numpy().tobytes() for image in images}) == 10
    same, _ = task.batch(10, torch.Generator().manual_seed(0))
    assert torch.equal(images, same)


def test_a_class_subset_is_relabelled_in_the_given_order() -> None:
    task = make_task()
    part = task.only_classes((3, 1))
    assert torch.equal(part.images, task.images[(task.labels == 3) | (task.labels == 1)])
    old = task.labels[(task.labels == 3) | (task.labels == 1)]
    assert torch.equal(part.labels, torch.where(old == 3, 0, 1))
    held = task.validation_labels
    assert torch.equal(part.validation_labels, torch.where(held[(held == 3) | (held == 1)] == 3, 0, 1))
    assert len(part.validation_images) == len(part.validation_labels) == 16
    assert (part.augmentation, part.schedule, part.seed) == (task.augmentation, task.schedule, task.seed)


def test_a_class_subset_without_validation_images_is_refused() -> None:
    task = make_task()
    held = task.validation_labels < 2
    task = replace(task, validation_images=task.validation_images[held], validation_labels=task.validation_labels[held])
    assert len(task.only_classes((1, 2)).validation_images) == 8
    with pytest.raises(InputError, match=r"validation images too, the classes \[3, 2\] have none"):
        task.only_classes((3, 2))


def logged(tmp_path: Path, schedule: Schedule, **settings: Any) -> list[dict[str, Any]]:
    log = tmp_path / "logs" / "log.jsonl"
    task = replace(make_task(schedule=schedule), progress=Progress(log=log, **settings))
    task.train(make_network(), stage="train")
    return [json.loads(line) for line in log.read_text().splitlines()]


def test_every_epoch_is_logged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = logged(tmp_path, replace(SHORT, epochs=3, sizes=((0.34, 16),)))
    assert [line["epoch"] for line in lines] == [1, 2, 3]
    assert [line["size"] for line in lines] == [16, 32, 32]
    assert all(line["stage"] == "train" and line["loss"] > 0 and 0 <= line["validation"] <= 1 for line in lines)
    shown = capsys.readouterr().err.splitlines()
    assert len(shown) == 3
    accuracy = f"{100 * lines[2]['validation']:.2f} %"
    assert shown[2].startswith(f"train: epoch 3/3, loss {lines[2]['loss']:.3f}, validation {accuracy}, 0.0 min left")


def test_quiet_means_quiet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(logged(tmp_path, SHORT, quiet=True)) == 2
    assert capsys.readouterr().err == ""


def test_validation_may_be_rarer_but_the_last_epoch_has_one(tmp_path: Path) -> None:
    lines = logged(tmp_path, replace(SHORT, epochs=5), quiet=True, validate_every=2)
    assert [line["epoch"] for line in lines if "validation" in line] == [2, 4, 5]


def test_a_person_sees_a_bar_with_accuracy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    logged(tmp_path, replace(SHORT, epochs=6))
    shown = terminal.getvalue()
    assert "train:" in shown
    assert "/24" in shown  # six epochs of four batches
    assert "loss" in shown
    assert "validation" in shown
    assert "epoch 6/6" not in shown, "the lines are for logs"
