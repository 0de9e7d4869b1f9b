"""Cells about averages of networks: barriers, soups and WiSE-FT, all on cards tuned from one given card."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from cards_deck.card import Card
from cards_deck.inference.gates import CLEAN
from cards_deck.training.averaging.barrier import at, barrier
from cards_deck.training.averaging.batch_norm import AugmentedImages, BatchNorm
from cards_deck.training.averaging.candidates import Candidates
from cards_deck.training.averaging.judge import Judge
from cards_deck.training.averaging.soups import greedy, uniform
from cards_deck.training.averaging.wise_ft import sweep
from cards_deck.training.cards import make_card
from cards_deck.training.recipe import Recipe, Workbench
from cards_deck.training.tickets.ticket import Ticket
from eval.tickets.cells import Cell, Json
from eval.tickets.images import Stock

LOOKED_AT = 2000  # training images for batch-norm statistics


def tunings(cell: Cell, given: Card, ticket: Ticket, bench: Workbench, recipe: Recipe) -> dict[str, Card]:
    """The cards of a `tune`, `soup` or `wise_ft` cell: the given one tuned, as often and as the options say.

    The options of a soup hold `learning_rates`: one tuning for each, in an order of the data of its own.
    """

    def tuned(name: str, changed: Recipe) -> Card:
        assert bench.folder is not None
        own = dataclasses.replace(bench, folder=bench.folder / name)
        found = own.fine_tune(changed, ticket, given.id)
        method = {"name": "fine_tune", "found_by": given.record.method}
        network = own.build(changed).cpu()
        return make_card(name, changed, network, found, bench.train, bits=32, method=method, parents=(given.id,))

    if cell.procedure == "soup":
        return {
            name: tuned(name, changed)
            for number, rate in enumerate(cell.options["learning_rates"], 1)
            for name, changed in [(f"member-{number}", _member(recipe, number, rate))]
        }
    if cell.procedure == "wise_ft":
        return {"base": dataclasses.replace(given, name="base"), "tuned": tuned("tuned", recipe)}
    return {"ticket": tuned("ticket", recipe)}


def _member(recipe: Recipe, number: int, rate: float) -> Recipe:
    schedule = dataclasses.replace(recipe.schedule, learning_rate=rate)
    return dataclasses.replace(recipe, schedule=schedule, seed=1000 * recipe.seed + number)


def judge(stock: Stock) -> Judge:
    """What averages are chosen on: validation images, clean and corrupted."""
    return Judge(stock.domains["validation"])


def looked_at(stock: Stock) -> AugmentedImages:
    """Training images for batch-norm statistics."""
    count = min(LOOKED_AT, len(stock.train))
    return AugmentedImages(stock.train, BatchNorm(count, min(250, count)))


def barrier_between(one: Card, other: Card, stock: Stock) -> Json:
    """The error along the line between two cards, on clean validation images, batch-norm recomputed at each point."""
    return {"barrier": barrier(one, other, judge(stock), looked_at(stock)).record}


def soups(cell: Cell, members: Sequence[Card], stock: Stock) -> Json:
    """The best member, the uniform and the greedy soup; chosen, as in the paper, by clean held-out accuracy."""
    candidates = Candidates(members, judge(stock).clean(), looked_at(stock), cell.options["statistics"])
    count = len(members)
    chosen = greedy(count, candidates.score)
    scores = [candidates.score(tuple(float(i == place) for i in range(count))) for place in range(count)]
    made = {"uniform": candidates.card(uniform(count), "uniform"), "greedy": candidates.card(chosen, "greedy")}
    return {"cards": made, "soup": {"best_member": members[scores.index(max(scores))].name, "greedy": list(chosen)}}


def wise_ft(cell: Cell, base: Card, tuned: Card, stock: Stock) -> Json:
    """Halfway between the base and the tuned card, and at the alpha that is best on validation images."""
    options: dict[str, Any] = {"statistics": cell.options["statistics"]}
    found = sweep(base, tuned, judge(stock), looked_at(stock), **options)
    made = {"half": at(base, tuned, 0.5, looked_at(stock), **options)}
    made["best"] = at(base, tuned, found.best[0], looked_at(stock), **options)
    path = {"alphas": list(found.alphas), "scores": [round(score, 6) for score in found.scores]}
    return {"cards": made, "wise_ft": path | {"alpha": found.best[0], CLEAN: list(found.path.errors)}}
