"""Per-image arrays on disk, so that a study of gates or ensembles costs no further forward pass.

One `.npz` per cell and card (float32 logits) and one per cell (fp16 log-amplitude spectra). A key is a path made of
hashes of everything that decides the values, so an entry is never stale. Files appear by rename: a killed run or two
runs at once never leave a partial file. A cache that cannot be written costs speed, not the evaluation.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import threading
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


@dataclass
class Cache:
    """Arrays under `folder`; `folder` None keeps nothing."""

    folder: Path | None
    _warned: bool = field(default=False, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def load(self, key: str, shape: tuple[int, ...]) -> NDArray[np.generic] | None:
        """The array stored under `key`, or None where there is none, it is broken, or its shape is not `shape`."""
        if self.folder is None:
            return None
        try:
            path = self.folder / f"{key}.npz"
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
                array: NDArray[np.generic] = stored["array"]
        except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile):
            return None
        return array if array.shape == shape else None

    def check(self) -> None:
        """Say on stderr, before the long part starts, where the cache cannot be written; it then keeps nothing."""
        if self.folder is None:
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.folder):
                pass
        except OSError as error:
            self._warn(error)

    def save(self, key: str, array: NDArray[np.generic]) -> None:
        """Store `array` under `key`; says once on stderr when the cache cannot be written, and goes on."""
        if self.folder is None:
            return
        path = self.folder / f"{key}.npz"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _write(path, array)
        except OSError as error:
            self._warn(error)

    def _warn(self, error: OSError) -> None:
        with self._lock:
            if not self._warned:
                print(f"cache {self.folder} cannot be written ({error}); going on without it", file=sys.stderr)
            self._warned = True


def _write(path: Path, array: NDArray[np.generic]) -> None:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=".part")
    part = Path(name)
    try:
        with os.fdopen(handle, "wb") as stream:
            np.savez(stream, array=array)
        part.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink()
        raise
