"""Files that appear whole or not at all, in a folder that one run at a time writes into."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import io
import os
import secrets
import shutil
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cards_deck.errors import DataError
from cards_deck.files import is_temporary, sync_folder

_GB = 1e9


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Make the folder, lock it, remove temporary files before and after; what goes wrong is a DataError naming it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder):
            _remove_temporaries(folder)
            try:
                yield
            finally:
                _remove_temporaries(folder)
    except BrokenProcessPool as error:
        remedy = "run again with fewer processes; files that are there are kept"
        raise DataError(f"a process writing into {folder} was killed, perhaps for memory: {remedy}") from error
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        remedy = "free space and run again; files that are there are kept" if full else "choose a folder you can write"
        raise DataError(f"{folder} cannot be written ({error.strerror or error}): {remedy}") from error


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY)  # the lock ends with the process, however that ends
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataError(f"{folder} is being written by another run: wait for it or choose another folder") from None
        except OSError:
            pass  # some network file systems lock no folders
        yield
    finally:
        os.close(descriptor)


def _remove_temporaries(folder: Path) -> None:
    for path in folder.iterdir():
        if is_temporary(path):
            path.unlink(missing_ok=True)


def temporary(folder: Path, name: str) -> Path:
    """A name for an unfinished file; `writing` removes what is left under such names."""
    return folder / f".{name}.{secrets.token_hex(6)}.cards-deck.tmp"


def save_temporary(folder: Path, array: NDArray[Any]) -> Path:
    """An unfinished .npy file, which processes can map instead of holding a copy each."""
    path = temporary(folder, "clean")
    with path.open("xb") as file:
        np.save(file, array, allow_pickle=False)
    return path


def publish(path: Path, name: Path) -> None:
    """Flush a finished file to the disk and give it its name."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
    path.replace(name)
    sync_folder(name.parent)


def check_space(folder: Path, needed: int) -> None:
    """DataError where fewer than `needed` bytes are free."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        sizes = f"{needed / _GB:.2f} GB are needed and {free / _GB:.2f} GB are free"
        raise DataError(f"{folder} has too little space: {sizes}; free some or choose another folder")


def sha256(path: Path) -> str:
    """The SHA-256 of a file, read piece by piece."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def npy(array: NDArray[Any]) -> bytes:
    """The content of a .npy file."""
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()
