"""Make the released deck `models/cifar10-starter`: `python -m cards_deck.training.starter --data ROOT`.

One AugMix ticket is found by RigL; three more cards are fine-tuned from it with its mask fixed: a second AugMix card
and two under Gaussian noise over AugMix. Of this family three averages join the deck, which cost a kilobyte each: of
the AugMix cards, of the Gaussian ones, and of all four. The gate is the cheapest of those that do best on validation
images. Sized for two CPU cores (under an hour and a half); killed at any moment, the same command goes on from the
last epoch.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import torch

from cards_deck.data import Dataset
from cards_deck.deck import Deck, write_deck
from cards_deck.errors import CardsDeckError
from cards_deck.training.augmentations.augmix import AugMix
from cards_deck.training.augmentations.gaussian import Gaussian
from cards_deck.training.averaging.blends import Bench, blend_cards
from cards_deck.training.decks import make_deck, refit_gate
from cards_deck.training.networks.resnet import ResNet
from cards_deck.training.recipe import Recipe
from cards_deck.training.run import fine_tune_card, train_card, training_data
from cards_deck.training.schedule import Schedule
from cards_deck.training.tickets.rigl import RigL

MAX_CARDS = 3  # of one image; a cascade asks the second and the third only where it is not sure
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
TUNE = replace(BASE, schedule=Schedule(epochs=4, learning_rate=0.04, warmup=0.05, label_smoothing=0.1))
NOISE = Gaussian(std=0.1, vary=True, over="augmix")
TUNED = {
    "gaussian-1": replace(TUNE, augmentation=NOISE, seed=2),
    "augmix-2": replace(TUNE, seed=3),
    "gaussian-2": replace(TUNE, augmentation=NOISE, seed=4),
}
SOUPS = {
    "augmix-soup": ("augmix-1", "augmix-2"),
    "gaussian-soup": ("gaussian-1", "gaussian-2"),
    "soup": ("augmix-1", "augmix-2", "gaussian-1", "gaussian-2"),
}


def make_starter(train: Dataset, validation: Dataset, work: Path, out: Path) -> None:
    """Train what is not trained yet into `work`, then write the deck and the training logs to `out`."""
    (base,) = train_card(BASE, train, validation, work / "augmix-1", device="cpu")
    tuned = [
        fine_tune_card(recipe, base, train, validation, work / name, device="cpu") for name, recipe in TUNED.items()
    ]
    deck = make_deck("cifar10-starter", "3", [base, *tuned], train, validation, max_cards=MAX_CARDS)
    write_deck(add_soups(deck, train, validation), out)
    (out / "logs").mkdir(exist_ok=True)
    for name in ("augmix-1", *TUNED):
        shutil.copy(work / name / "log.jsonl", out / "logs" / f"{name}.jsonl")


def add_soups(deck: Deck, train: Dataset, validation: Dataset) -> Deck:
    """The deck with the averages of `SOUPS`, and a gate fitted to all its cards."""
    bench = Bench(train, validation)
    for name, cards in SOUPS.items():
        deck = blend_cards(deck, cards, bench, kind="uniform", statistics="averaged", name=name)
    return refit_gate(deck, validation, corrupted_images=len(validation))[0]


def main() -> int:
    """Parse the command line and make the deck; returns the exit status. What stops it is one line on stderr."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with CIFAR-10 (torchvision layout or .npz)")
    parser.add_argument("--download", action="store_true", help="fetch CIFAR-10 (170 MB) where the folder lacks it")
    parser.add_argument("--work", type=Path, default=Path("runs/starter"), help="folder for checkpoints and logs")
    parser.add_argument("--out", type=Path, default=Path("models/cifar10-starter"), help="folder of the deck")
    arguments = parser.parse_args()
    torch.set_num_threads(THREADS)
    try:
        data = training_data(arguments.data, download=arguments.download)
        make_starter(*data, arguments.work, arguments.out)
    except (CardsDeckError, OSError) as error:
        print(f"starter: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nstarter: stopped; repeat the command to go on", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
