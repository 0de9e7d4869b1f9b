"""The picture of what `benchmarks.engines` measured: ms per image against density."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def write_plot(content: dict[str, Any], path: Path) -> None:
    """Draw the rows on one thread into an SVG file."""
