"""The last section: how the numbers were made, suite by suite."""

from __future__ import annotations

from eval.numbers import percent, short
from eval.report.blocks import Block, Facts, Heading, Section
from eval.report.files import Json, Suites

FROST = {
    "published": "the textures of the published benchmark",
    "procedural": "procedural textures, as the published ones are not installed",
    "official": "part of the official files",
}


def how(suites: Suites) -> Section:
    """Protocol, hardware, versions, commit and command of every suite."""
    each = [_suite(suite) for suite in suites.all]
    shared = {name: value for name, value in each[0].items() if all(facts.get(name) == value for facts in each)}
    blocks: list[Block] = [Facts(_deck(suites) | shared)]
    for suite, facts in zip(suites.all, each, strict=True):
        blocks += [Heading(suite["title"]), Facts({name: facts[name] for name in facts if name not in shared})]
    return Section("how", "How the numbers were made", tuple(blocks), "How it was made")


def _deck(suites: Suites) -> dict[str, str]:
    deck, main = suites.deck, suites.main
    size = deck.get("deck_size_bytes")
    facts = {"Deck": f"{deck['deck']} {deck['deck_version']}" + (f", {short(size)}B on disk" if size else "")}
    gate = deck.get("gate")
    if gate:
        facts["Gate"] = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in gate.items())
    bootstrap = deck.get("bootstrap")
    if bootstrap:
        facts["Intervals"] = (
            f"{100 * bootstrap['level']:.0f} %, percentile bootstrap over images, {bootstrap['resamples']:,} "
            "resamples; all cells of an image are resampled together, differences are paired"
        )
    if main:
        facts["Selection"] = (
            f"best single card chosen on {main['best_card']['chosen_on']}; cards, gates and temperatures were fitted "
            "and chosen on validation images. The best card of each cell is picked on the measured cells themselves, "
            "which flatters that bound a little"
        )
    validation = (main or {}).get("validation")
    if validation:
        facts["Validation"] = (
            f"temperatures and gates were fitted on {validation['n']:,} held-out training images, clean "
            f"and under {_corruptions(validation['cells'])} corruptions, none of which is in the benchmark"
        )
        found = validation.get("classifier")
        if found:
            facts["Validation"] += f"; the classifier tells the kinds apart on {percent(found['accuracy'])} % of images"
    return facts


def _corruptions(cells: list[str]) -> int:
    return len({cell.rsplit(" ", 1)[0] for cell in cells if " " in cell})


def _suite(suite: Json) -> dict[str, str]:
    made, data = suite["provenance"], suite.get("data") or {}
    hardware = made.get("hardware") or {}
    facts = {"Images": _images(suite)}
    if suite.get("frost"):
        facts["Frost"] = FROST.get(str(suite["frost"]), str(suite["frost"]))
    facts["Source"] = str(suite["source"])
    facts["Seed of the run"] = f"{suite['seed']}; images made from a seed name theirs in the title"
    if suite.get("engine"):
        facts["Engine"] = str(suite["engine"])
    if hardware:
        facts["Hardware"] = f"{hardware['cpu']}, {hardware['cores']} cores, {hardware['system']} {hardware['machine']}"
    versions = made.get("versions") or {}
    facts["Versions"] = ", ".join(f"{name} {value}" for name, value in versions.items() if value)
    facts["Commit"] = made.get("commit") or "unknown"
    seconds = made.get("seconds")
    facts["Date"] = str(made["date"]) + (f", took {seconds:,.0f} s" if seconds else "")
    facts["Command"] = made.get("command") or "not recorded"
    if data.get("sha256"):
        facts["Data SHA-256"] = data["sha256"]
    return {name: value for name, value in facts.items() if value}


def _images(suite: Json) -> str:
    data = suite.get("data") or {}
    where = (
        f"{data.get('split', '')} split of {data['name']} ({data['classes']} classes, {data['image_size']} px)"
        if data
        else ""
    )
    if suite["kind"] == "corruptions":
        cells = suite["cells"]["routes"]["gated"]
        return (
            f"{where}: {len(cells)} corruptions at 5 severities, clean accuracy on all {suite['n_clean']:,}, each cell "
            f"on the same {suite['n']:,}"
        )
    return f"{where}: {suite['n']:,} images" if where else f"{suite['n']:,} images"
