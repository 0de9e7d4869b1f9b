"""Why an answer was given: the numbers are the prediction's, the sentence says them, and the page holds everything."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fitted_gates import KINDS, fitted_deck
from numpy.typing import NDArray
from photos import noisy, photo
from PIL import Image

from cards_deck.__main__ import main
from cards_deck.deck import Deck, GateConfig, read_deck, write_deck
from cards_deck.explaining import WIDENED, Reasons, plane, reasons, sentence, shade, widenings
from cards_deck.explaining.charts import bars, coloured, picture, profiles
from cards_deck.explaining.page import explain, page
from cards_deck.explaining.wording import farther
from cards_deck.inference.engines import EngineKind
from cards_deck.inference.fake_deck import fake_deck, fake_images
from cards_deck.inference.predictor import Prediction, Predictor
from cards_deck.preprocess import read_square
from cards_deck.spectrum import log_amplitude

FLAT = np.full((1, 32, 32, 3), 130, np.uint8)


def predict(images: NDArray[np.uint8], deck: Deck, **changes: Any) -> Prediction:
    found = Predictor(deck, engine=EngineKind.FAKE).predict(images)
    return dataclasses.replace(found, **changes)


def said(images: NDArray[np.uint8], deck: Deck | None = None, *, window: int = 0, **changes: Any) -> str:
    deck = deck or fake_deck()
    return sentence(reasons(deck, predict(images, deck, **changes), 0, window=window))


def test_the_numbers_are_those_of_the_prediction() -> None:
    deck, images = fake_deck(), np.concatenate([fake_images(3), noisy(fake_images(3), 26), FLAT])
    prediction = predict(images, deck)
    for row in range(len(images)):
        why = reasons(deck, prediction, row)
        distances = dict(zip(deck.references.augmentations, prediction.distances[row].tolist(), strict=True))
        assert why.nearest == min(distances, key=distances.__getitem__)
        assert (why.distance, why.second_distance) == tuple(sorted(distances.values()))
        assert why.margin == pytest.approx(why.second_distance / why.distance - 1)
        tails = dict(zip(distances, deck.references.calibrated(prediction.distances)[row].tolist(), strict=True))
        assert why.tail == tails[why.nearest]
        assert why.confidence == prediction.probabilities[row].max()
        weights = {deck.cards[k].name: w for k, w in enumerate(prediction.weights[row].tolist()) if w > 0}
        assert dict(why.cards) == weights
        assert why.unknown == prediction.unknown[row]
    assert why.unknown
    json.dumps(why.numbers(), allow_nan=False)


def test_a_plain_case_is_said_with_its_numbers() -> None:
    deck = fake_deck(gate=GateConfig(parameters={"margin": 0.0}))
    found = said(fake_images(1), deck)
    why = reasons(deck, predict(fake_images(1), deck), 0)
    assert found == (
        f"The spectrum is nearest to augmix (distance {why.distance:.2f}, farther than {why.tail:.0%} of its training "
        f"images; gaussian is at {why.second_distance:.2f}): augmix_1 (50%) and augmix_2 (50%) answered {why.label} "
        f"with {why.confidence:.0%}."
    )


def test_close_spectra_unknown_ones_doubt_time_and_abstention_are_said() -> None:
    close = fake_deck(gate=GateConfig(parameters={"margin": 1e6}))
    assert "and the two are too close to choose one" in said(fake_images(1), close)
    assert "farther from every reference than 99.5% of the training images" in said(FLAT)
    ran = np.array([[True, True, True, False]])
    assert "the first answer was not sure enough" in said(fake_images(1), ran=ran)
    assert said(fake_images(1), in_time=np.zeros(1, np.bool_)).endswith("time was up before the other cards.")
    careful = fake_deck(gate=GateConfig(abstain_below=0.9))
    assert "which needs 90%, so no class is named" in said(FLAT, careful, abstained=np.ones(1, np.bool_))
    assert "this deck averages its cards" in said(fake_images(1), fake_deck(gate=GateConfig(kind="uniform")))


def test_the_tail_is_never_rounded_up_to_all() -> None:
    shares = {0.0: "0%", 0.42: "42%", 0.996: ">99%", 1.0: "all"}
    for tail, text in shares.items():
        assert farther(tail) == f"farther than {text} of its training images"


def test_a_window_is_said_and_where_it_decides_otherwise() -> None:
    assert ", as those of the 7 images of this request are on average" in said(fake_images(1), window=7)
    other = said(fake_images(1), window=7, routed=np.array([[1.0, 0.5]], np.float32))
    assert "but the request's mean is nearest to gaussian" in other
    assert "of this request" not in said(fake_images(1), window=1)


def test_a_learned_gate_says_for_which_card_the_spectrum_speaks(monkeypatch: pytest.MonkeyPatch) -> None:
    preference = np.array([[0.1, 0.2, 0.65, 0.05]], np.float32)
    assert "speaks for" not in said(fake_images(1), preference=preference)
    monkeypatch.setattr("cards_deck.explaining.why.UNLEARNED", ())
    assert "and speaks for augmix_2 with 65%" in said(fake_images(1), preference=preference)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_gate_says_why_in_one_sentence(kind: str) -> None:
    deck, images = fitted_deck(kind), np.concatenate([fake_images(6), noisy(fake_images(6), 26), FLAT])
    prediction = predict(images, deck)
    for row in range(len(images)):
        why = reasons(deck, prediction, row)
        text = sentence(why)
        assert text.endswith(".")
        assert text.count(". ") == 0
        assert "\n" not in text
        assert "nan" not in text
        for name, weight in why.cards:
            assert f"{name} ({weight:.0%})" in text
        assert why.widened in (None, *WIDENED)
        json.dumps(why.numbers(), allow_nan=False)


def test_every_reason_to_widen_comes_from_a_closed_set() -> None:
    for images in (fake_images(4), FLAT, noisy(fake_images(4), 26)):
        for gate in (GateConfig(), GateConfig(max_cards=4, parameters={"margin": 9.0}), GateConfig(kind="uniform")):
            deck = fake_deck(gate=gate)
            prediction = predict(images, deck)
            for row in range(len(images)):
                assert reasons(deck, prediction, row).widened in (None, *WIDENED)


def test_an_unknown_spectrum_is_the_reason_only_where_it_brought_cards() -> None:
    """Two cards per augmentation answer flat images and others alike; of one card each, the second is asked for it."""
    both, single = fake_deck(), fake_deck(cards_per_augmentation=1, gate=GateConfig(parameters={"margin": 0.0}))
    assert predict(FLAT, both).unknown.all()
    assert reasons(both, predict(FLAT, both), 0).widened in (None, "close_spectra")
    assert reasons(single, predict(FLAT, single), 0).widened == "unknown_spectrum"
    always = fitted_deck("reliability", 2)
    found = predict(fake_images(2), always, routed=np.full((2, 2), 99, np.float32))
    assert found.ran.sum(axis=1).tolist() == [2, 2]
    assert widenings(always, found) == (None, None)
    rising = fitted_deck("cascade", 3)
    assert widenings(rising, predict(FLAT, rising)) == ("unknown_spectrum",)


@pytest.mark.parametrize("size", [8, 9])
def test_the_plane_is_the_whole_transform(size: int) -> None:
    image = fake_images(1, size)
    amplitude = np.abs(np.fft.fft2(image[0].transpose(2, 0, 1) / 255, norm="ortho"))
    whole = np.log(np.sqrt((amplitude**2).mean(0)) + 1 / (255 * np.sqrt(12)))
    np.testing.assert_allclose(plane(log_amplitude(image)[0]), np.fft.fftshift(whole), atol=1e-4)


def test_shades_and_colours_keep_the_order() -> None:
    values = np.linspace(-3, 3, 64).reshape(8, 8).astype(np.float32)
    assert shade(values, -2, 2).ravel()[[0, 31, 63]].tolist() == [0, 124, 255]
    assert (np.diff(shade(values).ravel().astype(int)) >= 0).all()
    assert coloured(np.array([[0, 255]], np.uint8))[0].tolist() == [[24, 20, 48], [252, 222, 160]]


def test_texts_of_charts_are_escaped_and_lengths_bounded() -> None:
    html = bars([("<b>", "&", 3.0, "red"), ("x", "y", -1.0, "red")], mark=0.5)
    assert "<b>" not in html
    assert [float(width) for width in re.findall(r'fill" style="width:([\d.]+)%', html)] == [100, 0]
    chart = profiles(np.zeros(16, np.float32), {"<i>": np.ones(16, np.float32)}, "<i>")
    assert "<i>" not in chart
    assert 'alt="&lt;"' in picture(np.zeros((2, 2, 3), np.uint8), "<")


def test_labels_of_lines_that_end_together_do_not_overlap() -> None:
    many = {f"line {index}": np.full(16, index / 100, np.float32) for index in range(8)}
    chart = profiles(np.zeros(16, np.float32), many, None)
    heights = sorted(float(y) for y in re.findall(r'class="series" x="\d+" y="([\d.-]+)"', chart))
    assert len(heights) == 9
    assert min(np.diff(heights)) >= 17.9
    assert max(heights) <= 330


class Strict(HTMLParser):
    """Fails for unbalanced tags, and keeps what is loaded."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loaded: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loaded += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("explain")
    write_deck(fake_deck(gate=GateConfig(parameters={"margin": 0.0})), root / "deck")
    photo(300, 200).save(root / "<photo> & co.jpg", quality=90)
    return root


