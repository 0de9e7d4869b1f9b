"""The suites, one file per kind: `SUITES["cifar10-c"].measure(context)`.

corruptions.py CIFAR-10-C, CIFAR-100-C and CIFAR-10-C-bar. Other files beside it are found and registered by themselves.
"""

from __future__ import annotations

from cards_deck.registry import discover
from eval.suites._base import SUITES, Json, Suite, register, suite_named

__all__ = ["SUITES", "Json", "Suite", "register", "suite_named"]

discover(__name__, __path__)
