"""The report of a folder of cells: tables and curves, made from the cells' files and nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cards_deck.errors import DataError
from cards_deck.files import canonical_json, read_bytes, strict_json, write_bytes
from eval.tickets import tables
from eval.tickets.cells import FOLDER, LIMIT, SCHEMA
from eval.tickets.pictures import Curve, curves

Json = dict[str, Any]

NAME, NOISE = "tickets", "noise"
HEAD = (
    "method", "density", "seeds", "clean, %", "corrupted, %", "held out, %", "before retraining, %", "compression",
    "conv density", "speed-up, theory", "measured, 1 image", "measured, 32", "epochs", "multiply-adds", "minutes",
)  # fmt: skip
INTRO = """\
Mean ± standard deviation over seeds, all methods from the same initial weights for a seed. *Compression* is all
learned numbers of the dense network over those kept, *density* counts convolution and linear weights, stem and head
included, *conv density* convolutions alone. The theoretical speed-up is multiply-adds of the dense network over those
of the kept weights; the measured one is the dense network in the faster of two engines over the ticket in the sparse
engine, one thread, both in turn within the cell. *Multiply-adds* are those of training: forward, and the gradients of
activations and weights, of the kept weights. *Corrupted* is the mean over the 15 corruptions of CIFAR-10-C made here,
each test image at one severity; *held out* are validation images, clean; *before retraining* are some of those, at full
size, as the last pruning left the network, for methods that train on after one. Tickets that answer together have
the density of each, the compression and the speed-ups of all. Of a run of several levels, what it cost in all stands
with the first, and *before retraining* with the last."""


def read_folder(out: Path) -> list[Json]:
    """Every finished cell of a report's folder; DataError for a file that is not what its name says."""
    found = []
    for path in sorted((out / FOLDER).glob("*.json")):
        try:
            numbers = strict_json(read_bytes(path, limit=LIMIT))
        except (OSError, ValueError) as error:
            raise DataError(f"{path} cannot be read ({error}): delete it, and the cell is measured again") from None
        if not isinstance(numbers, dict) or numbers.get("schema") != SCHEMA or "identity" not in numbers:
            raise DataError(f"{path} must be a cell of schema {SCHEMA}: delete it, and the cell is measured again")
        key = hashlib.sha256(canonical_json(numbers["identity"]).encode()).hexdigest()[:12]
        if not path.name.endswith(f"-s{numbers['identity']['seed']}-{key}.json"):
            raise DataError(f"{path} holds a cell of other settings than its name says: delete it, or name it by them")
        found.append(numbers)
    return found


def write_reports(out: Path) -> list[Path]:
    """Write tickets.md, noise.md and their pictures, each where there are cells for it; returns the paths."""
    cells = [cell for cell in read_folder(out) if cell["identity"]["procedure"] == "tickets"]
    written = []
    for name, noisy in ((NAME, False), (NOISE, True)):
        chosen = [cell for cell in cells if bool(cell["identity"]["setting"]["label_noise"]) == noisy]
        if chosen:
            written += _write(out, name, chosen)
    if not written:
        raise DataError(f"{out / FOLDER} holds no finished cell: run `python -m eval tickets --data ROOT` first")
    return written


def _write(out: Path, name: str, cells: Sequence[Json]) -> list[Path]:
    title = "# Ticket methods over densities" if name == NAME else "# Sparsity under label noise"
    lines, files = [title, "", tables.made_with(cells), "", INTRO, ""], []
    for number, (setting, group) in enumerate(_by_setting(cells)):
        lines += [_said(setting), "", *tables.table(HEAD, _rows(group)), ""]
        for kind, drawn in _pictures(name, group, number):
            file = out / (f"{kind}.svg" if not number else f"{kind}-{number + 1}.svg")
            write_bytes(file, drawn.encode())
            files.append(file)
            lines += [f"![{kind.replace('-', ' ')}]({file.name})", ""]
    text = out / f"{name}.md"
    write_bytes(text, ("\n".join(lines).rstrip() + "\n").encode())
    return [text, *files]


def _by_setting(cells: Sequence[Json]) -> list[tuple[Json, list[Json]]]:
    found: dict[str, list[Json]] = {}
    for cell in cells:
        found.setdefault(canonical_json(cell["identity"]["setting"]), []).append(cell)
    return [(group[0]["identity"]["setting"], group) for _, group in sorted(found.items(), key=lambda kv: -len(kv[1]))]


def _said(setting: Json) -> str:
    schedule, network = setting["schedule"], dict(setting["network"])
    images = f"{setting['images']:,}" if setting["images"] else "all"
    fields = ", ".join(f"{key} {value}" for key, value in network.items() if key != "name")
    noise = f", {setting['label_noise']:.0%} of the labels wrong" if setting["label_noise"] else ""
    return (
        f"{setting['data']}, {images} training images{noise}; {network['name']} ({fields}); "
        f"{setting['augmentation']['name']}; "
        f"{schedule['epochs']} epochs of batches of {schedule['batch_size']}, learning rate "
        f"{schedule['learning_rate']:g} "
        f"({schedule['decay']}), weight decay {schedule['weight_decay']:g}."
    )


Points = dict[
    tuple[str, float], list[tuple[Json, Json, bool]]
]  # (method, density) -> [(cell, card, whether its first)]