def test_the_page_stands_alone_and_shows_what_the_deck_saw(folder: Path) -> None:
    predictor = Predictor(read_deck(folder / "deck"), engine=EngineKind.FAKE)
    path = folder / "<photo> & co.jpg"
    case = explain(predictor, path)
    html = page(case)
    parser = Strict()
    parser.feed(html)
    assert not parser.open
    assert "script" not in parser.tags
    assert all(source.startswith("data:image/png;base64,") for source in parser.loaded)
    assert "http" not in html
    assert "&lt;photo&gt; &amp; co.jpg" in html
    assert "<photo>" not in html
    pictures = [np.asarray(Image.open(io.BytesIO(base64.b64decode(text.partition(",")[2])))) for text in parser.loaded]
    assert len(pictures) == 2 + 3 + 2  # file and pixels; image and two references; two differences
    np.testing.assert_array_equal(pictures[1], read_square(path, 32))
    assert sentence(case.why) in html
    assert "300 × 200" in html


def test_the_page_asks_every_card_and_marks_those_that_ran(folder: Path) -> None:
    predictor = Predictor(read_deck(folder / "deck"), engine=EngineKind.FAKE)
    case = explain(predictor, folder / "<photo> & co.jpg")
    assert case.opinions.sum(axis=1) == pytest.approx(1, abs=1e-5)
    ran = case.prediction.ran[0]
    np.testing.assert_allclose(case.prediction.probabilities[0], case.prediction.weights[0] @ case.opinions, atol=1e-5)
    html = page(case)
    assert html.count('class="card plays"') == ran.sum() == 2
    assert html.count("did not run</span>") == 2
    for card, opinion in zip(case.deck.cards, case.opinions, strict=True):
        assert card.name in html
        assert case.deck.classes[int(opinion.argmax())] in html


