"""What the server answers and refuses, in process: the routes, the table of bad inputs, the invariants."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from serving_client import Client, batch_document, encoded, picture, png, serving

from cards_deck.deck import GateConfig
from cards_deck.inference.engines import EngineKind
from cards_deck.inference.fake_deck import fake_deck, fake_images
from cards_deck.inference.predictor import Prediction, Predictor
from serving.errors import CODES
from serving.settings import Settings

SMALL = Settings(max_body_bytes=200_000, max_images=8, max_queue=8, max_batch=4)


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with serving(settings=SMALL) as client:
        yield client


def refused(response: httpx.Response, code: str) -> None:
    body = response.json()
    assert (response.status_code, body["code"]) == (CODES[code][0], code), body
    assert set(body) == {"error", "code", "request_id"}
    assert body["error"]
    assert response.headers["x-request-id"] == body["request_id"]


def test_an_upload_and_a_raw_body_get_the_predictors_answer(client: Client) -> None:
    deck = fake_deck()
    expected = Predictor(deck, engine=EngineKind.FAKE).predict(fake_images(1, 32, 3))
    for response in (client.upload(png(3)), client.classify(png(3))):
        assert response.status_code == 200
        answer = response.json()
        assert answer["label_index"] == expected.labels[0]
        assert answer["label"] == deck.classes[answer["label_index"]]
        assert list(answer["probabilities"]) == list(deck.classes)
        np.testing.assert_allclose(list(answer["probabilities"].values()), expected.probabilities[0], atol=1e-5)
        assert answer["distances"] == pytest.approx(
            dict(zip(deck.references.augmentations, expected.distances[0].tolist(), strict=True)), abs=1e-5
        )
        ran = {deck.cards[k].name: float(w) for k, w in enumerate(expected.weights[0]) if w > 0}
        assert {card["name"]: card["weight"] for card in answer["cards"]} == pytest.approx(ran)
        assert {card["augmentation"] for card in answer["cards"]} <= set(deck.references.augmentations)
        assert answer["unknown_spectrum"] is bool(expected.unknown[0])
        assert answer["deck"] == {"name": deck.name, "version": deck.version}
        assert "explanation" not in answer


def test_curls_octet_stream_for_an_unknown_ending_is_sniffed(client: Client) -> None:
    assert client.upload(png(), "photo.jfif", "application/octet-stream").status_code == 200


def test_an_explanation_has_the_sentence_and_the_spectra(client: Client) -> None:
    answer = client.classify(png(1, 64), path="/classify?explain=1").json()
    explanation = answer["explanation"]
    near = min(answer["distances"], key=answer["distances"].get)
    assert f"nearest to {near} (distance {answer['distances'][near]:.2f}" in explanation["sentence"]
    assert all(card["name"] in explanation["sentence"] for card in answer["cards"])
    assert len(explanation["profile"]) == len(explanation["frequencies"]) == 16
    assert {len(profile) for profile in explanation["references"].values()} == {16}


def test_a_uniform_deck_says_that_it_averages() -> None:
    deck = fake_deck(gate=GateConfig(kind="uniform"))
    with serving(Predictor(deck, engine=EngineKind.FAKE)) as client:
        answer = client.classify(png(), path="/classify?explain=1").json()
        assert [card["weight"] for card in answer["cards"]] == [0.25] * 4
        assert answer["distances"] == {}
        assert answer["explanation"]["unknown_beyond"] is None
        assert answer["explanation"]["sentence"].startswith("This deck averages its cards")
        assert client.samples()["cards_deck_gate_choices_total", (("choice", "uniform"),)] == 1


@pytest.mark.parametrize("size", [32, 48])
def test_an_image_alone_is_answered_as_in_a_batch(client: Client, size: int) -> None:
    images = np.concatenate([fake_images(4, size), np.zeros((1, size, size, 3), np.uint8)])
    together = client.batch(images).json()["answers"]
    assert len(together) == 5
    for image, answer in zip(images, together, strict=True):
        alone = client.batch(image[None]).json()["answers"][0]
        assert alone["probabilities"] == pytest.approx(answer["probabilities"], abs=1e-5)
        assert {k: v for k, v in alone.items() if k != "probabilities"} == {
            k: v for k, v in answer.items() if k != "probabilities"
        }


def test_many_clients_at_once_each_get_their_own_answer() -> None:
    with serving() as client:
        files = [png(seed) for seed in range(24)]
        alone = [client.classify(data).json() for data in files]

        async def all_at_once() -> list[httpx.Response]:
            headers = {"Content-Type": "image/png"}
            return await asyncio.gather(
                *(client.request_soon("POST", "/classify", content=data, headers=headers) for data in files)
            )

        together = [response.json() for response in client.run(all_at_once())]
        for one, other in zip(alone, together, strict=True):
            assert one["label"] == other["label"]
            assert one["probabilities"] == pytest.approx(other["probabilities"], abs=1e-5)


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


def test_request_ids_are_kept_where_harmless_and_replaced_where_not(client: Client) -> None:
    for given_id, kept in (("a-1.b_2", True), ("x" * 129, False), ("a b", False), ("<script>", False)):
        response = client.request("GET", "/livez", headers={"X-Request-ID": given_id})
        assert (response.headers["x-request-id"] == given_id) is kept
    assert len(client.request("GET", "/").headers.get_list("x-request-id")) == 1


def test_a_full_queue_says_when_to_come_back() -> None:
    with serving(settings=Settings(max_images=2, max_queue=2, max_batch=1)) as client:
        images = batch_document(np.zeros((2, 32, 32, 3), np.uint8))

        async def burst() -> list[httpx.Response]:
            return await asyncio.gather(
                *(client.request_soon("POST", "/classify_batch", json=images) for _ in range(40))
            )

        responses = client.run(burst())
        busy = [response for response in responses if response.status_code != 200]
        assert busy
        assert len(busy) < 40
        for response in busy:
            refused(response, "overloaded")
            assert int(response.headers["retry-after"]) >= 1


class BrokenPredictor(Predictor):
    """Fails, or answers with nonsense, on request."""

    fault = "none"

    def predict(self, images: np.ndarray, *, weights: Any = None) -> Prediction:
        if self.fault == "raise":
            raise RuntimeError("secret detail")
        prediction = super().predict(images, weights=weights)
        if self.fault == "nan":
            prediction.probabilities[:] = np.nan
        return prediction


@pytest.mark.parametrize("fault", ["raise", "nan"])
def test_a_fault_of_the_server_is_json_without_details(fault: str) -> None:
    predictor = BrokenPredictor(fake_deck(), engine=EngineKind.FAKE)
    with serving(predictor) as client:
        predictor.fault = fault
        response = client.classify(png())
        refused(response, "internal")
        assert "secret" not in response.text
        predictor.fault = "none"
        assert client.classify(png()).status_code == 200


def test_before_the_start_and_after_the_stop_nothing_is_accepted() -> None:
    with serving() as client:
        client.run(client.application.stop())
        refused(client.request("GET", "/readyz"), "not_ready")
        assert client.request("GET", "/livez").status_code == 200
        client.run(client.application.start())
        assert client.request("GET", "/readyz").status_code == 200
        assert client.classify(png()).status_code == 200


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
