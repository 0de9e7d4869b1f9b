"""The report of a deck: which sections it has, in which order, and the two files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from eval.report.blocks import Section
from eval.report.files import Suites, read_suites, write_text
from eval.report.samples import write_samples_page


def write_reports(folder: Path) -> list[Path]:
    """Render report.html and report.md from every suite JSON in `folder`; returns what was written.

    A file in the folder may stand for it. Where the folder holds samples of images, they become samples.html, which is
    refused in the folder of published reports. DataError where the folder holds no suite, or suites of several decks.
    """
    folder = folder.parent if folder.is_file() else folder
    suites = read_suites(folder)
    page, text = render(suites)
    written = [write_text(folder / "report.html", page), write_text(folder / "report.md", text)]
    images = write_samples_page(folder)
    return [*written, images] if images else written


def render(suites: Suites) -> tuple[str, str]:
    """The whole report as HTML and as Markdown."""
    from eval.report.headline import facts, header
    from eval.report.markdown import document
    from eval.report.render import page

    deck, parts = suites.deck, sections(suites)
    title = f"{deck['deck']} {deck['deck_version']}: robustness report"
    return page(title, header(suites), parts), document(title, facts(suites), parts)


def sections(suites: Suites) -> list[Section]:
    """Every section for which something was measured. Draws, and so imports matplotlib."""
    from eval.report import beyond, compressed, corruptions, costs, gates, gating, headline, live, provenance, trust

    parts: tuple[Callable[[Suites], Section | None], ...] = (
        headline.headline,
        corruptions.maps,
        costs.routes,
        gates.compared,
        corruptions.differences,
        costs.published,
        corruptions.cards,
        compressed.compressed,
        trust.diversity,
        gating.choices,
        gating.spectra,
        trust.calibration,
        trust.selective,
        beyond.shift,
        beyond.ood,
        beyond.sequences,
        live.streams,
        live.adversarial,
        provenance.how,
    )
    return [section for part in parts if (section := part(suites)) is not None]
