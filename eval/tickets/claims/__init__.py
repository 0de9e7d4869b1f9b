"""The central claims of sixteen papers, one file each: arms, effects, and what of the paper's setting is kept.

A file here holds one `CLAIM`; the folder finds it.
"""

from __future__ import annotations

import importlib

from cards_deck.errors import InputError
from cards_deck.registry import discover
from eval.tickets.claims._base import Arm, Arms, Claim, Contrast, Measure

__all__ = ["Arm", "Arms", "Claim", "Contrast", "Measure", "all_claims", "claims_named"]


def all_claims() -> tuple[Claim, ...]:
    """Every claim, in the order of the scoreboard."""
    found = [importlib.import_module(f"{__name__}.{name}").CLAIM for name in discover(__name__, __path__)]
    return tuple(sorted(found, key=lambda claim: claim.number))


def claims_named(keys: list[str] | None) -> tuple[Claim, ...]:
    """The claims of these keys, all for None; InputError listing the keys."""
    known = {claim.key: claim for claim in all_claims()}
    if unknown := sorted(set(keys or ()) - set(known)):
        raise InputError(f"no paper is called {unknown[0]!r} here: choose among {', '.join(known)}")
    return tuple(claim for key, claim in known.items() if keys is None or key in keys)
