"""How long a card was trained and how fast: images per second, the share of what the device can multiply and add."""

from __future__ import annotations

import json
import statistics
import time
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from cards_deck.card import Card
from cards_deck.costs import card_costs
from cards_deck.training.recipe import Recipe

Json = dict[str, Any]
PASSES = 3  # forward, gradients of activations, gradients of weights
VIEWS = 3  # of each image under AugMix's consistency loss
SIDE = {"cuda": 8192, "cpu": 1024}  # of the square matrices whose product is timed


def peak_flops(device: torch.device, kind: torch.dtype, repeats: int = 10) -> float:
    """Operations per second of a product of large matrices of `kind`: the median run."""
    side = SIDE[device.type]
    one, other = (torch.ones(side, side, device=device, dtype=kind) for _ in range(2))
    seconds = []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        one @ other
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - started)
    return 2 * side**3 / statistics.median(seconds[1:])


def _rows(log: Path) -> list[dict[str, Any]]:
    """Epochs since training last began anew, with a stage that was there before; a torn line is left out."""
    rows = []
    for line in log.read_text().splitlines():
        with suppress(json.JSONDecodeError):
            rows.append(json.loads(line))
    begin, stages = 0, set[str]()
    for place, row in enumerate(rows):
        if row["epoch"] == 1:
            if row["stage"] in stages:
                begin, stages = place, set()
            stages.add(row["stage"])
    return rows[begin:]


def _seconds(rows: list[dict[str, Any]]) -> float:
    """What the epochs of `rows` took in all; the clock begins anew with every stage and after every stop."""
    spent = [row["seconds"] for row in rows[:1]]
    for before, after in pairwise(rows):
        goes_on = after["stage"] == before["stage"] and after["seconds"] > before["seconds"]
        spent.append(after["seconds"] - (before["seconds"] if goes_on else 0))
    return float(sum(spent))


def throughput(log: Path, card: Card, recipe: Recipe, images: int, image_size: int, device: torch.device) -> Json:
    """The JSON form of how fast `log` says that `recipe` was followed on `images` images, at its last image size.

    An epoch is all that happened in it: augmentation, steps, validation, the checkpoint. Masked weights are multiplied
    like others in training, so that the operations are those of the dense network: two for a multiply-add, for the
    forward pass and twice as many for the gradients. None in the place of what the log cannot tell.
    """
    schedule = recipe.schedule
    rows = _rows(log)
    epochs = [
        after["seconds"] - before["seconds"]
        for before, after in pairwise(rows)
        if after["epoch"] == before["epoch"] + 1 and after["stage"] == before["stage"]
        and after["seconds"] > before["seconds"] and after["size"] == rows[-1]["size"]
    ]  # fmt: skip
    kind = torch.bfloat16 if schedule.bf16(device.type) else torch.float32
    peak, views = peak_flops(device, kind), VIEWS if getattr(recipe.augmentation, "jsd", False) else 1
    operations = 2 * PASSES * views * card_costs(card, image_size).macs
    found: Json = {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "precision": str(kind).removeprefix("torch."),
        "threads": torch.get_num_threads(),
        "epochs_timed": len(epochs),
        "image_size": rows[-1]["size"],
        "operations_per_image": operations,
        "peak_operations_per_second": round(peak),
        "training_seconds": round(_seconds(rows), 1),
        "images_per_second": None,
        "share_of_peak": None,
    }
    if epochs and rows[-1]["size"] == image_size:
        steps = images // schedule.batch_size * schedule.batch_size
        rate = steps / statistics.median(epochs)
        found |= {"images_per_second": round(rate, 1), "share_of_peak": round(rate * operations / peak, 4)}
    return found
