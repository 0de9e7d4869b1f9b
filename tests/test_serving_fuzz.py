"""Random bytes, damaged images and random documents never break the server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from serving_client import SMALL, Client, encoded, picture, serving

from serving.errors import CODES


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with serving(settings=SMALL) as client:
        yield client


def never_fails(response: httpx.Response) -> None:
    assert response.status_code < 500, response.text
    if response.status_code == 200:
        assert sum(response.json()["probabilities"].values()) == pytest.approx(1, abs=1e-4)
    else:
        assert response.json()["code"] in CODES


FUZZ = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
KINDS = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp"}
SEEDS = {kind: encoded(picture(), kind) for kind in KINDS}


@FUZZ
@given(data=st.binary(max_size=300), kind=st.sampled_from(sorted(KINDS)))
def test_random_bytes_never_break_the_server(client: Client, data: bytes, kind: str) -> None:
    never_fails(client.classify(data, KINDS[kind]))
    never_fails(client.classify(SEEDS[kind][:12] + data, KINDS[kind]))


@FUZZ
@given(kind=st.sampled_from(sorted(KINDS)), where=st.floats(0, 1), junk=st.binary(max_size=8), cut=st.booleans())
def test_damaged_images_never_break_the_server(client: Client, kind: str, where: float, junk: bytes, cut: bool) -> None:
    at = int(where * len(SEEDS[kind]))
    damaged = SEEDS[kind][:at] + junk + (b"" if cut else SEEDS[kind][at + len(junk) :])
    never_fails(client.classify(damaged, KINDS[kind]))


@FUZZ
@given(body=st.binary(max_size=300), boundary=st.text("ab-'", max_size=5))
def test_random_forms_never_break_the_server(client: Client, body: bytes, boundary: str) -> None:
    headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    marked = b"--" + boundary.encode() + b"\r\n" + body
    for content in (body, marked):
        assert client.request("POST", "/classify", content=content, headers=headers).status_code < 500


@FUZZ
@given(
    document=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.sampled_from(["shape", "data", "x"]), inner),
        max_leaves=8,
    )
)
def test_random_json_never_breaks_the_server(client: Client, document: Any) -> None:
    headers = {"Content-Type": "application/json"}
    response = client.request("POST", "/classify_batch", content=json.dumps(document), headers=headers)
    assert response.status_code < 500
