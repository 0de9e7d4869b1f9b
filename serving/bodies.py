"""Request bodies: read under a cap and a deadline, and the JSON of /classify_batch."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import math
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
from starlette.requests import Request

from cards_deck.preprocess import resize_square
from serving.errors import RequestError
from serving.images import Limits


async def read_body(request: Request, max_bytes: int, deadline: float) -> bytes:
    """The whole body. RequestError: 413 over `max_bytes` (declared or streamed), 408 after `deadline` seconds.

    Raises ClientDisconnect where the sender goes away.
    """
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise RequestError("unsupported_encoding", "Send the body without Content-Encoding.")
    length = request.headers.get("content-length", "0").strip()
    if not (length.isascii() and length.isdigit()):
        raise RequestError("bad_request", "Content-Length must be a whole number of bytes.")
    if len(length) > 15 or int(length) > max_bytes:
        raise _too_large(max_bytes)
    body = bytearray()
    try:
        async with asyncio.timeout(deadline):
            async for chunk in request.stream():
                body.extend(chunk)
                if len(body) > max_bytes:
                    raise _too_large(max_bytes)
    except TimeoutError:
        message = f"The body must arrive within {deadline:g} s."
        raise RequestError("body_timeout", message, headers={"Connection": "close"}) from None
    return bytes(body)


def _too_large(max_bytes: int) -> RequestError:
    return RequestError(
        "body_too_large", f"The body may have at most {max_bytes} bytes.", headers={"Connection": "close"}
    )


OPTIONS = ("window", "explain")


@dataclass(frozen=True, eq=False)
class Batch:
    """uint8 [n, size, size, 3]; `window`: the images share one shift; `explain`: say why with each answer."""

    images: npt.NDArray[np.uint8]
    window: bool = False
    explain: bool = False


def parse_batch(body: bytes, size: int, max_images: int, limits: Limits) -> Batch:
    """The images and options of `{"shape": [n, h, w, 3], "data": "<base64>", "window": false, "explain": false}`.

    The last two may be left out. RequestError says what is wrong.
    """
    if not body:
        raise RequestError("empty_body", "The body is empty; send a JSON object with `shape` and `data`.")
    document = _load_json(body)
    if set(document) - {"shape", "data", *OPTIONS}:
        raise RequestError("unknown_field", "The object may only have `shape`, `data`, `window` and `explain`.")
    if not {"shape", "data"} <= set(document):
        raise RequestError("missing_field", "The object must have `shape` and `data`.")
    options = {name: document.get(name, False) for name in OPTIONS}
    if not all(isinstance(value, bool) for value in options.values()):
        raise RequestError("bad_parameter", "`window` and `explain` must be true or false.")
    return Batch(_images(document, size, max_images, limits), **options)


def _images(document: dict[str, Any], size: int, max_images: int, limits: Limits) -> npt.NDArray[np.uint8]:
    shape = _shape(document["shape"])
    if shape[0] == 0:
        raise RequestError("empty_batch", "The batch must hold at least one image.")
    if shape[0] > max_images:
        raise RequestError(
            "batch_too_large", f"A request may hold {max_images} images, this one has {shape[0]}; send several."
        )
    if shape[1:3] != (size, size):
        limits.check(shape[2], shape[1])
    pixels = _decode_base64(document["data"])
    if len(pixels) != math.prod(shape):
        raise RequestError("bad_shape", f"The shape needs {math.prod(shape)} bytes, but the data holds {len(pixels)}.")
    images = np.frombuffer(pixels, np.uint8).reshape(shape)
    if shape[1:3] == (size, size):
        return images
    return np.stack([resize_square(image, size) for image in images])


def _load_json(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body, parse_constant=_no_constants)
    except (ValueError, RecursionError) as error:
        raise RequestError("invalid_json", "The body is not valid JSON.") from error
    if not isinstance(document, dict):
        raise RequestError("invalid_json", "The body must be a JSON object with `shape` and `data`.")
    return document


def _no_constants(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _shape(value: object) -> tuple[int, int, int, int]:
    if (
        not isinstance(value, list)
        or len(value) != 4
        or any(type(side) is not int or not 0 <= side < 2**31 for side in value)
        or value[3] != 3
    ):
        raise RequestError("bad_shape", "`shape` must be four whole numbers [n, h, w, 3].")
    return value[0], value[1], value[2], value[3]


def _decode_base64(value: object) -> bytes:
    if not isinstance(value, str):
        raise RequestError("bad_base64", "`data` must be a string of base64.")
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise RequestError("bad_base64", "`data` must be base64 (RFC 4648, with padding).") from error
