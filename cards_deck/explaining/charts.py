"""Parts of a page: pictures as PNG data, and charts as SVG and HTML. Every text is escaped."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cards_deck.spectrum import Floats

RAMP = np.array([[24, 20, 48], [62, 46, 110], [150, 62, 110], [226, 120, 80], [252, 222, 160]], np.float64)
DIVERGING = np.array([[33, 84, 140], [246, 244, 240], [160, 44, 36]], np.float64)
SERIES = 6
WIDTH, HEIGHT = 760, 330
LEFT, RIGHT, TOP, BOTTOM = 44, WIDTH - 130, 30, HEIGHT - 48
LABEL_GAP = 18


def colour(index: int) -> str:
    """The CSS colour of the series with this number."""
    return f"var(--series-{index % SERIES})"


def picture(pixels: NDArray[np.uint8] | Image.Image, text: str) -> str:
    """An <img> with its pixels in it; `text` is its description."""
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    return (
        f'<img src="data:image/png;base64,{data}" width="{image.width}" height="{image.height}" alt="{escape(text)}">'
    )


def coloured(shades: NDArray[np.uint8], ramp: NDArray[np.float64] = RAMP) -> NDArray[np.uint8]:
    """uint8 [h, w] as uint8 [h, w, 3] along a ramp of colours."""
    places = np.linspace(0, 255, len(ramp))
    table = np.stack([np.interp(np.arange(256), places, channel) for channel in ramp.T], axis=1)
    found: NDArray[np.uint8] = np.rint(table).astype(np.uint8)[shades]
    return found


def bars(rows: Sequence[tuple[str, str, float, str]], mark: float | None = None) -> str:
    """Rows (name, value as text, share 0..1 of the track, CSS colour); `mark`: a share to mark on every track."""
    line = "" if mark is None else f'<i class="mark" style="left:{100 * mark:.2f}%"></i>'
    items = [
        f'<li><span class="name">{escape(name)}</span><span class="track">'
        f'<i class="fill" style="width:{100 * min(max(share, 0), 1):.2f}%;background:{paint}"></i>{line}</span>'
        f'<span class="value">{escape(value)}</span></li>'
        for name, value, share, paint in rows
    ]
    return f'<ul class="bars">{"".join(items)}</ul>'


def profiles(image: Floats, references: Mapping[str, Floats], nearest: str | None) -> str:
    """An SVG of radial log-amplitude profiles [h//2] from 1 cycle per image on: the image's over the references'."""
    everything = np.concatenate([image, *references.values()])
    low, high = float(np.floor(everything.min())), float(np.ceil(everything.max()))
    parts = _axes(len(image), low, max(high, low + 1))
    labels = []
    for index, (name, profile) in enumerate(references.items()):
        style = "near" if name == nearest else "reference"
        parts.append(_line(profile, low, high, style, colour(index)))
        labels.append((float(profile[-1]), name, colour(index)))
    parts.append(_line(image, low, high, "image", "var(--ink)"))
    labels.append((float(image[-1]), "this image", "var(--ink)"))
    for y, name, paint in _spread([(_y(value, low, high), name, paint) for value, name, paint in labels]):
        parts.append(
            f'<text class="series" x="{RIGHT + 10}" y="{y + 5:.1f}" style="fill:{paint}">{escape(name)}</text>'
        )
    title = "Mean log amplitude by frequency, of this image and of each augmentation"
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{title}">{"".join(parts)}</svg>'


def _axes(rings: int, low: float, high: float) -> list[str]:
    parts = []
    step = max(1, round((high - low) / 6))
    for value in range(int(low), int(high) + 1, step):
        y = _y(value, low, high)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{LEFT - 10}" y="{y + 4:.1f}" text-anchor="end">{str(value).replace("-", "−")}</text>')
    for ring in sorted({1, rings // 4, rings // 2, 3 * rings // 4, rings} - {0}):
        parts.append(f'<text x="{_x(ring, rings):.1f}" y="{BOTTOM + 20}" text-anchor="middle">{ring}</text>')
    parts.append(f'<text x="{(LEFT + RIGHT) / 2}" y="{BOTTOM + 42}" text-anchor="middle">cycles per image</text>')
    parts.append('<text x="0" y="14">log amplitude</text>')
    return parts


def _line(profile: Floats, low: float, high: float, style: str, paint: str) -> str:
    points = " ".join(
        f"{_x(ring, len(profile)):.1f},{_y(float(value), low, high):.1f}" for ring, value in enumerate(profile, 1)
    )
    return f'<polyline class="{style}" points="{points}" style="stroke:{paint}"/>'


def _x(ring: int, rings: int) -> float:
    return LEFT + (ring - 1) / max(rings - 1, 1) * (RIGHT - LEFT)


def _y(value: float, low: float, high: float) -> float:
    return BOTTOM - (value - low) / max(high - low, 1e-6) * (BOTTOM - TOP)


def _spread(labels: list[tuple[float, str, str]]) -> list[tuple[float, str, str]]:
    """The labels with their heights pushed apart where they would overlap."""
    ordered = sorted(labels)
    heights = [height for height, _, _ in ordered]
    for index in range(1, len(heights)):
        heights[index] = max(heights[index], heights[index - 1] + LABEL_GAP)
    heights[-1] = min(heights[-1], BOTTOM)
    for index in range(len(heights) - 2, -1, -1):
        heights[index] = min(heights[index], heights[index + 1] - LABEL_GAP)
    return [(height, name, paint) for height, (_, name, paint) in zip(heights, ordered, strict=True)]
