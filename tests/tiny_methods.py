"""Settings under which every ticket method does all that it does within a few steps; shared by tests of training."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tiny_training import NETWORK

from cards_deck.training.augmentations.gaussian import Gaussian
from cards_deck.training.recipe import Recipe
from cards_deck.training.schedule import Schedule
from cards_deck.training.tickets import METHODS

DENSITY = 0.3
# Everything that a checkpoint has to carry: an average, momentum, sizes that change.
SCHEDULE = Schedule(epochs=3, batch_size=16, label_smoothing=0.1, ema=0.5, sizes=((0.34, 24),))
SETTINGS: dict[str, dict[str, Any]] = {
    "bimp": {"rounds": 2, "dense": 0.34, "retrain": "allr"},
    "colt": {"rate": 0.5},
    "double_win": {"rate": 0.5, "training": "adversarial", "attack_steps": 1},
    "dst_ee": {"interval": 3},
    "fine_tune": {"epochs": 0.67, "learning_rate": 0.1},
    "free_tickets": {"tickets": 2, "interval": 3, "escape": 0.5},
    "gradual_magnitude": {"interval": 3, "end": 0.6},
    "lottery": {"rate": 0.5, "rewind": 2},
    "lr_rewinding": {"rate": 0.5},
    "rigl": {"interval": 3},
    "set": {"interval": 3},
    "snip": {"batch": 32},
    "grasp": {"per_class": 4},
    "sup_tickets": {"tickets": 2, "share": 0.67, "interval": 3},
    "synflow": {"rounds": 5},
    "tost": {"rescale_steps": 2},
}
UNAVERAGED = ("biprop", "edge_popup")  # an average of masks is no mask


def tiny_recipe(method: str, seed: int = 1, **fields: Any) -> Recipe:
    """How a test makes a card by `method`."""
    found_by = METHODS.build(method, **{"density": DENSITY, **SETTINGS.get(method, {}), **fields})
    schedule = replace(SCHEDULE, ema=0.0) if method in UNAVERAGED else SCHEDULE
    return Recipe(NETWORK, found_by, Gaussian(vary=True), schedule, seed)
