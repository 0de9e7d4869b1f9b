"""Train two copies of a card apart, its mask fixed, and measure the error barrier between them: instability analysis.

The copies see another order of the data and other random augmentations, nothing else differs. Where the barrier is low,
cards tuned from this one may be averaged (Frankle et al., ICML 2020):
  cards-deck stability runs/augmix/augmix.card.safetensors --data photos --image-size 64 --schedule.epochs 5 \\
      --schedule.learning_rate 0.03 --out runs/stability
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from cards_deck.card import read_card
from cards_deck.commands.flags import add_data, add_fields, given, load_data
from cards_deck.commands.pack import require_training


def configure(parser: argparse.ArgumentParser, argv: Sequence[str]) -> None:
    """Add the flags."""
    require_training()
    from cards_deck.training.averaging.barrier import POINTS
    from cards_deck.training.schedule import Schedule

    parser.add_argument("card", type=Path, metavar="CARD", help="where both copies start")
    add_data(parser)
    group = parser.add_argument_group("run")
    group.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="gets the checkpoints of both")
    group.add_argument("--seeds", type=int, nargs=2, default=(1, 2), metavar="SEED", help="of the copies (1 2)")
    group.add_argument("--points", type=int, default=POINTS, help=f"of the path, ends included ({POINTS})")
    group.add_argument("--images", type=int, default=4000, help="to recompute batch-norm statistics on (4000)")
    group.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, ... (auto)")
    group.add_argument("--quiet", action="store_true", help="show no progress")
    group.add_argument("--threads", type=int, metavar="N", help="CPU threads (torch's own)")
    add_fields(parser, "schedule", Schedule, title="schedule of the copies")


def run(arguments: argparse.Namespace) -> int:
    """Train both, walk from one to the other, and say whether the card is stable."""
    from cards_deck.inference.gates import CLEAN
    from cards_deck.training.augmentations import AUGMENTATIONS
    from cards_deck.training.averaging.barrier import LIMIT
    from cards_deck.training.averaging.batch_norm import AugmentedImages, BatchNorm
    from cards_deck.training.averaging.instability import instability
    from cards_deck.training.averaging.judge import Judge
    from cards_deck.training.networks import NETWORKS
    from cards_deck.training.recipe import Recipe
    from cards_deck.training.run import set_threads
    from cards_deck.training.schedule import Schedule

    if arguments.threads is not None:
        set_threads(arguments.threads)
    card = read_card(arguments.card)
    recipe = Recipe(
        network=NETWORKS.restore(card.record.network),
        augmentation=AUGMENTATIONS.restore(card.record.augmentation),
        schedule=Schedule(**given(arguments, "schedule")),
    )
    train, validation = load_data(arguments)
    images = min(arguments.images, len(train))
    path = instability(
        card, recipe, tuple(arguments.seeds), train, validation,
        AugmentedImages(train, BatchNorm(images, min(BatchNorm().batch, images))), arguments.out,
        points=arguments.points, device=arguments.device, quiet=arguments.quiet,
    )  # fmt: skip
    before = 1 - Judge.of(validation, corrupted=0).accuracies(card)[CLEAN]
    print(f"the card itself: {100 * before:.2f} % wrong")
    for alpha, error in zip(path.alphas, path.errors, strict=True):
        print(f"alpha {alpha:.2f}: {100 * error:.2f} % wrong")
    stable = "stable: cards tuned from this one may be averaged" if path.height <= LIMIT else "not stable"
    if max(path.errors[0], path.errors[-1]) > before + LIMIT:
        stable = "the copies are worse than the card, which tells nothing: train them longer, or at a lower rate"
    found = f"barrier {100 * path.height:.2f} points on {len(validation):,} held-out images"
    print(f"{found}; {100 * LIMIT:g} are allowed: {stable}")
    return 0
