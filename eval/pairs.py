"""Which images a deck answered right, kept beside its report, so that two decks can be compared image by image.

`<suite>.pairs.npz` holds, per route, a bit for each clean image, and for each corrupted image in how many cells of each
group it was answered right: no image, and some bytes for each. The JSON names the file and its SHA-256.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cards_deck.errors import DataError
from cards_deck.files import write_bytes
from eval.arrays import read_array
from eval.metrics import Floats, cell_groups, intervals
from eval.results import Json, Measured

if TYPE_CHECKING:
    from eval.suites.corruptions import CorruptionSuite

ROUTES = ("gated", "uniform", "best_card")
AGAIN = "measure the deck again, with the same images and seed as the other"


def write_pairs(measured: Measured, suite: CorruptionSuite, path: Path) -> Json:
    """Write the file -> its name and SHA-256, and how many cells each group has."""
    groups = {name: mask for name, mask in cell_groups(suite.cells, suite.noise).items() if mask.any()}
    arrays: dict[str, NDArray[Any]] = {}
    for route in ROUTES:
        arrays[f"{route}.clean"] = np.packbits(measured.clean.routes[route].correct)
        correct = measured.correct(route)
        for name, mask in groups.items():
            arrays[f"{route}.{name}"] = correct[mask].sum(axis=0).astype(np.uint16)
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, stream.getvalue())
    sizes = {name: int(mask.sum()) for name, mask in groups.items()}
    return {"file": path.name, "sha256": hashlib.sha256(stream.getvalue()).hexdigest(), "cells": sizes}


def read_pairs(folder: Path, result: Json, route: str) -> dict[str, Floats] | None:
    """Group -> [n] share of cells in which each image was answered right, "clean" among them; None where there is no
    such file beside the report. DataError naming one that is not the JSON's."""
    named = result.get("pairs")
    if not named or not (folder / named["file"]).is_file():
        return None
    path = folder / named["file"]
    if hashlib.sha256(path.read_bytes()).hexdigest() != named["sha256"]:
        raise DataError(f"{path} must be the file that was written with the JSON beside it: {AGAIN}")

    def member(name: str) -> NDArray[Any]:
        return read_array(path, missing=AGAIN, broken=AGAIN, member=f"{route}.{name}")

    found = {"clean": np.unpackbits(member("clean"), count=result["n_clean"]).astype(np.float64)}
    return found | {name: member(name).astype(np.float64) / count for name, count in named["cells"].items()}


def paired_differences(
    minuend: Mapping[str, Floats], subtrahend: Mapping[str, Floats], *, seed: int, resamples: int
) -> dict[str, dict[str, float]]:
    """Group -> difference of accuracies on the same images with its interval, for the groups that both have."""
    return {
        name: intervals((minuend[name] - subtrahend[name])[:, None], resamples=resamples, seed=seed)[0].as_dict()
        for name in minuend
        if name in subtrahend and len(minuend[name]) == len(subtrahend[name])
    }
