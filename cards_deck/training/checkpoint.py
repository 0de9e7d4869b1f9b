"""Saving a run at the end of each epoch and finding it again; an interrupted write never harms the last good file."""

from __future__ import annotations

import hashlib
import os
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from cards_deck.errors import InputError
from cards_deck.training.loop import Run

SUFFIX = ".checkpoint.pt"
MASKS = "masks"  # folder in a run's own, of a method within a method


@dataclass(frozen=True)
class Checkpoints:
    """One file per stage in `folder`; a folder of None saves nothing.

    Attributes:
        folder: created when first needed.
        identity: what the run is (method, schedule, data, seed, ...); a checkpoint of another identity is refused.
    """

    folder: Path | None
    identity: str = ""

    def save(self, run: Run, stage: str) -> None:
        """Write the run's state to a temporary name, then rename."""
        if self.folder is None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self._path(stage)
        temporary = path.with_suffix(".tmp")
        with temporary.open("wb") as file:
            torch.save({"identity": self._digest(), **run.state_dict()}, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)

    def resume(self, run: Run, stage: str) -> None:
        """Restore the stage's last saved epoch into `run`, if there is one."""
        if self.folder is None or not self._path(stage).exists():
            return
        device = next(run.network.parameters()).device
        state = _loaded(self._path(stage), device)
        self._check(self._path(stage), state.pop("identity"))
        run.load_state_dict(state)

    def check(self) -> None:
        """InputError if the folder, or the one in it that the masks of a method come from, holds a checkpoint of
        another run, whatever its stage is called."""
        if self.folder is None:
            return
        inner = Checkpoints(self.folder / MASKS, self.identity)
        for kept in (self, inner):
            assert kept.folder is not None
            for path in sorted(kept.folder.glob(f"*{SUFFIX}")):
                # Mapped, so that only the identity is read and not the weights.
                self._check(path, _loaded(path, torch.device("cpu"), mmap=True)["identity"])

    def _check(self, path: Path, identity: object) -> None:
        if identity != self._digest():
            raise InputError(
                f"{path} is the checkpoint of another run (other method, settings, data or seed): "
                "choose another output folder, or delete this file to start again"
            )

    def _path(self, stage: str) -> Path:
        assert self.folder is not None
        return self.folder / f"{stage}{SUFFIX}"

    def _digest(self) -> str:
        return hashlib.sha256(self.identity.encode()).hexdigest()


def _loaded(path: Path, device: torch.device, *, mmap: bool = False) -> dict[str, Any]:
    """What a checkpoint holds; InputError where it is damaged."""
    try:
        found: dict[str, Any] = torch.load(path, map_location=device, weights_only=True, mmap=mmap)
        found["identity"]
    except (RuntimeError, EOFError, KeyError, TypeError, ValueError, pickle.UnpicklingError) as error:
        raise InputError(
            f"{path} cannot be read as a checkpoint, it is damaged or something else: delete it, and this stage starts "
            "again"
        ) from error
    return found
