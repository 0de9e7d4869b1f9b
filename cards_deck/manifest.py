"""`deck.json`: which files a deck is made of, checked before any of them is opened."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cards_deck import files
from cards_deck.checks import is_whole
from cards_deck.errors import DeckError

MANIFEST, SCHEMA_VERSION = "deck.json", 3
PREPROCESSING = {"layout": "uint8 [n, h, w, 3]", "resize": "centre crop to a square, antialiased bicubic"}
MAX_MANIFEST, MAX_FILE = 1 << 23, 1 << 30
MAX_CARDS = 1000

_FIELDS: Mapping[str, type[Any]] = {
    "schema_version": int,
    "name": str,
    "version": str,
    "classes": list,
    "image_size": int,
    "preprocessing": dict,
    "gate": dict,  # since version 3 with an entry "arrays" where it has learned some
    "references": dict,
    "masks": dict,  # since version 2; empty where no mask is shared
    "cards": list,
    "measured": dict,
}


def read_manifest(root: Path) -> dict[str, Any]:
    """The validated content of a deck's `deck.json`; DeckError says what is wrong with it."""
    path = root / MANIFEST
    try:
        manifest = files.strict_json(files.read_bytes(path, limit=MAX_MANIFEST, follow=False))
    except FileNotFoundError:
        raise DeckError(f"{path} does not exist: {root} is not a deck's folder") from None
    except (OSError, ValueError) as error:
        raise DeckError(f"{path} cannot be read: {error}") from None
    if not isinstance(manifest, dict):
        raise DeckError(f"{path} must hold an object")
    version = manifest.get("schema_version")
    if not is_whole(version, 1, SCHEMA_VERSION):
        raise DeckError(f"{path} has schema_version {version!r}: this release reads versions 1 to {SCHEMA_VERSION}")
    if version == 1 and "masks" not in manifest:
        manifest["masks"] = {}
    if set(manifest) != set(_FIELDS):
        raise DeckError(f"{path} must have exactly the fields {', '.join(_FIELDS)}")
    for name, kind in _FIELDS.items():
        if type(manifest[name]) is not kind:
            raise DeckError(f"{path}: {name!r} must be a {kind.__name__}")
    _check_entries(path, manifest)
    return manifest


def _check_entries(path: Path, manifest: dict[str, Any]) -> None:
    if not 1 <= len(manifest["cards"]) <= MAX_CARDS:
        raise DeckError(f"{path}: a deck has 1 to {MAX_CARDS} cards, not {len(manifest['cards'])}")
    for entry in manifest["cards"]:
        if not isinstance(entry, dict) or set(entry) != {"name", "id", "file", "sha256", "record"}:
            raise DeckError(f"{path}: a card must have exactly name, id, file, sha256 and record")
    if set(manifest["references"]) != {"file", "sha256"}:
        raise DeckError(f"{path}: the references must have exactly file and sha256")
    if manifest["masks"] and set(manifest["masks"]) != {"file", "sha256"}:
        raise DeckError(f"{path}: the shared masks must have exactly file and sha256, or nothing")
    if (arrays := manifest["gate"].get("arrays", {})) and not (
        isinstance(arrays, dict) and set(arrays) == {"file", "sha256"}
    ):
        raise DeckError(f"{path}: the gate's arrays must have exactly file and sha256, or nothing")
    named = named_files(path.parent, manifest)
    if len(set(named)) != len(named):
        raise DeckError(f"{path}: two entries name the same file")
    if manifest["preprocessing"] != PREPROCESSING:
        raise DeckError(f"{path}: this release cannot do the preprocessing {manifest['preprocessing']!r:.200}")


def named_files(root: Path, manifest: Mapping[str, Any]) -> list[str]:
    """Files of the cards, references, shared masks and gate; DeckError where one would lie outside `root`."""
    more = [entry for entry in (manifest["masks"], manifest["gate"].get("arrays")) if entry]
    return [plain_name(root, entry) for entry in (*manifest["cards"], manifest["references"], *more)]


def plain_name(root: Path, entry: Mapping[str, Any]) -> str:
    """The file that an entry names; DeckError unless it can only lie directly in `root`."""
    name = entry["file"]
    # One plain name, no separator of any system: nothing outside the folder can be named.
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}\.safetensors", name):
        raise DeckError(f"{root / MANIFEST}: {name!r:.200} is not a plain .safetensors file name inside the folder")
    return name


def read_verified(root: Path, entry: Mapping[str, Any]) -> bytes:
    """The bytes of an entry's file, read once and hashed; DeckError if it is missing, a link or another content."""
    path = root / plain_name(root, entry)
    try:
        data = files.read_bytes(path, limit=MAX_FILE, follow=False)
    except FileNotFoundError:
        raise DeckError(f"{path} is missing, and {MANIFEST} names it") from None
    except (OSError, ValueError) as error:
        raise DeckError(f"{path} cannot be read: {error}") from None
    if files.sha256(data) != entry["sha256"]:
        raise DeckError(f"{path} has SHA-256 {files.sha256(data)}, not the {entry['sha256']!r} of {MANIFEST}")
    return data
