"""Where and with what a measurement was made."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cards_deck import __version__
from cards_deck.machine import hardware, package_versions

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("numpy", "scipy", "pillow", "safetensors", "onnx", "onnxruntime")


def provenance(command: list[str] | None = None) -> dict[str, Any]:
    """Versions, hardware, commit, date (UTC, ISO 8601) and command of this run; None for what cannot be known."""
    return {
        "command": " ".join(map(_shown, command)) if command else None,
        "commit": _commit(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "hardware": hardware(),
        "versions": {"python": platform.python_version(), "cards-deck": __version__, **package_versions(PACKAGES)},
    }


def _shown(argument: str) -> str:
    """Paths that lead out of the checkout shortened to their last part: a report is published, a home folder is not."""
    flag, equals, value = argument.rpartition("=") if argument.startswith("--") else ("", "", argument)
    path, target = Path(value), Path(os.path.abspath(value))  # noqa: PTH100  (links stay as typed)
    is_path = len(path.parts) > 1 or path.exists()
    if path.is_absolute() or ".." in path.parts or (is_path and not target.is_relative_to(ROOT)):
        return f"{flag}{equals}.../{target.name}"
    return argument


def _git(*arguments: str) -> str | None:
    git = shutil.which("git")
    if git is None:
        return None
    try:
        done = subprocess.run(
            [git, "-C", str(ROOT), *arguments], capture_output=True, text=True, timeout=20, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _commit() -> str | None:
    """The commit of the checkout, with "+" where the measuring code itself differs from it."""
    commit = _git("rev-parse", "HEAD")
    if commit is None:
        return None
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", "cards_deck", "eval/*.py")
    return f"{commit}+" if changed else commit
