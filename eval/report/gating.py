"""Sections about the gate: what it chose, what it did not know, and the spectra it decides by."""

from __future__ import annotations

from eval.numbers import percent, words
from eval.report.blocks import (
    Block,
    Cell,
    Column,
    Heading,
    Map,
    Maps,
    Picture,
    Pictures,
    Row,
    Section,
    Table,
    Text,
)
from eval.report.corruptions import STARTS
from eval.report.files import Json, Suites
from eval.report.plots import reference_spectra, spectrum


def choices(suites: Suites) -> Section | None:
    """Where the gate sent the images, how many cards it ran, and which inputs it did not know."""
    blocks: list[Block] = []
    for suite in suites.of("corruptions"):
        found = suite.get("gate_choices")
        if found:
            blocks += [Heading(suite["title"]), _on_clean(found), Maps(_maps(suite, found), small=True), *_cards(found)]
    gate = suites.deck.get("gate") or {}
    shown = ", ".join(f"{words(name)} {value:g}" for name, value in gate.items() if isinstance(value, int | float))
    kind = f"Gate: {gate['kind']} ({shown}). " if gate else ""
    note = Text(f"{kind}Share of images nearest to each reference, per corruption and severity.")
    return Section("gate", "What the gate saw and ran", (note, *blocks), "The gate") if blocks else None


def _on_clean(found: Json) -> Text:
    shares = ", ".join(f"{words(name)} {100 * row['clean']['share']:.0f} %" for name, row in found["choices"].items())
    return Text(
        f"Clean images by their nearest reference: {shares}; {found['cards_per_image']['clean']:.2f} cards per image; "
        f"{percent(found['unknown']['clean'])} % of unknown spectrum."
    )


def _cards(found: Json) -> list[Table]:
    """How often each card ran and what weight it had; nothing in reports that do not say."""
    rows = [
        Row(
            Cell(card["name"]),
            tuple(Cell(percent(card[group][key])) for group in ("clean", "cells") for key in ("ran", "weight")),
        )
        for card in (found.get("cards") or {}).values()
    ]
    heads = (Column("Ran, %", "clean"), Column("Weight, %", "clean"), Column("Ran, %", "all cells"))
    return [Table((*heads, Column("Weight, %", "all cells")), tuple(rows), "narrow tight")] if rows else []


def _maps(suite: Json, found: Json) -> tuple[Map, ...]:
    shown = [
        Map(f"Nearest: {words(name)}", "% of images", row["share"], "share", starts=STARTS)
        for name, row in found["choices"].items()
        if any(share > 0 for choice in found["choices"].values() for share in (choice["clean"]["share"], *_all(choice)))
    ]
    top = float(max(2, len(suite["cards"])))
    shown.append(Map("Cards run", "per image", found["cards_per_image"]["cells"], "count", top=top, starts=STARTS))
    shown.append(Map("Unknown spectrum", "% of images", found["unknown"]["cells"], "share", starts=STARTS))
    return tuple(shown)


def _all(choice: Json) -> list[float]:
    return [share for row in choice["share"].values() for share in row]


def spectra(suites: Suites) -> Section | None:
    """Mean log amplitude by spatial frequency, minus that of clean test images."""
    blocks: list[Block] = []
    for suite in suites.of("corruptions"):
        found = suite.get("spectra")
        if not found:
            continue
        blocks.append(Heading(suite["title"]))
        names = {words(name): row for name, row in found["references"].items()}
        if suite is suites.main:
            absolute, relative = (
                reference_spectra(f"references-{minus}", found["clean"], names, minus=minus) for minus in (False, True)
            )
            shown = Picture(absolute, "The references"), Picture(relative, "The references", "minus clean test images")
            blocks.append(Pictures(shown, "large"))
        blocks.append(Pictures(_small(suite["suite"], found, names), "small"))
    note = Text(
        "Mean log amplitude at each spatial frequency, minus that of the clean test images: above 0, an image has more "
        "of that frequency than a clean one. In the small pictures, grey to black is severity 1 to 5 and the dashed "
        "lines are the references."
    )
    return Section("spectra", "Spectra", (note, *blocks)) if blocks else None


def _small(suite: str, found: Json, names: dict[str, list[float]]) -> tuple[Picture, ...]:
    clean = found["clean"]
    gaps = [a - b for rows in found["corruptions"].values() for row in rows for a, b in zip(row, clean, strict=True)]
    limits = max(-3.0, min(gaps) - 0.1), min(3.0, max(gaps) + 0.1)
    return tuple(
        Picture(spectrum(f"spectrum-{suite}-{name}", clean, rows, names, limits), words(name))
        for name, rows in found["corruptions"].items()
    )
