"""The answer that README.md shows: a drawn image, asked of a deck through the application that serves /classify.

python -m serving.example --write README.md
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt
from PIL import Image
from prometheus_client import CollectorRegistry

from cards_deck.deck import read_deck
from cards_deck.errors import CardsDeckError, InputError
from cards_deck.inference.predictor import Predictor
from serving.http import Application
from serving.settings import Settings

PICTURE = Path(__file__).resolve().parent / "example.png"
BEGIN, END = "<!-- answer:begin -->", "<!-- answer:end -->"
DIGITS = 3  # what machines agree on
TOLERANCE = 2 * 10**-DIGITS


def drawing() -> npt.NDArray[np.uint8]:
    """uint8 [96, 96, 3]: a ship on the sea under a clear sky, from no data set. Integers only: the same everywhere."""
    y, x = np.mgrid[:96, :96]
    image = np.stack([140 + y, 180 + y // 2, np.full_like(y, 235)], axis=-1)  # the sky, paler towards the horizon
    sea = np.array([30, 70, 110]) + (y // 4 + 3 * ((x // 5 + y // 3) % 3))[..., None]
    image[58:] = sea[58:]
    image[(y >= 50) & (y < 68) & (x >= y - 38) & (x <= 134 - y)] = (60, 50, 55)  # the hull, narrower below
    image[40:50, 26:66] = (235, 235, 230)
    image[32:40, 34:56] = (215, 215, 210)
    image[22:32, 42:50] = (180, 50, 40)  # the funnel
    image[43:46, 28:64:6] = (60, 80, 110)
    return np.asarray(image, np.uint8)


def encoded(pixels: npt.NDArray[np.uint8]) -> bytes:
    """The bytes of a PNG of uint8 [h, w, 3]."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


async def ask(folder: Path, image: bytes) -> dict[str, Any]:
    """The JSON that a server of the deck in `folder` answers to a form with this PNG."""
    application = Application(Predictor(read_deck(folder)), Settings(), CollectorRegistry())
    transport = httpx.ASGITransport(application)
    await application.start()
    try:
        async with httpx.AsyncClient(transport=transport, base_url="http://deck", trust_env=False) as client:
            response = await client.post("/classify", files={"image": (PICTURE.name, image, "image/png")})
    finally:
        await application.stop()
    answer: dict[str, Any] = response.raise_for_status().json()
    return answer


def shown(answer: dict[str, Any]) -> str:
    """The answer as a block of Markdown, one line per field, its numbers rounded to `DIGITS` digits."""
    lines = [f"  {json.dumps(name)}: {json.dumps(_rounded(value))}" for name, value in answer.items()]
    return "\n".join(["```json", "{", ",\n".join(lines), "}", "```"])


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _rounded(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return round(value, DIGITS) if isinstance(value, float) else value


def with_answer(text: str, block: str, *, name: str) -> str:
    """`text` with the part between the markers replaced by `block`; InputError unless both are there once."""
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise InputError(f"{name} must hold the line {BEGIN} once and the line {END} once below it; add them")
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n{block}\n{END}{rest.split(END)[1]}"


def agrees(text: str, answer: dict[str, Any]) -> bool:
    """Whether the answer in `text` is this one; numbers may differ in the last digit shown, as machines do."""
    found = re.search(f"{BEGIN}\n```json\n(.*?)```\n{END}", text, re.DOTALL)
    try:
        return found is not None and _close(json.loads(found[1]), answer)
    except json.JSONDecodeError:
        return False


def _close(one: Any, other: Any) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        return list(one) == list(other) and all(_close(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(_close(*pair) for pair in zip(one, other, strict=True))
    if isinstance(one, int | float) and isinstance(other, int | float):
        return bool(abs(one - other) <= TOLERANCE)
    return bool(one == other)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the answer, --write it into files and draw the image again, or exit 1 where a file to --check disagrees."""
    parser = argparse.ArgumentParser(prog="python -m serving.example", description="The example answer of README.md.")
    parser.add_argument("--deck", type=Path, default=Settings().deck_path, help="default: models/cifar10-medium")
    parser.add_argument("--write", type=Path, nargs="+", default=[], metavar="FILE", help="rewrite the block in FILE")
    parser.add_argument("--check", type=Path, nargs="+", default=[], metavar="FILE", help="exit 1 where FILE disagrees")
    options = parser.parse_args(arguments)
    try:
        if options.write:
            PICTURE.write_bytes(encoded(drawing()))
        answer = asyncio.run(ask(options.deck, PICTURE.read_bytes()))
        for path in options.write:
            text = path.read_text(encoding="utf-8")
            path.write_text(with_answer(text, shown(answer), name=str(path)), encoding="utf-8")
        stale = [path for path in options.check if not agrees(path.read_text(encoding="utf-8"), answer)]
    except (CardsDeckError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if not options.write and not options.check:
        print(shown(answer))
    for path in stale:
        print(f"{path} disagrees with the deck: run `python -m serving.example --write {path}`", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
