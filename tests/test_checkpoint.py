"""Checkpoints: what is saved comes back, what is not the run's own is refused, no interrupted write does harm."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_training import (
    SHORT,
    equal_states,
    make_network,
    one_thread,  # noqa: F401  (the fixture acts by being here)
    patterns,
    tensors,
)

from cards_deck.errors import InputError
from cards_deck.training.augmentations.crop_flip import CropFlip
from cards_deck.training.checkpoint import MASKS, Checkpoints
from cards_deck.training.loop import Run, fit
from cards_deck.training.tickets.masked import KeepMasked
from cards_deck.training.tickets.ticket import full_masks

SCHEDULE = replace(SHORT, epochs=1, ema=0.5)


def new_run(seed: int = 0) -> Run:
    run = Run.start(make_network(seed=seed), SCHEDULE)
    run.hooks = (KeepMasked(run.network, full_masks(run.network)),)
    return run


def trained_run() -> Run:
    run = new_run()
    fit(run, *tensors(patterns(32)), CropFlip(), 0)
    run.hooks[0].masks["1.weight"][0] = False  # type: ignore[attr-defined]
    return run


def same(one: Any, other: Any) -> bool:
    """Deep equality, bit for bit for tensors."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def test_everything_that_changes_comes_back(tmp_path: Path) -> None:
    run, again = trained_run(), new_run(seed=9)
    checkpoints = Checkpoints(tmp_path / "new" / "folder", "settings")
    checkpoints.save(run, "stage")
    checkpoints.resume(again, "stage")
    assert again.epoch == 1
    wanted, found = run.state_dict(), again.state_dict()
    wanted["network"]["1.weight"] = wanted["network"]["1.weight"].clone()
    wanted["network"]["1.weight"][0] = 0  # the restored masks are applied
    assert same(found, wanted)
    assert found["optimizer"]["state"], "the momentum is part of it"
    assert again.history == run.history
    assert [path.name for path in (tmp_path / "new" / "folder").iterdir()] == ["stage.checkpoint.pt"]


def test_stages_do_not_mix(tmp_path: Path) -> None:
    Checkpoints(tmp_path, "settings").save(trained_run(), "level-00")
    fresh = new_run()
    Checkpoints(tmp_path, "settings").resume(fresh, "level-01")
    assert fresh.epoch == 0
    assert equal_states(fresh.network, make_network())


def test_without_a_folder_nothing_is_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = trained_run()
    Checkpoints(None, "settings").save(run, "stage")
    Checkpoints(None, "settings").resume(run, "stage")
    assert run.epoch == 1
    assert not list(tmp_path.iterdir())


def test_another_runs_checkpoint_is_refused(tmp_path: Path) -> None:
    Checkpoints(tmp_path, "one").save(trained_run(), "stage")
    fresh = new_run()
    with pytest.raises(InputError, match=r"another run.*choose another output folder, or delete this file") as caught:
        Checkpoints(tmp_path, "another").resume(fresh, "stage")
    assert str(tmp_path / "stage.checkpoint.pt") in str(caught.value)
    assert fresh.epoch == 0
    assert equal_states(fresh.network, make_network())


def test_a_half_written_file_does_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed in the middle of a write: the last good checkpoint stands, and the next write replaces the debris."""
    run, checkpoints = trained_run(), Checkpoints(tmp_path, "settings")
    checkpoints.save(run, "stage")
    good = (tmp_path / "stage.checkpoint.pt").read_bytes()

    def dies(state: dict[str, Any], file: Any) -> None:
        file.write(good[: len(good) // 2])
        file.flush()
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(torch, "save", dies)
        with pytest.raises(KeyboardInterrupt):
            checkpoints.save(new_run(), "stage")
    assert len(list(tmp_path.iterdir())) == 2, "the debris is there"
    assert (tmp_path / "stage.checkpoint.pt").read_bytes() == good
    again = new_run()
    checkpoints.resume(again, "stage")
    assert again.epoch == 1
    checkpoints.save(again, "stage")
    assert [path.name for path in tmp_path.iterdir()] == ["stage.checkpoint.pt"]


class Trap:
    """Leaves a file behind where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_a_checkpoint_runs_no_code(tmp_path: Path) -> None:
    sprung = tmp_path / "sprung"
    torch.save({"identity": "", "network": Trap(sprung)}, tmp_path / "stage.checkpoint.pt")
    with pytest.raises(InputError, match="cannot be read as a checkpoint"):
        Checkpoints(tmp_path, "").resume(new_run(), "stage")
    assert not sprung.exists()


@pytest.mark.parametrize("content", [b"", b"no archive", pickle.dumps({"settings": 1}, 2)])
def test_a_damaged_checkpoint_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "stage.checkpoint.pt").write_bytes(content)
    for call in (Checkpoints(tmp_path).check, lambda: Checkpoints(tmp_path).resume(new_run(), "stage")):
        with pytest.raises(InputError, match=r"stage\.checkpoint\.pt cannot be read as a checkpoint.*delete it"):
            call()


def test_a_cut_off_checkpoint_is_refused(tmp_path: Path) -> None:
    Checkpoints(tmp_path, "settings").save(trained_run(), "stage")
    path = tmp_path / "stage.checkpoint.pt"
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(InputError, match="cannot be read as a checkpoint"):
        Checkpoints(tmp_path, "settings").check()


def test_a_foreign_checkpoint_of_a_method_within_is_refused(tmp_path: Path) -> None:
    Checkpoints(tmp_path / MASKS, "settings").save(trained_run(), "stage")
    Checkpoints(tmp_path, "settings").check()
    with pytest.raises(InputError, match="another run"):
        Checkpoints(tmp_path, "other").check()
