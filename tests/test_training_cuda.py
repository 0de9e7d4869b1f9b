"""What holds on a GPU, where sums come in any order: the same seed gives nearly the same ticket."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_methods import DENSITY, tiny_recipe
from tiny_training import SHORT, one_thread, patterns, tensors  # noqa: F401  (the fixture acts by being here)

from cards_deck.training.augmentations import AUGMENTATIONS, Augmentation
from cards_deck.training.augmentations.augmix import AugMix
from cards_deck.training.augmentations.prime import Prime
from cards_deck.training.loop import evaluate
from cards_deck.training.networks import prunable_weights
from cards_deck.training.recipe import Workbench
from cards_deck.training.tickets import METHODS

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")

SAME_MASK, SAME_WEIGHT = 0.98, 0.02  # share of equal mask entries; mean difference in units of the mean magnitude


@pytest.mark.parametrize("method", METHODS.names())
def test_the_same_seed_gives_nearly_the_same_ticket(method: str, tmp_path: Path) -> None:
    """Within the tolerance above after a short run; and the density is exact all the same."""
    schedule = replace(SHORT, epochs=3, learning_rate=0.02)
    recipe = replace(tiny_recipe(method), augmentation=AugMix(), schedule=schedule)
    data = patterns(64), patterns(16, seed=1)
    tickets = [
        Workbench(*data, torch.device("cuda"), tmp_path / str(run), quiet=True).find_tickets(recipe) for run in range(2)
    ]
    network = Workbench(*data, torch.device("cpu"), quiet=True).build(recipe)
    total = sum(weight.numel() for weight in prunable_weights(network).values())
    for one, other in zip(*tickets, strict=True):
        masks = [torch.cat([mask.flatten() for mask in ticket.masks.values()]) for ticket in (one, other)]
        if getattr(METHODS[method], "tolerance", "weight") == "weight":
            assert [int(mask.sum()) for mask in masks] == [round(DENSITY * total)] * 2
        assert float((masks[0] == masks[1]).float().mean()) >= SAME_MASK
        weights = [torch.cat([ticket.state[name].flatten() for name in one.masks]) for ticket in (one, other)]
        assert float((weights[0] - weights[1]).abs().mean() / weights[0].abs().mean()) <= SAME_WEIGHT
        assert all(value.device.type == "cpu" for value in one.state.values())


@pytest.mark.parametrize(
    "augmentation",
    [*map(AUGMENTATIONS.build, AUGMENTATIONS.names()), AugMix(jsd=True), Prime(jsd=True)],
    ids=lambda augmentation: f"{type(augmentation).__name__}-{getattr(augmentation, 'jsd', False)}",
)
def test_a_network_learns_under_every_augmentation(augmentation: Augmentation, tmp_path: Path) -> None:
    """Compiled, in bfloat16, at two sizes: the stages of NoisyMix, and three views where there are such."""
    schedule = replace(SHORT, epochs=12, sizes=((0.3, 24),))
    recipe = replace(tiny_recipe("rigl"), augmentation=augmentation, schedule=schedule)
    bench = Workbench(patterns(256), patterns(64, seed=1), torch.device("cuda"), tmp_path, quiet=True)
    (ticket,) = bench.find_tickets(recipe)
    network = bench.build(recipe)
    network.load_state_dict(dict(ticket.state))
    images, labels = (value.cuda() for value in tensors(bench.validation))
    assert evaluate(network, images, labels) > 0.4, "a quarter is chance"
