"""The shapes of the answers as JSON Schema, written from the loaded deck."""

from __future__ import annotations

from typing import Any

from cards_deck.deck import Deck
from cards_deck.explaining import WIDENED
from serving.errors import CODES

Schema = dict[str, Any]


def answer(deck: Deck) -> Schema:
    """An answer, with or without its explanation."""
    card = {
        "name": {"type": "string", "enum": [card.name for card in deck.cards]},
        "augmentation": {"type": "string"},
        "weight": {"type": "number", "minimum": 0, "maximum": 1},
    }
    properties = {
        "label": {"type": ["string", "null"], "enum": [*deck.classes, None], "description": "null: the deck abstains."},
        "label_index": {"type": ["integer", "null"], "minimum": 0, "maximum": len(deck.classes) - 1},
        "abstained": {"type": "boolean", "description": "The spectrum is unknown and no class is probable enough."},
        "probabilities": _numbers(deck.classes),
        "cards": {"type": "array", "items": objects(card), "description": "Those that ran, heaviest first."},
        "distances": _numbers(deck.references.augmentations),
        "unknown_spectrum": {"type": "boolean"},
        "pooled_early": {"type": "boolean", "description": "Time was up before every card that was wanted had run."},
        "deck": objects({"name": {"type": "string"}, "version": {"type": "string"}}),
    }
    schema = objects(properties)
    schema["properties"]["explanation"] = {"$ref": "#/components/schemas/Explanation"}
    return schema


def explanation(deck: Deck) -> Schema:
    """Why: of /classify with the spectra, of /classify_batch without."""
    profile = {"type": "array", "items": {"type": "number"}, "description": "Mean log amplitude per frequency."}
    schema = objects({"sentence": {"type": "string"}, "why": _why(deck)})
    schema["properties"] |= {
        "frequencies": {"type": "array", "items": {"type": "integer"}, "description": "Cycles per image."},
        "profile": profile,
        "references": objects(dict.fromkeys(deck.references.augmentations, profile)),
        "unknown_beyond": {"type": "number", "description": "Nearest distance that counts as unknown."},
        "picture": {"type": "string", "contentEncoding": "base64", "description": "uint8 [size, size]."},
        "size": {"type": "integer"},
    }
    return schema


def _why(deck: Deck) -> Schema:
    number = {"type": ["number", "null"]}
    return objects(
        {
            "nearest": {"type": "string", "enum": list(deck.references.augmentations)},
            "distance": {"type": "number"},
            "tail": {
                "type": "number",
                "description": "Share of that augmentation's training images that lie nearer.",
            },
            "margin": {**number, "description": "How much farther the second reference is, relative to the nearest."},
            "preferred": {
                "type": ["string", "null"],
                "description": "The card that a learned gate prefers, for itself or as an average of others.",
            },
            "preference": {**number, "description": "How much it does."},
            "strangeness": {
                **number,
                "description": "Standard deviations from clean images, where the gate prefers cards by that alone.",
            },
            "confidence": {"type": "number"},
            "asked": {"type": "integer", "description": "Cards named before any had answered."},
            "widened": {"type": ["string", "null"], "enum": [*WIDENED, None], "description": "Why more cards ran."},
            "first_confidence": {
                **number,
                "description": "How sure the first card's answer was, calibrated, where it decided if more were asked.",
            },
            "sure_by": {
                "type": ["string", "null"],
                "enum": ["probability", "lead", None],
                "description": "What that is: its probability, or that less the next class's.",
            },
            "threshold": {
                **number,
                "description": "From how sure on no card is asked after the first; null: nothing is enough.",
            },
            "window": {"type": "integer", "description": "Images routed together; 0 for none."},
            "heard": {
                "type": "boolean",
                "description": "Whether augmentations share the answer by what they said as well.",
            },
            "votes": {
                "type": "array",
                "items": _vote(deck),
                "description": "What the weights come from where cards are trusted by the class that they name.",
            },
        }
    )


def _vote(deck: Deck) -> Schema:
    share = {"type": "number", "minimum": 0, "maximum": 1}
    return objects(
        {
            "card": {"type": "string", "enum": [card.name for card in deck.cards]},
            "named": {"type": "string", "enum": list(deck.classes)},
            "share": {**share, "description": "What the spectrum gave it of all that ran."},
            "reliability": {**share, "description": "How often it is right when it names that class."},
            "power": {"type": "number", "description": "Its weight is the share times the reliability to this power."},
        }
    )


def error() -> Schema:
    """A refusal."""
    string = {"type": "string"}
    return objects({"error": string, "code": {"type": "string", "enum": list(CODES)}, "request_id": string})


def objects(properties: Schema) -> Schema:
    """An object that has all of these."""
    return {"type": "object", "properties": properties, "required": list(properties)}


def _numbers(names: tuple[str, ...]) -> Schema:
    return objects({name: {"type": "number", "minimum": 0} for name in names})
