"""Run-time checks of values that may have come out of a file, whatever their annotations promise."""

from __future__ import annotations

import math
import re

NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
NAME_RULE = "1 to 100 letters, digits and ._-, not beginning with a sign"


def is_name(value: object) -> bool:
    """Whether `value` can name a card or a deck, and so a file: see `NAME_RULE`."""
    return isinstance(value, str) and NAME_PATTERN.fullmatch(value) is not None


def is_text(value: object, longest: int) -> bool:
    """Whether `value` is a str of 1 to `longest` characters."""
    return isinstance(value, str) and 0 < len(value) <= longest


def is_whole(value: object, low: float = -math.inf, high: float = math.inf) -> bool:
    """Whether `value` is an int (not a bool) from `low` to `high`."""
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def is_number(value: object, low: float = -math.inf, high: float = math.inf) -> bool:
    """Whether `value` is a finite int or float (not a bool) from `low` to `high`."""
    real = isinstance(value, int | float) and not isinstance(value, bool)
    return real and abs(value) <= 1e300 and low <= value <= high  # type: ignore[arg-type, operator]
