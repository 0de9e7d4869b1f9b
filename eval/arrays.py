"""Arrays from files of other people: never unpickled, and what is wrong with a file is said by its name."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cards_deck.errors import DataError


def read_array(
    path: Path, *, missing: str, broken: str, mapped: bool = False, member: str | None = None
) -> NDArray[Any]:
    """The array in a .npy file; where `member` is given, also the array of that name in a .npz file.

    `mapped`: of a .npy file, and read only where it is looked at. DataError ends with `missing` (what must be there,
    and what to do) where there is no such file, and with `broken` (what to do) where it holds no whole array.
    """
    if not path.is_file():
        raise DataError(f"{path} is missing: {missing}")
    try:
        if mapped:
            return np.lib.format.open_memmap(path, mode="r")
        with path.open("rb") as stream:
            stored = np.load(stream, allow_pickle=False)
            return _member(path, stored, member, broken) if isinstance(stored, np.lib.npyio.NpzFile) else stored
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror or error}): {broken}") from error
    except (
        ValueError,
        EOFError,
        zipfile.BadZipFile,
        zlib.error,
    ):  # numpy's own words would advise to unpickle the file
        raise DataError(f"{path} cannot be read: it is cut off or no array of numbers; {broken}") from None


def _member(path: Path, stored: Any, member: str | None, broken: str) -> NDArray[Any]:
    if member is None or member not in stored:
        wanted = "a single array" if member is None else f"an array {member!r}"
        raise DataError(f"{path} must hold {wanted}, not {', '.join(stored) or 'nothing'}; {broken}")
    return np.asarray(stored[member])
