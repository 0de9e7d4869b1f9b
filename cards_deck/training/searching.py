"""A search over recipes: the cards of a deck recipe as trials, each measured by itself on validation images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cards_deck.card import read_card
from cards_deck.costs import card_costs
from cards_deck.files import write_bytes
from cards_deck.training.building import CORRUPTED, SPEED, Site, card_file, train_cards
from cards_deck.training.deck_recipe import DeckRecipe
from cards_deck.training.trials import Domains, measure

Json = dict[str, Any]


def search(recipe: DeckRecipe, site: Site, out: Path) -> Json:
    """Train the cards of `recipe`, measure each on validation images, write to `out` what was tried and found.

    Accuracy is clean, under the four validation corruptions, and their mean, which ranks. Cards may be of different
    settings of one augmentation, since no deck is made of them; soups are left out.
    """
    recipe, site = train_cards(recipe, site)
    _, validation = site.load()
    corrupted = int(recipe.gate.get("corrupted_images", CORRUPTED))
    rows = []
    for trial in recipe.cards:
        card = read_card(card_file(site.work, trial.name))
        (found,), _ = measure([card], Domains(validation, {}, corrupted=corrupted))
        cost = card_costs(card, validation.images.shape[1])
        rows.append(
            {
                "name": trial.name,
                "from": trial.parent,
                "recipe": trial.recipe.describe(),
                "validation": {key: value for key, value in found.record.items() if key != "domains"},
                "density": round(cost.parameter_density, 6),
                "multiply_adds": cost.macs_executed,
                "speed": json.loads((site.work / trial.name / SPEED).read_text()),
            }
        )
    rows.sort(key=lambda row: (-row["validation"]["score"], row["name"]))
    result = {"recipe": recipe.name, "smoke": site.smoke, "corrupted_images": corrupted, "trials": rows}
    write_bytes(out, (json.dumps(result, indent=1) + "\n").encode())
    return result


def ranking(found: Json) -> str:
    """The trials as text, the best first."""
    head = ("trial", "score", "clean", "corrupted", "density", "images/s")
    rows = [head]
    for row in found["trials"]:
        validation, rate = row["validation"], row["speed"]["images_per_second"]
        shown = [validation["score"], validation["accuracy"], validation.get("corrupted"), row["density"]]
        cells = ["–" if value is None else f"{100 * value:.2f} %" for value in shown]
        rows.append((row["name"], *cells, "–" if rate is None else f"{rate:,.0f}"))
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)
