"""The table of bad requests and what each is refused with, in process."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from serving_client import SMALL, Client, batch_document, png, refused, serving

from serving.settings import Settings


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with serving(settings=SMALL) as client:
        yield client


def form(*parts: bytes, boundary: str = "xx") -> dict[str, Any]:
    body = b"".join(b"--xx\r\n" + part + b"\r\n" for part in parts) + b"--xx--\r\n"
    return {"content": body, "headers": {"Content-Type": f"multipart/form-data; boundary={boundary}"}}


def file_part(data: bytes, name: str = "image", filename: str = "a.png") -> bytes:
    head = f'Content-Disposition: form-data; name="{name}"; filename="{filename}"\r\nContent-Type: image/png\r\n\r\n'
    return head.encode() + data


TEXT_PART = b'Content-Disposition: form-data; name="image"\r\n\r\nhttp://169.254.169.254/latest'
BAD_FORMS: dict[str, tuple[dict[str, Any], str]] = {
    "no part": (form(), "missing_field"),
    "other field": (form(file_part(png(), "file")), "missing_field"),
    "an address as text": (form(TEXT_PART), "bad_field_type"),
    "two files": (form(file_part(png()), file_part(png())), "too_many_files"),
    "another field too": (form(file_part(png()), file_part(b"1", "top_k")), "unknown_field"),
    "many parts": (form(*[file_part(b"", "x")] * 2000), "bad_multipart"),
    "huge boundary": (form(file_part(png()), boundary="x" * 5000), "bad_multipart"),
    "no boundary": ({"content": b"--xx", "headers": {"Content-Type": "multipart/form-data"}}, "bad_multipart"),
    "long header": (form(b"X-Y: " + b"a" * 20_000 + b"\r\n\r\n"), "bad_multipart"),
    "cut": ({"content": b"--xx\r\n", "headers": form()["headers"]}, "bad_multipart"),
    "not a form": ({"content": b"{}", "headers": form()["headers"]}, "bad_multipart"),
    "empty": ({"content": b"", "headers": form()["headers"]}, "empty_body"),
    "empty file": (form(file_part(b"")), "empty_body"),
}


@pytest.mark.parametrize("case", BAD_FORMS)
def test_bad_forms_are_refused(client: Client, case: str) -> None:
    options, code = BAD_FORMS[case]
    refused(client.request("POST", "/classify", **options), code)


def test_a_file_name_is_never_looked_at(client: Client) -> None:
    for name in ("../../etc/passwd", "\u00e9" * 2000, "a%00.exe"):
        assert client.request("POST", "/classify", **form(file_part(png(), filename=name))).status_code == 200


@pytest.mark.parametrize(
    ("media_type", "code"),
    [
        (None, "unsupported_media_type"),
        ("text/plain", "unsupported_media_type"),
        ("application/json", "unsupported_media_type"),
        ("application/x-www-form-urlencoded", "unsupported_media_type"),
        ("application/vnd.bentoml+pickle", "unsupported_media_type"),
        ("image/gif", "unsupported_media_type"),
        ("image/svg+xml", "unsupported_media_type"),
        ("image/eps", "unsupported_media_type"),
        ("image/jpeg", "media_type_mismatch"),
    ],
)
def test_other_media_types_are_refused(client: Client, media_type: str | None, code: str) -> None:
    refused(client.classify(png(), media_type), code)


def test_bodies_are_capped_by_their_header_and_while_they_stream(client: Client) -> None:
    refused(client.classify(b"x" * 200_001), "body_too_large")
    read = 0

    async def endless() -> Any:
        nonlocal read
        while True:
            read += 1
            yield b"x" * 10_000

    headers = {"Content-Type": "image/png"}
    refused(client.request("POST", "/classify", content=endless(), headers=headers), "body_too_large")
    assert read <= 22


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"Content-Length": "-1"}, "bad_request"),
        ({"Content-Length": "ten"}, "bad_request"),
        ({"Content-Length": "9" * 30}, "body_too_large"),
        ({"Content-Encoding": "gzip"}, "unsupported_encoding"),
    ],
)
def test_bad_headers_are_refused(client: Client, headers: dict[str, str], code: str) -> None:
    options = {"content": png(), "headers": {"Content-Type": "image/png", **headers}}
    refused(client.request("POST", "/classify", **options), code)


def test_a_body_that_does_not_arrive_is_given_up() -> None:
    async def stalled() -> Any:
        yield b"x"
        await asyncio.sleep(30)

    with serving(settings=Settings(deadline=0.05)) as client:
        headers = {"Content-Type": "image/png"}
        refused(client.request("POST", "/classify", content=stalled(), headers=headers), "body_timeout")


GOOD = batch_document(np.zeros((2, 32, 32, 3), np.uint8))
BAD_BATCHES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "empty_body"),
    "not JSON": (b"{", "invalid_json"),
    "trailing garbage": (b"{}}", "invalid_json"),
    "not UTF-8": (b'{"shape": "\xff"}', "invalid_json"),
    "an address": (b'"http://169.254.169.254/"', "invalid_json"),
    "a list": (b"[]", "invalid_json"),
    "deep": (b"[" * 100_000, "invalid_json"),
    "NaN": (b'{"shape": [NaN, 32, 32, 3], "data": ""}', "invalid_json"),
    "no data": (b'{"shape": [1, 32, 32, 3]}', "missing_field"),
    "unknown field": (json.dumps({**GOOD, "top_k": 1}).encode(), "unknown_field"),
    "floats": (json.dumps({**GOOD, "shape": [2.0, 32, 32, 3]}).encode(), "bad_shape"),
    "infinite": (b'{"shape": [1e999, 32, 32, 3], "data": ""}', "bad_shape"),
    "negative": (json.dumps({**GOOD, "shape": [-2, 32, 32, 3]}).encode(), "bad_shape"),
    "huge": (json.dumps({**GOOD, "shape": [2, 2**62, 2**62, 3]}).encode(), "bad_shape"),
    "channels first": (json.dumps({**GOOD, "shape": [2, 3, 32, 32]}).encode(), "bad_shape"),
    "five sides": (json.dumps({**GOOD, "shape": [2, 32, 32, 3, 1]}).encode(), "bad_shape"),
    "too few bytes": (json.dumps({**GOOD, "shape": [3, 32, 32, 3]}).encode(), "bad_shape"),
    "not base64": (json.dumps({**GOOD, "data": "###"}).encode(), "bad_base64"),
    "bad padding": (json.dumps({**GOOD, "data": "abc"}).encode(), "bad_base64"),
    "numbers": (json.dumps({**GOOD, "data": [1, 2]}).encode(), "bad_base64"),
    "no images": (json.dumps({**GOOD, "shape": [0, 32, 32, 3]}).encode(), "empty_batch"),
    "many images": (json.dumps({**GOOD, "shape": [9, 32, 32, 3]}).encode(), "batch_too_large"),
    "large images": (json.dumps({**GOOD, "shape": [2, 5000, 5000, 3]}).encode(), "image_too_large"),
    "small images": (json.dumps({**GOOD, "shape": [2, 4, 4, 3]}).encode(), "image_too_small"),
}


@pytest.mark.parametrize("case", BAD_BATCHES)
def test_bad_batches_are_refused(client: Client, case: str) -> None:
    content, code = BAD_BATCHES[case]
    headers = {"Content-Type": "application/json"}
    refused(client.request("POST", "/classify_batch", content=content, headers=headers), code)


def test_a_batch_must_be_declared_as_json(client: Client) -> None:
    refused(client.request("POST", "/classify_batch", content=json.dumps(GOOD)), "unsupported_media_type")


def test_unknown_paths_methods_and_options(client: Client) -> None:
    refused(client.request("GET", "/no/such/path"), "not_found")
    for method, path, allow in (
        ("GET", "/classify", "POST"),
        ("POST", "/", "GET, HEAD"),
        ("PUT", "/livez", "GET, HEAD"),
    ):
        response = client.request(method, path)
        refused(response, "method_not_allowed")
        assert response.headers["allow"] == allow
    refused(client.classify(png(), path="/classify?top_k=3"), "unknown_field")
    refused(client.classify(png(), path="/classify?explain=yes"), "bad_parameter")
