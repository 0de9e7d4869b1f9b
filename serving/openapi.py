"""/docs.json: the OpenAPI description of what this server takes, gives and refuses, written from the loaded deck."""

from __future__ import annotations

from cards_deck.deck import Deck
from serving.errors import CODES
from serving.schemas import Schema, answer, error, explanation
from serving.settings import Settings

_EVERY_ROUTE = ("internal", "not_ready")
_BODY = ("bad_request", "empty_body", "unknown_field", "body_timeout", "body_too_large", "unsupported_encoding",
         "unsupported_media_type", "overloaded", "deadline_exceeded", *_EVERY_ROUTE)  # fmt: skip
_IMAGE = ("bad_aspect_ratio", "image_too_large", "image_too_small")
_CLASSIFY = (*_BODY, *_IMAGE, "bad_field_type", "bad_multipart", "bad_parameter", "invalid_image", "missing_field",
             "media_type_mismatch", "multi_frame", "too_many_files")  # fmt: skip
_BATCH = (*_BODY, *_IMAGE, "bad_base64", "bad_parameter", "bad_shape", "batch_too_large", "empty_batch", "invalid_json",
          "missing_field")  # fmt: skip


def describe(deck: Deck, settings: Settings) -> Schema:
    """An OpenAPI 3.1 document with this deck's classes, cards, augmentations and limits."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "cards-deck",
            "version": deck.version,
            "description": f"Classifies images with the deck {deck.name}. Every response has X-Request-ID.",
            "x-deck": _deck(deck),
            "x-limits": {
                "max_body_bytes": settings.max_body_bytes,
                "max_side": settings.max_side,
                "max_pixels": settings.max_pixels,
            },
        },
        "paths": {
            "/classify": {"post": _classify(deck, settings)},
            "/classify_batch": {"post": _classify_batch(settings)},
            "/livez": {"get": _plain("The process answers.")},
            "/readyz": {"get": _plain("The deck is loaded and answers.")},
            "/metrics": {"get": _plain("Prometheus metrics, prefix cards_deck_.")},
        },
        "components": {"schemas": {"Answer": answer(deck), "Explanation": explanation(deck), "Error": error()}},
    }


def _deck(deck: Deck) -> Schema:
    """What the page shows before the first answer."""
    return {
        "name": deck.name,
        "version": deck.version,
        "classes": list(deck.classes),
        "image_size": deck.image_size,
        "augmentations": list(deck.references.augmentations),
        "cards": [
            {"name": card.name, "id": card.id, "augmentation": card.augmentation, "density": round(card.density, 6)}
            for card in deck.cards
        ],
    }


def _classify(deck: Deck, settings: Settings) -> Schema:
    binary = {"type": "string", "format": "binary"}
    form = {
        "type": "object",
        "properties": {"image": {**binary, "description": "A PNG, JPEG or WEBP file."}},
        "required": ["image"],
        "additionalProperties": False,
    }
    return {
        "operationId": "classify",
        "summary": "Classify one image",
        "description": f"The central square is resized to {deck.image_size} x {deck.image_size}. "
        f"At most {settings.max_body_bytes} bytes, {settings.max_side} pixels per side, {settings.max_pixels} pixels.",
        "parameters": [
            {
                "name": "explain",
                "in": "query",
                "description": "1 adds a sentence, the image's spectrum and the references'.",
                "schema": {"type": "string", "enum": ["0", "1"], "default": "0"},
            }
        ],
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {"schema": form},
                **{f"image/{kind}": {"schema": binary} for kind in ("png", "jpeg", "webp")},
            },
        },
        "responses": {"200": _json("The answer.", "Answer"), **_refusals(_CLASSIFY)},
    }


def _classify_batch(settings: Settings) -> Schema:
    shape = {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 4, "maxItems": 4}
    body = {
        "type": "object",
        "properties": {
            "shape": {**shape, "description": f"[n, h, w, 3], n at most {settings.max_images}."},
            "data": {"type": "string", "contentEncoding": "base64", "description": "n*h*w*3 bytes, uint8, row by row."},
            "window": {
                "type": "boolean",
                "default": False,
                "description": "The images share a shift, as those of one camera: routed by their mean spectrum.",
            },
            "explain": {"type": "boolean", "default": False, "description": "Say why with each answer."},
        },
        "required": ["shape", "data"],
        "additionalProperties": False,
    }
    answers = {
        "type": "object",
        "properties": {"answers": {"type": "array", "items": {"$ref": "#/components/schemas/Answer"}}},
        "required": ["answers"],
    }
    return {
        "operationId": "classify_batch",
        "summary": "Classify an array of images",
        "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
        "responses": {
            "200": {
                "description": "One answer per image, in order.",
                "content": {"application/json": {"schema": answers}},
            },
            **_refusals(_BATCH),
        },
    }


def _json(description: str, schema: str) -> Schema:
    reference = {"$ref": f"#/components/schemas/{schema}"}
    return {"description": description, "content": {"application/json": {"schema": reference}}}


def _plain(description: str) -> Schema:
    return {"summary": description, "responses": {"200": {"description": description}}}


def _refusals(codes: tuple[str, ...]) -> Schema:
    """One response per status, listing the codes that it comes with."""
    by_status: dict[int, list[str]] = {}
    for code in sorted(codes):
        by_status.setdefault(CODES[code][0], []).append(f"`{code}`: {CODES[code][1]}")
    return {str(status): _json("; ".join(lines), "Error") for status, lines in sorted(by_status.items())}
