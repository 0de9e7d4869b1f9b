"""The spectrum that the page draws, the description at /docs.json, the page's files and the settings."""

from __future__ import annotations

import base64
import re
from pathlib import Path

import numpy as np
import pytest
from serving_client import png, serving

from cards_deck.errors import InputError
from cards_deck.explaining import radial_profile, radii
from cards_deck.inference.engines import EngineKind
from cards_deck.inference.fake_deck import fake_deck, fake_images
from cards_deck.inference.predictor import Predictor
from cards_deck.spectrum import log_amplitude
from serving.answers import Explainer
from serving.errors import CODES
from serving.http import ROUTES
from serving.openapi import describe
from serving.pages import FOLDER, PAGES
from serving.settings import Settings


@pytest.mark.parametrize("size", [32, 33])
def test_the_profile_is_the_mean_over_rings_of_the_whole_plane(size: int) -> None:
    image = fake_images(1, size)
    found = radial_profile(log_amplitude(image)[0], radii(size))
    amplitude = np.abs(np.fft.fft2(image[0].transpose(2, 0, 1) / 255, norm="ortho"))
    plane = np.log(np.sqrt((amplitude**2).mean(0)) + 1 / (255 * np.sqrt(12)))
    frequency = np.fft.fftfreq(size, 1 / size)
    radius = np.rint(np.hypot(frequency[:, None], frequency[None, :]))
    expected = [plane[radius == ring].mean() for ring in range(1, size // 2 + 1)]
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_the_picture_is_symmetric_and_bright_in_the_middle() -> None:
    image = fake_images(1)
    prediction = Predictor(fake_deck(), engine=EngineKind.FAKE).predict(image)
    explanation = Explainer(fake_deck()).explain(image[0], prediction)
    plane = np.frombuffer(base64.b64decode(explanation["picture"]), np.uint8).reshape(32, 32).astype(int)
    np.testing.assert_array_equal(plane[1:, 1:], plane[1:, 1:][::-1, ::-1])
    assert plane[14:19, 14:19].mean() > plane[:4].mean() + 50


def test_the_description_names_every_answer_and_refusal() -> None:
    deck = fake_deck()
    document = describe(deck, Settings())
    assert set(document["paths"]) <= set(ROUTES)
    refusals = document["paths"]["/classify"]["post"]["responses"]
    text = " ".join(response["description"] for response in refusals.values())
    for code in ("invalid_image", "body_too_large", "unsupported_media_type", "overloaded"):
        assert f"`{code}`" in text
    assert set(refusals) >= {"200", "400", "408", "413", "415", "429", "500", "503", "504"}
    assert document["components"]["schemas"]["Error"]["properties"]["code"]["enum"] == list(CODES)
    references = re.findall(r"#/components/schemas/(\w+)", str(document))
    assert set(references) == set(document["components"]["schemas"])


def test_an_answer_is_as_described() -> None:
    schemas = describe(fake_deck(), Settings())["components"]["schemas"]
    with serving() as client:
        answer = client.classify(png(), path="/classify?explain=1").json()
        error = client.classify(b"junk").json()
    for value, schema in ((answer, "Answer"), (answer["explanation"], "Explanation"), (error, "Error")):
        assert set(schemas[schema]["required"]) <= set(value) <= set(schemas[schema]["properties"])
    assert set(answer["probabilities"]) == set(schemas["Answer"]["properties"]["probabilities"]["properties"])


def test_the_page_is_served_whole_and_needs_nothing_else() -> None:
    with serving() as client:
        for path, page in PAGES.items():
            response = client.request("GET", path)
            assert (response.status_code, response.content) == (200, page.body)
            assert "default-src 'none'" in response.headers["content-security-policy"]
            tag = response.headers["etag"]
            assert client.request("GET", path, headers={"If-None-Match": tag}).status_code == 304
    html = PAGES["/"].body.decode()
    loaded = re.findall(r'(?:src|href)="(/page/[^"]+)"', html)
    scripts = "".join(page.body.decode() for path, page in PAGES.items() if path.endswith(".js"))
    loaded += [f"/page/{name}" for name in re.findall(r'from "\./([^"]+)"', scripts)]
    assert set(loaded) == set(PAGES) - {"/"}
    assert {file.name for file in FOLDER.iterdir()} == {"index.html", *(Path(path).name for path in loaded)}
    allowed = {"http://www.w3.org/2000/svg"}
    assert set(re.findall(r"https?://[^\s'\"<>)]+", html + scripts)) <= allowed
    ids = set(re.findall(r'\bid="([^"]+)"', html))
    assert set(re.findall(r'\$\("([^"]+)"\)', scripts)) <= ids
    assert "innerHTML" not in scripts


def test_settings_come_from_the_environment_and_bad_ones_are_named() -> None:
    settings = Settings.from_environment({"CARDS_DECK_PATH": "/decks/mine", "PORT": "4000", "CARDS_DECK_WORKERS": ""})
    assert (settings.deck_path, settings.port, settings.workers) == (Path("/decks/mine"), 4000, 1)
    for name, value in (
        ("PORT", "x"),
        ("PORT", "70000"),
        ("CARDS_DECK_WORKERS", "0"),
        ("CARDS_DECK_DEADLINE_SECONDS", "nan"),
        ("CARDS_DECK_ENGINE", "cuda"),
        ("CARDS_DECK_MAX_QUEUE", "1"),
    ):
        with pytest.raises(InputError, match=name):
            Settings.from_environment({name: value})
