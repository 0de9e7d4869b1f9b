"""Make the released deck `models/cifar10-starter`: `python -m cards_deck.training.starter --data ROOT`.

One AugMix ticket is found by RigL; three more cards are fine-tuned from it with its mask fixed: a second AugMix card
and two under Gaussian noise over AugMix. Sized for two CPU cores (about 80 minutes); killed at any moment, the same
command goes on from the last epoch.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import torch

from cards_deck.data import load, split_train_validation
from cards_deck.training.augmentations.augmix import AugMix
from cards_deck.training.augmentations.gaussian import Gaussian
from cards_deck.training.networks.resnet import ResNet
from cards_deck.training.recipe import Recipe, Workbench
from cards_deck.training.schedule import Schedule
from cards_deck.training.tickets.rigl import RigL

THREADS = 2  # part of the recipe: another number sums in another order

BASE = Recipe(
    network=ResNet(widths=(16, 48, 128, 320), blocks=(1, 1, 1, 1)),
    method=RigL(density=0.1),
    augmentation=AugMix(),
    schedule=Schedule(
        epochs=36, learning_rate=0.15, warmup=0.15, label_smoothing=0.1, sizes=((8 / 36, 20), (20 / 36, 24))
    ),
    seed=1,
)
TUNE = replace(BASE, schedule=Schedule(epochs=4, learning_rate=0.03, warmup=0.05, label_smoothing=0.1))
NOISE = Gaussian(std=0.1, vary=True, over="augmix")
TUNED = {
    "gaussian-1": replace(TUNE, augmentation=NOISE, seed=2),
    "augmix-2": replace(TUNE, seed=3),
    "gaussian-2": replace(TUNE, augmentation=NOISE, seed=4),
}


def main() -> None:
    """Train what is not trained yet, then pack the deck."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with CIFAR-10 (torchvision layout or .npz)")
    parser.add_argument("--work", type=Path, default=Path("runs/starter"), help="folder for checkpoints and logs")
    arguments = parser.parse_args()
    torch.set_num_threads(THREADS)
    train, validation = split_train_validation(load(arguments.data, "cifar10", "train"), 5000)
    bench = Workbench(train, validation, torch.device("cpu"), arguments.work / "augmix-1")
    (base,) = bench.find_tickets(BASE)
    for name, recipe in TUNED.items():
        replace(bench, folder=arguments.work / name).fine_tune(recipe, base, "augmix-1")


if __name__ == "__main__":
    main()
