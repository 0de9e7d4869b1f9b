"""Every refusal the server can give: one closed table of codes, and the exception that carries one.

The table is also the label set of `cards_deck_rejected_inputs_total` and the source of the error section of /docs.json.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from cards_deck.errors import CardsDeckError

CODES: Mapping[str, tuple[int, str]] = MappingProxyType(
    {
        "bad_aspect_ratio": (400, "the image is a thin strip"),
        "bad_base64": (400, "the data is not base64"),
        "bad_field_type": (400, "the field `image` is text instead of a file"),
        "bad_multipart": (400, "the multipart body cannot be parsed"),
        "bad_parameter": (400, "an option has a value outside its set"),
        "bad_request": (400, "a header or the body breaks HTTP"),
        "bad_shape": (400, "the shape is not [n, h, w, 3] or does not match the data"),
        "empty_batch": (400, "the batch holds no image"),
        "empty_body": (400, "there is no image in the body"),
        "image_too_small": (400, "a side of the image is below the smallest accepted"),
        "invalid_image": (400, "the bytes are not a readable image"),
        "invalid_json": (400, "the body is not the JSON object described"),
        "missing_field": (400, "the field is missing"),
        "multi_frame": (400, "the image is an animation"),
        "too_many_files": (400, "there is more than one file"),
        "unknown_field": (400, "a field or query option is unknown"),
        "not_found": (404, "there is nothing at this path"),
        "method_not_allowed": (405, "this path does not take this method"),
        "body_timeout": (408, "the body did not arrive in time"),
        "batch_too_large": (413, "the batch holds more images than one request may"),
        "body_too_large": (413, "the body is larger than the limit"),
        "image_too_large": (413, "the image has more pixels or a longer side than the limit"),
        "media_type_mismatch": (415, "the declared image type is not what the bytes hold"),
        "unsupported_encoding": (415, "compressed bodies are not accepted"),
        "unsupported_media_type": (415, "only PNG, JPEG and WEBP are read"),
        "overloaded": (429, "the queue is full; try again after Retry-After seconds"),
        "internal": (500, "a fault of the server; its log has the request id"),
        "not_ready": (503, "the server is starting or stopping"),
        "deadline_exceeded": (504, "the answer was not ready in time"),
    }
)


class RequestError(CardsDeckError):
    """A request that gets no answer: `code` is a key of `CODES`, `status` its HTTP status."""

    def __init__(self, code: str, message: str, *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.status = CODES[code][0]
        self.headers = dict(headers or {})
