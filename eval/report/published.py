"""Results that others published, from published.json: RobustBench rows and test-time adaptation."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

from eval.report.files import Json


@functools.cache
def _stored() -> dict[str, Any]:
    return dict(json.loads(Path(__file__).with_name("published.json").read_text(encoding="utf-8")))


def published_rows(suite: str) -> tuple[list[Json], str]:
    """Published rows for a suite, best mean first, and their source.

    Accuracies are in percent; parameters and multiply-adds are of one pass, None where unknown; `kept` is the share of
    weights that are not zero.
    """
    rows: list[Json] = sorted(_stored()["suites"].get(suite, []), key=lambda row: -row["mean"])
    return rows, f"{_stored()['source']}. {_stored()['note']}"


def how_counted() -> str:
    """Where the parameters and multiply-adds of the published rows come from."""
    return str(_stored()["counted"])


def adaptation_rows() -> tuple[list[Json], str]:
    """Published errors in percent of test-time adaptation at severity 5 for each order of images, and their source."""
    stored = _stored()["adaptation"]
    return list(stored["rows"]), f"{stored['source']}. {stored['note']}"


def comparable(result: Json) -> list[Json]:
    """The published rows that may stand beside a suite: none where it was measured on data that is not its own."""
    own = result["data"]["name"] == result["suite"].removesuffix("-c")
    return published_rows(result["suite"])[0] if own else []
