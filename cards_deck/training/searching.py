"""A search over recipes: the cards of a deck recipe as trials, each measured by itself on validation images."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cards_deck import __version__
from cards_deck.card import read_card
from cards_deck.costs import card_costs
from cards_deck.files import write_bytes
from cards_deck.inference.gates import Observed
from cards_deck.machine import hardware, package_versions
from cards_deck.training.building import CORRUPTED, SPEED, Site, card_file, train_cards
from cards_deck.training.deck_recipe import DeckRecipe
from cards_deck.training.ranking import document
from cards_deck.training.trials import Domains, measure

Json = dict[str, Any]
PACKAGES = ("torch", "numpy")


def search(recipe: DeckRecipe, site: Site, out: Path) -> Json:
    """Train the cards of `recipe`, measure each on validation images, write to `out` what was tried and found.

    Accuracy is clean, under the four validation corruptions, and their mean, which ranks; each trial is compared with
    the first one image by image. Cards may be of different settings of one augmentation, since no deck is made of them;
    soups are left out. The same as text goes into a `.md` beside `out`.
    """
    recipe, site = train_cards(recipe, site)
    _, validation = site.load()
    corrupted = int(recipe.gate.get("corrupted_images", CORRUPTED))
    cards = [read_card(card_file(site.work, trial.name)) for trial in recipe.cards]
    found, observed = measure(cards, Domains(validation, {}, corrupted=corrupted))
    rows = []
    for place, (trial, card) in enumerate(zip(recipe.cards, cards, strict=True)):
        cost = card_costs(card, validation.images.shape[1])
        rows.append(
            {
                "name": trial.name,
                "from": trial.parent,
                "recipe": trial.recipe.describe(),
                "validation": {key: value for key, value in found[place].record.items() if key != "domains"},
                "against_first": _difference(observed, place) if place else None,
                "density": round(cost.parameter_density, 6),
                "flop_density": round(cost.flop_density, 6),
                "multiply_adds": cost.macs_executed,
                "speed": json.loads((site.work / trial.name / SPEED).read_text()),
            }
        )
    first = rows[0]
    rows.sort(key=lambda row: (-row["validation"]["score"], row["name"]))
    result = {
        "recipe": recipe.name, "version": recipe.version, "smoke": site.smoke, "corrupted_images": corrupted,
        "first": first["name"], "trials": rows,
        "date": datetime.now(UTC).isoformat(timespec="seconds"), "hardware": hardware(),
        "versions": {"cards-deck": __version__, **package_versions(PACKAGES)},
    }  # fmt: skip
    write_bytes(out, (json.dumps(result, indent=1) + "\n").encode())
    write_bytes(out.with_suffix(".md"), document(result).encode())
    return result


def _difference(observed: Observed, place: int) -> Json:
    """Score of a trial less that of the first one, with the 95 % interval that the choice of images leaves.

    Of the images that were corrupted, each weighs by its answers clean and in all cells.
    """
    images = int((observed.cell == observed.cell.max()).sum())
    right = observed.logits.argmax(axis=2) == observed.labels
    clean, *cells = (right[:, observed.cell == cell][:, :images] for cell in range(len(observed.names)))
    means = (clean + np.mean(cells, axis=0)) / 2 if cells else clean.astype(np.float64)
    gain: NDArray[np.float64] = means[place] - means[0]
    margin = 1.96 * float(gain.std(ddof=1)) / len(gain) ** 0.5
    value = float(gain.mean())
    return {"n": images, "value": round(value, 6), "low": round(value - margin, 6), "high": round(value + margin, 6)}
