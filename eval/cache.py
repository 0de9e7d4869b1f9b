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
import time
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

STALE_S = 24 * 3600.0


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
        """Say on stderr, before the long part starts, where the cache cannot be written: it then keeps nothing. Files
        that a killed run was writing a day ago or longer are removed."""
        if self.folder is None:
            return
        try:
            parts = _parts(self.folder)
            for path in parts.iterdir():
                with contextlib.suppress(OSError):
                    if time.time() - path.stat().st_mtime > STALE_S:
                        path.unlink()
            with tempfile.TemporaryFile(dir=parts):
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
            _write(path, array, _parts(self.folder))
        except OSError as error:
            self._warn(error)

    def _warn(self, error: OSError) -> None:
        with self._lock:
            if not self._warned:
                print(f"cache {self.folder} cannot be written ({error}); going on without it", file=sys.stderr)
            self._warned = True


def _parts(folder: Path) -> Path:
    """Where files lie while they are being written: on the same file system, so that a rename publishes them."""
    parts = folder / ".parts"
    parts.mkdir(parents=True, exist_ok=True)
    return parts


def _write(path: Path, array: NDArray[np.generic], parts: Path) -> None:
    handle, name = tempfile.mkstemp(dir=parts, suffix=".part")
    part = Path(name)
    try:
        with os.fdopen(handle, "wb") as stream:
            np.savez(stream, array=array)
        part.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink()
        raise