def test_an_abstaining_deck_names_no_class(tmp_path: Path) -> None:
    predictor = Predictor(fake_deck(gate=GateConfig(abstain_below=1.0)), engine=EngineKind.FAKE)
    Image.fromarray(FLAT[0]).save(tmp_path / "flat.png")
    html = page(explain(predictor, tmp_path / "flat.png"))
    assert "says nothing" in html
    assert '<p class="verdict">No class' in html
    assert "Unknown spectrum" in html


def test_the_command_writes_the_page_and_prints_the_sentence(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "pages" / "today" / "why.html"
    argv = ["explain", str(folder / "<photo> & co.jpg"), "--deck", str(folder / "deck"), "--engine", "fake"]
    assert main([*argv, "--out", str(out)]) == 0
    text = capsys.readouterr().out
    assert "The spectrum is nearest to" in text
    assert str(out) in text
    assert out.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert main(["explain", str(out), "--deck", str(folder / "deck"), "--engine", "fake"]) == 2
    assert "why.html" in capsys.readouterr().err


def test_predict_says_why_and_routes_a_window_together(
    tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = np.concatenate([noisy(fake_images(40, seed=3), 26), fake_images(1, seed=8)])  # more than one batch
    paths = [tmp_path / f"{index:02}.png" for index in range(len(images))]
    for path, pixels in zip(paths, images, strict=True):
        Image.fromarray(pixels).save(path)
    argv = ["predict", *map(str, paths), "--deck", str(folder / "deck"), "--engine", "fake", "--why"]
    assert main(argv) == 0
    assert capsys.readouterr().out.count("\n  The spectrum is nearest to ") == 41
    assert main([*argv, "--json", "--window"]) == 0
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {tuple(answer["cards"]) for answer in answers} == {("gaussian_1", "gaussian_2")}
    assert "but the request's mean is nearest to gaussian" in answers[-1]["why"]


def test_reasons_are_a_value() -> None:
    deck = fake_deck()
    one, two = (reasons(deck, predict(fake_images(1), deck), 0) for _ in range(2))
    assert isinstance(one, Reasons)
    assert one == two
