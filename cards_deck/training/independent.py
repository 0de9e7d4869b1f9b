"""Make the deck that the starter's family is compared with: `python -m cards_deck.training.independent --data ROOT`.

Four cards of one family, one mask, share 48 epochs: 36 of the base and 4 of each fine-tune. These four share nothing:
each finds its own mask and trains 12 epochs from its own initial weights, under the same augmentations. At a density of
8.5 % instead of 10 % their four masks and values take the bytes of the family's four values and one mask. Two cards
train at a time, each on one thread; the same command goes on from the last epoch.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from cards_deck.card import Card
from cards_deck.errors import CardsDeckError
from cards_deck.training.run import pack_deck, set_threads, train_card, training_data
from cards_deck.training.starter import BASE, NOISE
from cards_deck.training.tickets.rigl import RigL

ALONE = replace(BASE, method=RigL(density=0.085), schedule=replace(BASE.schedule, epochs=12))
CARDS = {
    "augmix-1": replace(ALONE, seed=5),
    "gaussian-1": replace(ALONE, augmentation=NOISE, seed=6),
    "augmix-2": replace(ALONE, seed=7),
    "gaussian-2": replace(ALONE, augmentation=NOISE, seed=8),
}


def train_one(name: str, data: Path, work: Path) -> Card:
    """Train the card `name` of `CARDS` on one thread; resumes."""
    set_threads(1)
    (card,) = train_card(CARDS[name], *training_data(data), work / name, device="cpu", quiet=True)
    return card


def main() -> int:
    """Parse the command line and make the deck; returns the exit status. What stops it is one line on stderr."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with CIFAR-10 (torchvision layout or .npz)")
    parser.add_argument("--work", type=Path, default=Path("runs/independent"), help="folder for checkpoints and logs")
    parser.add_argument("--out", type=Path, default=Path("models/cifar10-independent"), help="folder of the deck")
    arguments = parser.parse_args()
    try:
        with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
            train = partial(train_one, data=arguments.data, work=arguments.work)
            cards = list(pool.map(train, CARDS))
        pack_deck(cards, *training_data(arguments.data), arguments.out, name="cifar10-independent")
        (arguments.out / "logs").mkdir(exist_ok=True)
        for name in CARDS:
            shutil.copy(arguments.work / name / "log.jsonl", arguments.out / "logs" / f"{name}.jsonl")
    except (CardsDeckError, OSError) as error:
        print(f"independent: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nindependent: stopped; repeat the command to go on", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
