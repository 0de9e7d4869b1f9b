"""Average cards of a deck into one more card, and write the deck with it: WiSE-FT of two, or a soup of several.

Or give cards a second look: the same weights, as a card that sees images mirrored. It costs a pass and no weights.

A gate is then fitted to the old cards and the new one.

cards-deck blend models/photos --of augmix,gaussian --alpha auto --data photos --image-size 64 --out models/blended
cards-deck blend models/photos --of augmix,gaussian,blur --soup greedy --data photos --image-size 64 --out models/soup
cards-deck blend models/soup --mirror greedy-soup --data photos --image-size 64 --out models/looks
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from cards_deck.commands.flags import add_data, load_data
from cards_deck.commands.gate_flags import add_kind, add_limits, limits
from cards_deck.commands.pack import require_training
from cards_deck.deck import Deck, read_deck, write_deck
from cards_deck.errors import InputError
from cards_deck.inference.gates import Observed, gate_for, score


def configure(parser: argparse.ArgumentParser, argv: Sequence[str]) -> None:
    """Add the flags."""
    require_training()
    from cards_deck.training.averaging.batch_norm import BatchNorm
    from cards_deck.training.averaging.blends import KINDS, SOUPS

    parser.add_argument("deck", type=Path, metavar="DECK", help="the deck's folder")
    add_data(parser)
    group = parser.add_argument_group("average")
    which = group.add_mutually_exclusive_group(required=True)
    which.add_argument("--of", metavar="A,B", help="names of cards of one mask; two without --soup")
    which.add_argument(
        "--mirror", metavar="A,B", help="add a second look of each of these cards instead: it sees images mirrored"
    )
    group.add_argument(
        "--alpha",
        default="auto",
        metavar="SHARE",
        help="of the second card, in (0, 1); auto: chosen on validation images",
    )
    group.add_argument("--soup", choices=SOUPS, help="find a coefficient for each card instead")
    group.add_argument("--card-name", metavar="NAME", help="of the average (made of the cards' names)")
    group.add_argument(
        "--batch-norm", choices=("auto", *KINDS), default="auto",
        help="statistics: averaged, recomputed on augmented training images, or the better on validation (auto)",
    )  # fmt: skip
    group.add_argument("--images", type=int, default=BatchNorm().images, help="to recompute statistics on (4000)")
    group.add_argument("--union", action="store_true", help="allow different masks: what any card keeps is kept")
    group.add_argument("--allow-barrier", action="store_true", help="allow cards that do not lie in one basin")
    group.add_argument("--threads", type=int, metavar="N", help="CPU threads (torch's own)")
    group = parser.add_argument_group("deck")
    group.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="the new deck's; may be DECK")
    group.add_argument("--deck-name", metavar="NAME", help="of the deck (the name of FOLDER)")
    group.add_argument("--deck-version", metavar="VERSION", help="of the deck (that of DECK)")
    add_kind(group, most_cards=None, most_loss=None, told="as DECK's gate")
    add_limits(parser, kept="as DECK's")


def run(arguments: argparse.Namespace) -> int:
    """Average, measure, fit a gate, write the deck, list its cards and say what the gate does with the new one."""
    from cards_deck.commands.show import table
    from cards_deck.training.averaging.batch_norm import BatchNorm
    from cards_deck.training.averaging.blends import Bench, blend_cards
    from cards_deck.training.averaging.looks import add_looks
    from cards_deck.training.decks import refit_gate
    from cards_deck.training.run import set_threads

    if arguments.threads is not None:
        set_threads(arguments.threads)
    if arguments.soup is not None and arguments.alpha != "auto":
        raise InputError("--alpha belongs to two cards, --soup finds its own coefficients: leave one of them out")
    if arguments.mirror is not None and (given := _of_averages(arguments)):
        raise InputError(f"--mirror makes no average: leave out {', '.join(given)}")
    alpha = _alpha(arguments.alpha)
    old = read_deck(arguments.deck)
    train, validation = load_data(arguments)
    images = min(arguments.images, len(train))
    bench = Bench(train, validation, BatchNorm(images, min(BatchNorm().batch, images)))
    if arguments.mirror is not None:
        deck = add_looks(old, arguments.mirror.split(","), validation)
    else:
        deck = blend_cards(
            old, arguments.of.split(","), bench, alpha=alpha, kind=arguments.soup, name=arguments.card_name,
            statistics=None if arguments.batch_norm == "auto" else arguments.batch_norm,
            union=arguments.union, allow_barrier=arguments.allow_barrier,
        )  # fmt: skip
    deck, observed = refit_gate(
        deck, validation, arguments.gate, most_cards=arguments.most_cards, most_loss=arguments.most_loss
    )
    name, version = arguments.deck_name or arguments.out.name, arguments.deck_version or old.version
    deck = replace(deck, name=name, version=version, gate=replace(deck.gate, **limits(arguments)))
    write_deck(deck, arguments.out)
    print(f"{table(replace(deck, folder=arguments.out))}\n\n{_gate(old, deck, observed)}")
    return 0


def _of_averages(arguments: argparse.Namespace) -> list[str]:
    """The flags that were given and say how to average."""
    usual = {"soup": None, "alpha": "auto", "card_name": None, "batch_norm": "auto", "union": False,
             "allow_barrier": False}  # fmt: skip
    return [f"--{name.replace('_', '-')}" for name, value in usual.items() if getattr(arguments, name) != value]


def _gate(old: Deck, new: Deck, observed: Observed) -> str:
    """What was chosen, how it scores before and after, and how often the cards that were added answer."""
    ids = [card.id for card in new.cards]
    same = replace(observed, logits=observed.logits[[ids.index(card.id) for card in old.cards]])
    before, after = score(gate_for(old), same), score(gate_for(new), observed)
    chosen, decision = new.measured["gate"]["chosen"], observed.decide(gate_for(new))
    lines = [
        f"gate {new.gate.kind}: validation score {chosen['score']:.2%} at {chosen['cards']:.2f} cards per image, on "
        "images that it was not fitted on",
        f"on all of them, fitted on or not: {after.score:.2%} at {after.cards:.2f}; before, with the {old.gate.kind} "
        f"gate of {len(old.cards)} cards: {before.score:.2%} at {before.cards:.2f}",
    ]
    for place in sorted(set(range(len(ids))) - {ids.index(card.id) for card in old.cards}):
        share = float(observed.share @ decision.ran[:, place])
        lines.append(f"{new.cards[place].name} answers {share:.1%} of them{'' if share else ': try another --gate'}")
    if "tuned" in old.measured.get("gate", {}):
        lines.append("the old gate was tuned to images of yours; to have that again, use `cards-deck tune-gate`")
    return "\n".join(lines)


def _alpha(text: str) -> float | None:
    if text == "auto":
        return None
    try:
        return float(text)
    except ValueError:
        raise InputError(f"--alpha must be auto or a number between 0 and 1, got {text!r}") from None
