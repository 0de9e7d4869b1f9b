"""manifest.json: what tells images made here from official ones, and what they were made from."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import features

from cards_deck import __version__
from cards_deck.checks import is_whole
from cards_deck.corruptions import SEVERITIES, frost_source
from cards_deck.errors import DataError
from cards_deck.files import read_bytes, sha256, strict_json, write_bytes
from cards_deck.machine import package_versions
from eval.cells import Images

Json = dict[str, Any]

MANIFEST = "manifest.json"
SCHEMA_VERSION = 1
_LIMIT = 1 << 20
_SHA256 = re.compile(r"[0-9a-f]{64}")


def read_manifest(folder: Path) -> Json | None:
    """The manifest of a folder written by `write_layout`, None where there is none (official files).

    `seed`, `n`, `size`, `frost`, `versions`, and `files`: {"fog.npy": {"sha256", "severities": [five], "fingerprint"}}.
    Only its form is checked, not the files. Raises DataError for anything else of that name.
    """
    path = folder / MANIFEST
    if not path.exists():
        return None
    try:
        manifest = strict_json(read_bytes(path, limit=_LIMIT))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}): {_REMEDY}") from error
    if fault := _fault(manifest):
        raise DataError(f"{path} {fault}: {_REMEDY}")
    found: Json = manifest
    return found


_REMEDY = "write the folder again, or delete this file where the images beside it are official ones"


def _fault(manifest: Any) -> str | None:
    if not isinstance(manifest, dict) or manifest.get("schema_version") != SCHEMA_VERSION:
        return f"is not a manifest of schema version {SCHEMA_VERSION}"
    if manifest.get("source") != "regenerated":
        return f'must say "source": "regenerated", not {manifest.get("source")!r}'
    if not (is_whole(manifest.get("seed")) and all(is_whole(manifest.get(key), low=1) for key in ("n", "size"))):
        return "must hold an integer seed and positive integers n and size"
    if manifest.get("frost") not in ("published", "procedural"):
        return f'must say "published" or "procedural" of frost, not {manifest.get("frost")!r}'
    if not all(_is_sha256(manifest.get(key)) for key in ("clean_sha256", "labels_sha256")):
        return "must hold the SHA-256 of the clean images and of labels.npy"
    files = manifest.get("files")
    if not isinstance(manifest.get("versions"), dict) or not isinstance(files, dict):
        return "must hold versions and files"
    bad = [name for name, entry in files.items() if not _is_entry(entry)]
    return f"must hold the SHA-256 of {bad[0]} and of its five severities" if bad else None


def _is_entry(entry: Any) -> bool:
    if not isinstance(entry, dict) or not isinstance(entry.get("severities"), list):
        return False
    hashes = [entry.get("sha256"), *entry["severities"]]
    return len(hashes) == 1 + len(SEVERITIES) and all(map(_is_sha256, hashes)) and "fingerprint" in entry


def _is_sha256(value: object) -> bool:
    return isinstance(value, str) and _SHA256.fullmatch(value) is not None


def identity(images: Images, stored_labels: bytes, seed: int) -> Json:
    """All of a manifest but its files: what decides the pixels, apart from the corruptions' code."""
    return {
        "schema_version": SCHEMA_VERSION,
        "source": "regenerated",
        "n": len(images),
        "size": images.shape[1],
        "seed": int(seed),
        "frost": frost_source(),
        "versions": {
            "cards-deck": __version__,
            "libjpeg-turbo": features.version("libjpeg_turbo"),
            **package_versions(("numpy", "pillow", "scipy")),
        },
        "clean_sha256": hashlib.sha256(np.ascontiguousarray(images).data).hexdigest(),
        "labels_sha256": sha256(stored_labels),
    }


def begin_manifest(folder: Path, names: Sequence[str], made: Json) -> Json:
    """The manifest of a folder begun from the same, or a new one, saved before any file; DataError for other files."""
    manifest = read_manifest(folder)
    listed = () if manifest is None else (*manifest["files"], "labels.npy")
    for name in ("labels.npy", *(f"{name}.npy" for name in names)):
        if name not in listed and (folder / name).exists():
            raise DataError(f"{folder / name} was not written here and is not replaced: choose another folder")
    if manifest is None:
        manifest = {**made, "files": {}}
        save_manifest(folder, manifest)
    elif other := [key for key, value in made.items() if manifest[key] != value]:
        raise DataError(f"{folder} holds images with another {', '.join(other)}: empty it or choose another folder")
    return manifest


def save_manifest(folder: Path, manifest: Json) -> None:
    """Replace the manifest, whole or not at all."""
    write_bytes(folder / MANIFEST, f"{json.dumps(manifest, indent=1, sort_keys=True)}\n".encode())
