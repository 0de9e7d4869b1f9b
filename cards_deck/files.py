"""Reading a file once, writing it whole or not at all, and strict JSON."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import stat
from pathlib import Path
from typing import Any

NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)


def read_bytes(path: Path, *, limit: int, follow: bool = True) -> bytes:
    """The whole content of a regular file of at most `limit` bytes, read once.

    Raises OSError (also for a symlink where `follow` is False) and ValueError, whose texts do not name the file.
    """
    # Non-blocking, so that a named pipe is refused below instead of being waited for.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | (0 if follow else NO_FOLLOW)
    if not follow and path.is_symlink():
        raise ValueError("it is a symbolic link, which could lead outside the folder")
    with os.fdopen(os.open(path, flags), "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("it is not a regular file")
        if status.st_size > limit:
            raise ValueError(f"it has {status.st_size} bytes, more than the {limit} allowed")
        data = file.read(limit + 1)
    if len(data) > limit:
        raise ValueError(f"it grew beyond the {limit} bytes allowed")
    return data


def write_bytes(path: Path, data: bytes) -> None:
    """Write under a temporary name in the same folder, flush to the disk, rename: `path` is whole or untouched."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.cards-deck.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def is_temporary(path: Path) -> bool:
    """Whether `path` was left by a `write_bytes` that was killed."""
    return path.name.startswith(".") and path.name.endswith(".cards-deck.tmp")


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries to the disk, where the system can do that for folders."""
    with contextlib.suppress(PermissionError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def sha256(data: bytes) -> str:
    """Hexadecimal SHA-256."""
    return hashlib.sha256(data).hexdigest()


def canonical_json(value: Any) -> str:
    """Sorted, compact ASCII JSON: equal values give equal texts. Raises ValueError for NaN and infinities."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def strict_json(data: bytes | str) -> Any:
    """Parsed JSON; ValueError for duplicate keys, NaN and infinities, bad UTF-8 and bottomless nesting."""
    try:
        text = data.decode("utf-8") if isinstance(data, bytes) else data
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("an object holds the same key twice")
    return found


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")
