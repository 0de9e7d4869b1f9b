"""Sample images and confident mistakes as a page, which stays out of published reports."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from eval_json import Maker
from numpy.typing import NDArray
from PIL import Image

from cards_deck.errors import DataError, InputError
from eval.report import write_json, write_reports
from eval.report.samples import PUBLISHED, read_samples, refuse_published, write_samples_page
from eval.tables import REPORTS


def arrays() -> dict[str, NDArray[Any]]:
    random = np.random.default_rng(0)
    cells = [f"{name} {severity}" for name in ("fog", "jpeg_compression") for severity in range(1, 6)]
    return {
        "cells": np.array(cells),
        "images": random.integers(0, 256, (10, 6, 8, 8, 3), dtype=np.uint8),
        "labels": np.arange(6) % 3,
        "answers": np.tile(np.array([0, 1, 2, 0, 0, 0]), (10, 1)),
        "choices": np.zeros((10, 6), np.int64),
        "classes": np.array(["cat", "<b>dog", "ship"]),
        "augmentations": np.array(["augmix"]),
        "mistake_images": random.integers(0, 256, (2, 8, 8, 3), dtype=np.uint8),
        "mistake_cells": np.array(["clean", "fog 3"]),
        "mistake_labels": np.array([0, 1]),
        "mistake_answers": np.array([2, 0]),
        "mistake_confidence": np.array([0.99, 0.5]),
    }


def saved(folder: Path, **changed: NDArray[Any]) -> Path:
    (folder / "samples").mkdir(parents=True)
    np.savez(folder / "samples" / "cifar10-c.npz", **(arrays() | changed))  # type: ignore[arg-type]
    return folder


def pictures(page: str) -> list[NDArray[np.uint8]]:
    found = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(one)))) for one in found]


def test_the_page_holds_the_very_pixels(tmp_path: Path) -> None:
    path = write_samples_page(saved(tmp_path / "deck"))
    assert path == tmp_path / "deck" / "samples.html"
    page = path.read_text(encoding="utf-8")
    shown, given = pictures(page), arrays()
    assert len(shown) == 12
    for sheet, images in zip(shown[:10], given["images"], strict=True):
        assert sheet.shape == (17, 35, 4)
        for place, image in enumerate(images):
            top, left = 9 * (place // 4), 9 * (place % 4)
            assert np.array_equal(sheet[top : top + 8, left : left + 8, :3], image)
            assert (sheet[top : top + 8, left : left + 8, 3] == 255).all()
        assert (sheet[..., 3] == 255).sum() == 6 * 64
    for image, expected in zip(shown[10:], given["mistake_images"], strict=True):
        assert np.array_equal(image, expected)
    assert page.count("4 of 6</small>") == 10
    assert "<b>ship</b> <span>99.0 %</span><small>is cat, clean</small>" in page
    assert "<b>cat</b> <span>50.0 %</span><small>is &lt;b&gt;dog, fog 3</small>" in page
    assert not re.search(r"<script|<link|https?:", page)


def test_images_stay_out_of_published_reports(tmp_path: Path) -> None:
    assert PUBLISHED == REPORTS
    for folder in (REPORTS, REPORTS / "deck", REPORTS / "deck" / ".." / "other"):
        with pytest.raises(InputError, match="is published: choose another folder"):
            refuse_published(folder)
    refuse_published(tmp_path)
    published = saved(tmp_path / "reports" / "deck")
    with pytest.raises(InputError, match="is published"):
        write_samples_page(published, published=tmp_path / "reports")
    assert not (published / "samples.html").exists()


def test_a_link_does_not_lead_images_into_published_reports(tmp_path: Path) -> None:
    (tmp_path / "reports" / "deck").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "reports" / "deck")
    with pytest.raises(InputError, match="is published"):
        refuse_published(tmp_path / "link", published=tmp_path / "reports")


def test_samples_are_written_beside_the_report_and_not_into_it(tmp_path: Path) -> None:
    folder = saved(tmp_path / "deck")
    write_json(Maker().shift(), folder / "cifar10.1.json")
    assert [path.name for path in write_reports(folder)] == ["report.html", "report.md", "samples.html"]
    assert "data:image" not in (folder / "report.html").read_text(encoding="utf-8")
    assert write_samples_page(tmp_path) is None


def test_no_mistakes_no_section(tmp_path: Path) -> None:
    empty = {"mistake_images": np.empty((0, 8, 8, 3), np.uint8)}
    page = write_samples_page(saved(tmp_path / "deck", **empty))
    assert page is not None
    assert "confident mistakes" not in page.read_text(encoding="utf-8")


def test_what_holds_no_samples_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"a\.npz cannot be read"):
        read_samples(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", cells=np.zeros(1))
    with pytest.raises(DataError, match=r"b\.npz .* lacks images, labels, answers, classes"):
        read_samples(tmp_path / "b.npz")
    np.savez(tmp_path / "c.npz", cells=np.array([object()], dtype=object))
    with pytest.raises(DataError, match=r"c\.npz cannot be read"):
        read_samples(tmp_path / "c.npz")