def points(cells: Sequence[Json]) -> Points:
    """The cells of all seeds by method and density; a cell of several levels has a point for each."""
    found: Points = {}
    for cell in cells:
        method = cell["identity"]["method"]
        cards = list(cell["cards"].values())
        shown = cards if method["name"] == "levels" else [_together(cell)]
        for card in shown:
            density = card["sizes"]["density"] if method["name"] == "levels" else float(method.get("density", 1.0))
            key = f"{method['name']}{_apart(method, cells)}", round(density, 6)
            found.setdefault(key, []).append((cell, card, card is shown[0]))
    return dict(sorted(found.items(), key=lambda item: (item[0][0], -item[0][1])))


def _together(cell: Json) -> Json:
    """The first card, or all cards that answer together: as dense as one of them, as large and slow as all."""
    first: Json = next(iter(cell["cards"].values()))
    if "ensemble" not in cell:
        return first
    ratios = {name: first["sizes"][name] / _members(cell) for name in ("compression", "speedup")}
    return {**cell["ensemble"], "sizes": first["sizes"] | ratios}


def _members(cell: Json) -> int:
    """How many cards answer together."""
    return len(cell["ensemble"]["members"]) if "ensemble" in cell else 1


def _measured(cell: Json, batch: int = 1) -> float | None:
    """The measured speed-up of what answers."""
    found = tables.measured_speedup(cell, batch)
    return None if found is None else found / _members(cell)


def _before_retraining(cell: Json, card: Json) -> float | None:
    """What pruning left before the last retraining, which is that of the sparsest card."""
    least = min(each["sizes"]["density"] for each in cell["cards"].values())
    found: float | None = cell["training"]["before_retraining"]
    return found if card["sizes"]["density"] == least else None


def _apart(method: Json, cells: Sequence[Json]) -> str:
    """What tells two settings of one method apart, beside the density."""
    others = [cell["identity"]["method"] for cell in cells if cell["identity"]["method"]["name"] == method["name"]]
    differing = sorted(k for k in method if k != "density" and any(other.get(k) != method[k] for other in others))
    return " " + ", ".join(f"{key} {method[key]}" for key in differing) if differing else ""


def _rows(cells: Sequence[Json]) -> list[list[str]]:
    rows = []
    for (method, density), found in points(cells).items():
        cards, firsts = [card for _, card, _ in found], [cell for cell, _, first in found if first]
        training = [cell["training"] for cell in firsts]
        rows.append(
            [
                method,
                f"{density:.3g}",
                str(len({cell["identity"]["seed"] for cell, _, _ in found})),
                *(tables.spread([tables.accuracy_of(card, d) for card in cards], 100) for d in ("clean", "corrupted")),
                tables.spread([tables.accuracy_of(card, split="validation") for card in cards], 100),
                tables.spread([_before_retraining(cell, card) for cell, card, _ in found], 100),
                tables.spread([card["sizes"]["compression"] for card in cards]),
                tables.spread([card["sizes"]["conv_density"] for card in cards], 1, 3),
                tables.spread([card["sizes"]["speedup"] for card in cards]),
                *(tables.spread([_measured(cell, batch) for cell in firsts]) for batch in (1, 32)),
                tables.spread([one["epochs"] for one in training], 1, 0),
                tables.mean_short([one["multiply_adds"] for one in training]),
                tables.spread([cell["seconds"] / 60 for cell in firsts]),
            ]
        )
    return rows


def _pictures(name: str, cells: Sequence[Json], number: int) -> list[tuple[str, str]]:
    """(kind, SVG) of every picture for which there are numbers."""
    if name == NOISE:
        wrong = {"test error": _line(cells, "clean", "test", errors=True), "train fit": _line(cells, "clean", "fit")}
        lines = {f"{method}, {what}": line for what, by in wrong.items() for method, line in by.items()}
        x, y = "density", "test error and accuracy on the noisy training labels, %"
        return [("noise-density", curves(f"{NOISE}{number}", lines, x=x, y=y, falling=True))]
    drawn = []
    for domain, y in (("clean", "test accuracy, %"), ("corrupted", "accuracy under corruption, %")):
        for kind, x in (
            ("compression", "compression"),
            ("density", "density"),
            ("theory", "theoretical speed-up"),
            ("measured", "measured speed-up, one image"),
        ):
            lines = _line(cells, domain, "test", kind)
            if lines:
                made = curves(f"{kind}{domain}{number}", lines, x=x, y=y, falling=kind == "density")
                drawn.append((f"{domain}-{kind}", made))
    return drawn


def _place(kind: str, density: float, cell: Json, card: Json, first: bool) -> float | None:
    """Where a card stands on the axis of a picture of this kind."""
    if kind == "density":
        return density
    if kind == "measured":
        return _measured(cell) if first else None
    found: float = card["sizes"]["compression" if kind == "compression" else "speedup"]
    return found


def _line(
    cells: Sequence[Json], domain: str, split: str, kind: str = "density", *, errors: bool = False
) -> dict[str, Curve]:
    """method -> its curve; places are means over seeds."""
    found: dict[str, list[tuple[float, list[float]]]] = {}
    for (method, density), here in points(cells).items():
        values = [tables.accuracy_of(card, domain, split) for _, card, _ in here]
        places = [_place(kind, density, *one) for one in here]
        known, at = [v for v in values if v is not None], [p for p in places if p is not None]
        if known and at:
            shown = [1 - value if errors else value for value in known]
            found.setdefault(method, []).append((sum(at) / len(at), shown))
    return dict(found)
