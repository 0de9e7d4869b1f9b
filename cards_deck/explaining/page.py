"""One image's answer as a self-contained HTML page: what the deck saw, how it routed, and what every card thinks."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np
from PIL import Image

from cards_deck.deck import Deck
from cards_deck.explaining.charts import DIVERGING, bars, colour, coloured, picture, profiles
from cards_deck.explaining.spectra import plane, radial_profile, radii, shade
from cards_deck.explaining.style import STYLE
from cards_deck.explaining.why import Reasons, reasons
from cards_deck.explaining.wording import farther, sentence
from cards_deck.inference.gates import gate_for
from cards_deck.inference.predictor import Prediction, Predictor, softmax
from cards_deck.preprocess import read_rgb, resize_square
from cards_deck.spectrum import Floats, Images, log_amplitude

THUMBNAIL = 480  # pixels
SHOWN = 3  # classes per card
POOLED = 6  # classes of the answer


@dataclass(frozen=True, eq=False)
class Explained:
    """One image and everything its page shows.

    `image` uint8 [1, h, h, 3] as the deck sees it; `original` the file's pixels, `size` its width and height;
    `prediction` of one row; `opinions` float32 [k, c]: class probabilities of every card, also of those that did not
    run; `spectrum` float32 [h, h//2+1].
    """

    deck: Deck
    name: str
    original: Image.Image
    size: tuple[int, int]
    image: Images
    prediction: Prediction
    opinions: Floats
    spectrum: Floats

    @property
    def why(self) -> Reasons:
        """The reasons of the answer."""
        return reasons(self.deck, self.prediction, 0)


def explain(predictor: Predictor, path: Path) -> Explained:
    """Answer an image file, and ask the cards that the gate left out as well. InputError where it cannot be read."""
    original = read_rgb(path)
    size = original.size
    image = resize_square(original, predictor.deck.image_size)[None]
    opinions = np.concatenate([predictor.card_logits(image, card) for card in range(len(predictor.deck.cards))])
    original.thumbnail((THUMBNAIL, THUMBNAIL))
    return Explained(
        deck=predictor.deck, name=path.name, original=original, size=size, image=image,
        prediction=predictor.predict(image), opinions=softmax(opinions), spectrum=log_amplitude(image)[0],
    )  # fmt: skip


def page(case: Explained) -> str:
    """The page, with every picture in it."""
    title = f"{case.name}: why {case.deck.name} says {case.why.label if not case.why.abstained else 'nothing'}"
    deck, side = case.deck, case.deck.image_size
    sections = [_answer(case), _distances(case), _spectra(case), _cards(case), _numbers(case)]
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>{escape(title)}</title>\n'
        f"<style>{STYLE}</style>\n</head>\n<body>\n<header><h1>{escape(title)}</h1>"
        f"<p>deck {escape(deck.name)} {escape(deck.version)}: {len(deck.cards)} cards, {len(deck.classes)} classes, "
        f"images of {side} × {side} pixels</p></header>\n"
        f"<main>\n{''.join(sections)}</main>\n"
        "<footer><p>Log amplitudes are natural logarithms; a distance is their root mean square difference, "
        "weighted by frequency.</p></footer>\n</body>\n</html>\n"
    )


def _section(title: str, *content: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{''.join(content)}</section>\n"


def _quiet(text: str) -> str:
    return f'<p class="quiet">{escape(text)}</p>'


def _figure(kind: str, image: str, bold: str, text: str = "") -> str:
    caption = f"<b>{escape(bold)}</b>{' ' if text else ''}{escape(text)}"
    return f'<figure class="{kind}">{image}<figcaption>{caption}</figcaption></figure>'


def _answer(case: Explained) -> str:
    why, size = case.why, case.deck.image_size
    width, height = case.size
    images = _figure("file", picture(case.original, "the image file"), "The file,", f"{width} × {height}") + _figure(
        "seen", picture(case.image[0], "the image as the deck sees it"), "What the deck sees,", f"{size} × {size}"
    )
    badges = [
        text
        for shown, text in (
            (why.unknown, "Unknown spectrum: trust this answer less"),
            (why.abstained, "No class is named"),
            (why.pooled_early, "Time was up"),
        )
        if shown
    ]
    shares = case.prediction.probabilities[0]
    top = np.argsort(-shares, kind="stable")[:POOLED].tolist()
    rows = [
        (case.deck.classes[i], _percent(shares[i]), float(shares[i]), "var(--quiet)" if at else "var(--accent)")
        for at, i in enumerate(top)
    ]
    verdict = "No class" if why.abstained else f"{escape(why.label)} <small>{_percent(why.confidence)}</small>"
    return (
        f'<section class="answer"><div class="images">{images}</div><div>'
        f'<p class="verdict">{verdict}</p>'
        f'<p class="sentence">{escape(sentence(why))}</p>'
        + "".join(f'<span class="badge">{escape(text)}</span>' for text in badges)
        + f"<h3>Classes, weighted over the cards that ran</h3>{bars(rows)}</div></section>\n"
    )


def _distances(case: Explained) -> str:
    names = case.deck.references.augmentations
    found = case.prediction.distances
    tails = case.deck.references.calibrated(found)[0]
    limit = case.deck.references.distance_at(case.deck.gate.unknown_quantile)
    most = 1.15 * max(limit, float(found.max()), 1e-6)
    rows = [
        (name, f"{distance:.2f}, {farther(tail)}", float(distance) / most, colour(index))
        for index, (name, distance, tail) in enumerate(zip(names, found[0], tails, strict=True))
    ]
    note = (
        f"Shorter is nearer. With every bar beyond the mark at {limit:.2f} the spectrum is unknown: only "
        f"{1 - case.deck.gate.unknown_quantile:.1%} of the training images lie there."
    )
    return _section("Distance from each augmentation’s spectrum", bars(rows, limit / most), _quiet(note))


def _spectra(case: Explained) -> str:
    known, ring = case.deck.references, radii(case.deck.image_size)
    shown = {
        name: radial_profile(spectrum, ring)
        for name, spectrum in zip(known.augmentations, known.log_amplitude, strict=True)
    }
    chart = profiles(radial_profile(case.spectrum, ring), shown, case.why.nearest)
    own = plane(case.spectrum)
    whole = [plane(spectrum) for spectrum in known.log_amplitude]
    low, high = np.quantile(np.stack([own, *whole]), [0.01, 0.99]).tolist()
    widest = max(float(np.quantile(np.abs(own - np.stack(whole)), 0.99)), 0.5)
    planes = [_plane(coloured(shade(own, low, high)), "This image")]
    planes += [_plane(coloured(shade(values, low, high)), name) for name, values in zip(shown, whole, strict=True)]
    differences = [
        _plane(coloured(shade(own - values, -widest, widest), DIVERGING), f"Image less {name}")
        for name, values in zip(shown, whole, strict=True)
    ]
    return _section(
        "Spectrum",
        _quiet("Mean log amplitude of this image, and of what each augmentation makes of the training images."),
        chart,
        "<h3>All directions</h3>",
        f'<div class="planes">{"".join(planes)}</div>',
        "<h3>Where the image differs</h3>",
        f'<div class="planes">{"".join(differences)}</div>',
        _quiet(
            "Slow changes in the middle, fine detail at the edges. Red: the image has more than the reference, "
            f"blue: less; the strongest colour is {widest:.1f} in log amplitude."
        ),
    )


def _plane(pixels: Images, name: str) -> str:
    return _figure("plane", picture(pixels, f"spectrum: {name}"), name)


def _cards(case: Explained) -> str:
    speaking = gate_for(case.deck).speaking(case.prediction.preference)[0].tolist()
    cards = "".join(_card(case, index, speaks) for index, speaks in enumerate(speaking))
    text = "Weights are shares of the answer. Cards with a dashed border did not run for it: asked for this page only."
    return _section("Each card’s opinion", f'<ul class="hand">{cards}</ul>', _quiet(text))


def _card(case: Explained, index: int, speaks: float) -> str:
    card, opinion = case.deck.cards[index], case.opinions[index]
    names, average = case.deck.references.augmentations, bool(card.record.average_of)
    paint = colour(names.index(card.augmentation)) if card.augmentation in names else "var(--quiet)"
    ran, weight = bool(case.prediction.ran[0, index]), float(case.prediction.weights[0, index])
    order = np.argsort(-opinion, kind="stable")[:SHOWN].tolist()
    rows = [(case.deck.classes[i], _percent(opinion[i]), float(opinion[i]), paint) for i in order]
    what = "second look, of the mirrored image, " if card.mirrored else "average of cards, " if average else ""
    kind = f"{what}{card.augmentation}"
    speaks_for = f"the spectrum speaks for {'those it stands for' if average else 'it'} with {_percent(speaks)}"
    return (
        f'<li class="card {"plays" if ran else "idle"}" style="--own:{paint}">'
        f'<p class="top"><span>{escape(card.name)}</span><span>{_percent(weight) if ran else "did not run"}</span></p>'
        f'<p class="quiet">{escape(kind)}; {speaks_for}</p>'
        f"{bars(rows)}</li>"
    )


def _numbers(case: Explained) -> str:
    why, gate = case.why, case.deck.gate
    rows = [("gate", f"{gate.kind}, at most {gate.max_cards} cards per image")]
    rows += [(name.replace("_", " "), f"{value:g}") for name, value in gate.parameters.items()]
    if why.strange is not None:
        rows.append(("strangeness", "{:.1f}; of clean images about {:.1f}".format(*why.strange)))
    if why.margin is not None:
        rows.append(("second reference farther than the nearest by", f"{why.margin:.1%}"))
    if why.first_confidence is not None:
        what = "lead over the next class" if why.sure_by == "lead" else "probability"
        rows.append((f"the first answer's {what}, calibrated", f"{why.first_confidence:.1%}"))
        needed = "more than it can have" if why.threshold is None else f"{why.threshold:.1%}"
        rows.append(("which is enough from", needed))
    if why.widened is not None:
        rows.append(("more than one card because of", why.widened.replace("_", " ")))
    if gate.abstain_below is not None:
        rows.append(("an unknown image is named from", f"{gate.abstain_below:.0%}"))
    lines = "".join(f"<tr><th>{escape(name)}</th><td>{escape(text)}</td></tr>" for name, text in rows)
    return _section("Gate", f"<table>{lines}</table>")


def _percent(share: float) -> str:
    return ">99%" if 0.995 < share < 1 else f"{share:.0%}"
