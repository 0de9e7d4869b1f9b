"""Fetching an official archive: nothing is extracted before its checksum holds, nothing partial is ever left."""

from __future__ import annotations

import hashlib
import http.client
import sys
import tarfile
import tempfile
import urllib.request
from collections.abc import Callable
from pathlib import Path

from cards_deck.data.cifar import Archive
from cards_deck.errors import DataError

CHUNK = 1 << 20  # bytes
TIMEOUT = 60.0  # seconds without a byte
Progress = Callable[[int, int], None]  # (bytes so far, bytes in all; 0 = the server does not say)


def show_progress(done: int, total: int) -> None:
    """Rewrite one line on stderr."""
    share = f" of {total / 1e6:.0f} MB ({done / total:.0%})" if total else " MB"
    print(f"\rdownloading: {done / 1e6:.0f}{share}", end="\n" if done == total else "", file=sys.stderr, flush=True)


def download_archive(archive: Archive, root: str | Path, progress: Progress = show_progress) -> Path:
    """Download `archive`, check its MD5, extract it as `root/<archive.folder>`; returns that folder.

    Works in a temporary folder inside `root`, removed whatever happens; the finished folder is renamed into place.
    Raises DataError where the network, the checksum, the archive's contents or the disk do not allow it.
    """
    root = Path(root)
    target = root / archive.folder
    if target.exists():
        raise DataError(f"{target}: it is there already, so nothing is downloaded over it; delete it first")
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root, prefix=".download-") as temporary:
        packed = Path(temporary) / "archive.tar.gz"
        _fetch(archive, packed, progress)
        _extract(archive, packed, Path(temporary) / "extracted").replace(target)
    return target


def _fetch(archive: Archive, path: Path, progress: Progress) -> None:
    digest = hashlib.md5(usedforsecurity=False)
    try:
        with urllib.request.urlopen(archive.url, timeout=TIMEOUT) as response, path.open("wb") as file:
            total = int(response.headers.get("Content-Length") or 0)
            while chunk := response.read(CHUNK):
                digest.update(chunk)
                file.write(chunk)
                progress(file.tell(), total)
    except (OSError, http.client.HTTPException) as error:
        raise DataError(
            f"{archive.url}: it cannot be downloaded ({error}); check the network, or on another machine download and "
            f"extract it, and copy {archive.folder}/ into the data root"
        ) from error
    if digest.hexdigest() != archive.md5:
        raise DataError(
            f"{archive.url}: the MD5 of the download must be {archive.md5}, not {digest.hexdigest()}: it was cut short "
            "or altered on the way; try again"
        )


def _extract(archive: Archive, packed: Path, folder: Path) -> Path:
    try:
        with tarfile.open(packed, "r:gz") as tar:
            tar.extractall(folder, filter="data")  # refuses links, devices and paths that lead outside
    except (tarfile.TarError, OSError, EOFError) as error:
        raise DataError(f"{archive.url}: the archive cannot be extracted ({error}); check the space on disk") from error
    extracted = folder / archive.folder
    if not extracted.is_dir():
        found = ", ".join(sorted(path.name for path in folder.iterdir())) if folder.is_dir() else "nothing"
        raise DataError(
            f"{archive.url}: the archive must hold {archive.folder}/, not {found}; report it to the project"
        )
    return extracted
