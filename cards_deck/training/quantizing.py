"""The verb of quantization: a float card becomes one of fewer bits, as it is or after training under the quantizer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cards_deck.card import Card, as_stored, write_card
from cards_deck.data import Dataset
from cards_deck.errors import InputError
from cards_deck.registry import describe
from cards_deck.training.augmentations import AUGMENTATIONS
from cards_deck.training.calibration import activation_ranges
from cards_deck.training.decks import augmented
from cards_deck.training.networks import NETWORKS
from cards_deck.training.quantizers import Quantizer
from cards_deck.training.quantizers.int8 import Int8
from cards_deck.training.quantizers.straight_through import on_grid
from cards_deck.training.recipe import Recipe
from cards_deck.training.run import SUFFIX, checked_name, fine_tuned
from cards_deck.training.schedule import Schedule

Floats = NDArray[np.float32]


def quantize_card(
    parent: Card,
    quantizer: Quantizer,
    train: Dataset,
    validation: Dataset,
    folder: Path,
    *,
    schedule: Schedule | None = None,
    seed: int = 0,
    name: str | None = None,
    device: str = "auto",
    quiet: bool = False,
) -> Card:
    """Quantize a float card and write it to `folder`; the mask stays.

    Args:
        parent: of 16 or 32 bits.
        quantizer: which values the kept weights may take.
        train: training images; those that calibrate or train go through the parent's augmentation.
        validation: held-out images, for the accuracy shown after each epoch.
        folder: gets `<name>.card.safetensors`, and the log and checkpoints of training.
        schedule: of training under the quantizer (straight through, see `quantizers.straight_through`); None: no
            training, the parent's weights are rounded.
        seed: of data order and augmentation.
        name: of the card; the folder's name where None.
        device: torch device, or `auto`, of training.
        quiet: show no progress.
    """
    name = checked_name(name or folder.name)
    if parent.record.bits < 16:
        raise InputError(f"card {parent.name!r} has {parent.record.bits} bits already: quantize the card it came from")
    if schedule is not None and parent.mirrored:
        raise InputError(
            f"card {parent.name!r} is the second look of another, whose weights it has: train that one, and give it a "
            "second look then"
        )
    if schedule is not None:
        parent_of_values = _trained(parent, quantizer, schedule, seed, train, validation, folder, device, quiet)
        made = _quantized(name, parent_of_values, quantizer, parent)
    else:
        made = _quantized(name, parent, quantizer, parent)
    if isinstance(quantizer, Int8):
        made = replace(made, ranges=_ranges(made, quantizer, train, seed))
    card = as_stored(made)
    folder.mkdir(parents=True, exist_ok=True)
    write_card(card, folder / f"{card.name}{SUFFIX}")
    return card


def _trained(
    parent: Card, quantizer: Quantizer, schedule: Schedule, seed: int,
    train: Dataset, validation: Dataset, folder: Path, device: str, quiet: bool,
) -> Card:  # fmt: skip
    """The parent trained under the quantizer, its values already on the grid, as a float card."""
    if schedule.ema:
        raise InputError("quantizing: an average of quantized weights is off their grid: set the schedule's `ema` to 0")
    recipe = Recipe(
        network=NETWORKS.restore(parent.record.network),
        augmentation=AUGMENTATIONS.restore(parent.record.augmentation),
        schedule=schedule,
        seed=seed,
    )
    return fine_tuned(recipe, parent, train, validation, folder, name=parent.name, device=device, quiet=quiet,
                      bits=32, quantizer=quantizer)  # fmt: skip


def _quantized(name: str, source: Card, quantizer: Quantizer, parent: Card) -> Card:
    """`source` with its covered weights on the quantizer's grid."""
    tensors: dict[str, Floats] = dict(source.tensors)
    scales: dict[str, Floats] = {}
    for weight in quantizer.covers(source.graph.weight_names):
        array = tensors[weight]
        mask = source.masks[weight] if weight in source.masks else np.ones(array.shape, np.bool_)
        tensors[weight], scales[weight] = _on_grid(array, mask, quantizer)
    method = dict(source.record.method)
    if source.averaged:  # and stays an average of the same cards, though its parent is another one
        method["of"] = list(source.record.parents)
    record = replace(
        source.record, method=method, quantizer=describe(quantizer), bits=quantizer.bits, parents=(parent.id,)
    )
    return Card(name, record, source.graph, tensors, source.masks, scales)


def _on_grid(array: Floats, mask: NDArray[np.bool_], quantizer: Quantizer) -> tuple[Floats, Floats]:
    values, scale = on_grid(torch.from_numpy(np.array(array)), torch.from_numpy(np.array(mask)), quantizer)
    return values.numpy(), scale.numpy()


def _ranges(card: Card, quantizer: Int8, train: Dataset, seed: int) -> Mapping[str, tuple[float, float]]:
    """Ranges over clean and augmented training images, half of each."""
    chosen = np.random.default_rng(seed).permutation(len(train))[: quantizer.images]
    images = train.images[np.sort(chosen)]
    half = len(images) // 2
    described: dict[str, Any] = dict(card.record.augmentation)
    mixed = np.concatenate([images[:half], augmented(images[half:], described, seed)])
    return activation_ranges(card, mixed, quantizer.share)
