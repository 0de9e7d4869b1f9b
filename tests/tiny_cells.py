"""A data root, settings and cells that take a second each; shared by the tests of the tickets' evaluation."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from tiny_training import NETWORK, patterns

from cards_deck.data import save_npz
from cards_deck.registry import describe
from cards_deck.training.augmentations.crop_flip import CropFlip
from cards_deck.training.schedule import Schedule
from cards_deck.training.tickets import METHODS
from eval.tickets.cells import Cell, Setting
from eval.tickets.controls import CONTROLS
from eval.tickets.run import Place

SCHEDULE = Schedule(epochs=2, batch_size=16, sizes=((0.5, 24),))


def setting(**changes: Any) -> Setting:
    """Patterns, a tiny network, two short epochs."""
    values: dict[str, Any] = {
        "network": describe(NETWORK),
        "augmentation": describe(CropFlip()),
        "schedule": asdict(SCHEDULE),
        "data": "patterns",
        "images": 64,
        "validation": 16,
        "corrupted": 5,
        "test": 24,
        "test_corrupted": 5,
    }
    return Setting(**{**values, **changes})


def cell(method: str, *, seed: int = 0, given: Cell | None = None, **fields: Any) -> Cell:
    """A cell of a method or a control with these fields."""
    registry = CONTROLS if method in CONTROLS else METHODS
    return Cell(method, setting(), describe(registry.build(method, **fields)), seed, given)


def place(folder: Path) -> Place:
    """A data root with generated images in `folder`, and where cells go."""
    root = folder / "data"
    if not root.is_dir():
        root.mkdir()
        save_npz(patterns(160), root)
        save_npz(patterns(24, seed=1, split="test"), root)
    return Place(root, folder / "report", folder / "work")
