"""A deck for RobustBench (Croce et al., NeurIPS 2021): `python -m eval robustbench DECK --data ROOT`.

Runs RobustBench's own `benchmark` for corruptions on the files under ROOT and writes the model_info JSON that its
leaderboard asks for. What is broken in the released package (1.1.1) is worked around here, in memory; its files stay:

- it imports `autoattack`, which is not on PyPI, and `pkg_resources`, which setuptools has dropped: both get a stand-in
  while it is imported (neither is used for corruptions on CIFAR);
- on CIFAR it calls its own loaders of corrupted images with an argument that they do not have: it is dropped;
- on CIFAR it ends in KeyError 'AlexNet', looking for a row of a table in the working directory: it runs in a
  directory of its own that holds such a row. What it derives from that row, an mCE, is not kept;
- it downloads what it does not find: the data is checked before it starts, so that nothing is ever downloaded.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import importlib.util
import json
import sys
import tempfile
import types
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cards_deck import data
from cards_deck.checks import NAME_RULE, is_name
from cards_deck.data import Dataset
from cards_deck.deck import Deck, read_deck
from cards_deck.errors import DataError, InputError, MissingExtraError
from cards_deck.inference.engines.torch import TorchNetwork
from cards_deck.inference.gates import decide, gate_for
from cards_deck.spectrum import Floats, log_amplitude

BLOCK = 10_000  # images of a severity, as RobustBench slices the files
LAYOUTS = {10: ("cifar10", "CIFAR-10-C", "cifar-10-batches-py"), 100: ("cifar100", "CIFAR-100-C", "cifar-100-python")}
PUBLISHED = (
    *("link", "name", "authors", "additional_data", "number_forward_passes", "dataset", "venue", "architecture"),
    *("eps", "clean_acc", "reported", "corruptions_acc", "footnote"),
)
STATED = ("link", "name", "authors", "venue", "architecture")


class DeckModule(nn.Module):
    """A deck as the model that RobustBench expects: float [n, 3, h, h] in [0, 1] to log-probabilities [n, classes].

    The deck's own gate decides for each image by its pixels rounded to uint8, in the loop that serves it (`decide`):
    a card runs only on the images that the gate asks it about, first or on reconsidering; normalisation is inside.
    A gate's limit of seconds is left out, so it is deterministic; an answer does not depend on the rest of the batch
    (to 1e-5). Gradients flow through the cards, not through the gate's choice. Raises InputError for other images.
    """

    def __init__(self, deck: Deck) -> None:
        super().__init__()
        self.deck, self.gate = deck, gate_for(deck)
        self.networks = [TorchNetwork(card) for card in deck.cards]
        for card, network in enumerate(self.networks):
            for name, tensor in network.tensors.items():
                self.register_buffer(_buffer(card, name), tensor)
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """Logarithms of the pooled probabilities."""
        if not bool(((images >= 0) & (images <= 1)).all()):
            raise InputError("pixels must lie in [0, 1]: the deck normalises them itself")
        pixels = (images.detach() * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu().numpy()
        answers: dict[int, Tensor] = {}

        def run(card: int, rows: NDArray[np.intp]) -> Floats:
            places = torch.from_numpy(rows).to(images.device)
            answered = self._logits(card, images[places])
            before = answers.get(card, images.new_zeros(len(images), len(self.deck.classes)))
            answers[card] = before.index_copy(0, places, answered)
            return np.asarray(answered.detach().float().cpu().numpy(), np.float32)

        weights = torch.from_numpy(decide(self.gate, log_amplitude(pixels), run).weights).to(images)
        answer = images.new_zeros(len(images), len(self.deck.classes))
        for card, logits in answers.items():
            answer = answer + weights[:, card, None] * torch.softmax(logits, dim=1)
        return answer.clamp(min=torch.finfo(answer.dtype).tiny).log()

    def _logits(self, card: int, images: Tensor) -> Tensor:
        if not len(images):
            return images.new_zeros(0, len(self.deck.classes))
        network = self.networks[card]
        network.tensors = {name: self.get_buffer(_buffer(card, name)) for name in network.tensors}
        return network.logits(images)


def _buffer(card: int, name: str) -> str:
    return f"card{card}/{name}".replace(".", "/")


@functools.cache
def released() -> types.ModuleType:
    """The installed package, imported around what is broken in it; MissingExtraError where it is not installed."""
    if importlib.util.find_spec("robustbench") is None:
        raise MissingExtraError("RobustBench is not installed: pip install 'cards-deck[robustbench]'")
    with _stand_ins(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the versions of timm and torch that it was written for
        import robustbench
        import robustbench.data
        import robustbench.eval
    package: types.ModuleType = robustbench
    return package


@contextlib.contextmanager
def _stand_ins() -> Iterator[None]:
    """Empty modules in the place of those that cannot be had, for as long as the import takes."""

    def unusable(*_: object, **__: object) -> None:
        raise InputError("this bridge runs RobustBench's corruption benchmark only: AutoAttack is not part of it")

    contents: dict[str, dict[str, object]] = {
        "autoattack": {"AutoAttack": unusable},
        "autoattack.state": {"EvaluationState": unusable},
        "pkg_resources": {},
    }
    put = [name for name in contents if importlib.util.find_spec(name.partition(".")[0]) is None]
    for name in put:
        sys.modules[name] = types.ModuleType(name)
        vars(sys.modules[name]).update(contents[name])
    try:
        yield
    finally:
        for name in put:
            del sys.modules[name]


def benchmark(deck: Deck, root: Path, *, n: int = BLOCK, batch: int = 100, name: str | None = None) -> dict[str, Any]:
    """The model_info entry that RobustBench's `benchmark` makes for the deck from the first `n` images of every cell.

    `root` holds the clean test images as `cards_deck.data.load` reads them, and CIFAR-10-C/ (or CIFAR-100-C/) in the
    public layout. Raises DataError, before anything runs, for data that is missing or has another form.
    """
    if len(deck.classes) not in LAYOUTS:
        raise InputError(f"RobustBench measures decks of 10 or 100 CIFAR classes, not of {len(deck.classes)}")
    dataset, folder, clean_folder = LAYOUTS[len(deck.classes)]
    test = data.load(root, name=dataset, split="test", image_size=deck.image_size)
    if test.classes != deck.classes:
        raise DataError(f"{root}: its {dataset} must have the deck's classes {list(deck.classes)}, in that order")
    if not 1 <= n <= min(BLOCK, len(test)):
        raise InputError(f"the number of images must be 1 to {min(BLOCK, len(test))}, not {n}")
    name = name or deck.name
    if not is_name(name):
        raise InputError(f"the entry's name must be {NAME_RULE}, not {name!r:.120}")
    package = released()
    kind = package.model_zoo.enums.BenchmarkDataset(dataset)
    threat = package.model_zoo.enums.ThreatModel.corruptions
    corruptions = package.data.CORRUPTIONS_DICT[kind][threat]
    _check_files(root / folder, corruptions, test.labels[:n])
    place, root = Path("model_info") / dataset / "corruptions", root.resolve()
    own = None if (root / clean_folder).is_dir() else test
    with tempfile.TemporaryDirectory() as desk, contextlib.chdir(desk), _loaders(package, kind, own):
        place.mkdir(parents=True)
        (place / "unaggregated_results.csv").write_text(_alexnet(corruptions))
        package.eval.benchmark(
            DeckModule(deck),
            n_examples=n,
            dataset=dataset,
            threat_model=threat.value,
            to_disk=True,
            model_name=name,
            data_dir=str(root),
            batch_size=batch,
        )
        measured = json.loads((place / f"{name}.json").read_text())
    return _model_info(deck, measured, n, regenerated=(root / folder / "manifest.json").is_file())


def _check_files(folder: Path, corruptions: Sequence[str], labels: NDArray[np.int64]) -> None:
    """What RobustBench takes for granted: blocks of 10,000 images, labelled as the clean images are, in their order."""
    for name in ("labels", *corruptions):
        path = folder / f"{name}.npy"
        try:
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise DataError(
                f"{path} must be there and readable ({error}): copy the public files, or make them with "
                "`python -m eval write`"
            ) from error
        found = f"{array.dtype} {list(array.shape)}"
        if array.shape[:1] != (5 * BLOCK,):
            raise DataError(f"{path} must hold 5 x {BLOCK:,} entries, as RobustBench slices them, got {found}")
        if name != "labels" and (array.dtype != np.uint8 or array.shape[1:] != (32, 32, 3)):
            raise DataError(f"{path} must be uint8 [{5 * BLOCK}, 32, 32, 3], got {found}")
        if name == "labels" and not np.array_equal(array[: len(labels)], labels):
            raise DataError(f"{path} must begin with the labels of the clean test images, in their order")


@contextlib.contextmanager
def _loaders(package: types.ModuleType, kind: object, test: Dataset | None) -> Iterator[None]:
    """RobustBench's loaders made to fit each other: its corrupted images without `prepr`, which it passes and they do
    not take; its clean images where torchvision's files are there (None), else `test` in their place."""
    clean, threats = package.data._clean_dataset_loaders, package.data.CORRUPTION_DATASET_LOADERS[kind]
    before, (threat, corrupted) = clean[kind], next(iter(threats.items()))

    def load_corrupted(*given: object, prepr: object = None, **named: object) -> tuple[Tensor, Tensor]:
        loaded: tuple[Tensor, Tensor] = corrupted(*given, **named)
        return loaded

    def load_clean(n: int, *_: object) -> tuple[Tensor, Tensor]:
        assert test is not None
        planes = torch.from_numpy(test.images[:n]).permute(0, 3, 1, 2).contiguous().float().div(255)
        return planes, torch.from_numpy(test.labels[:n])

    threats[threat] = load_corrupted
    if test is not None:
        clean[kind] = load_clean
    try:
        yield
    finally:
        clean[kind], threats[threat] = before, corrupted


def _alexnet(corruptions: Sequence[str]) -> str:
    """A table of results in RobustBench's form with nothing but AlexNet, wrong everywhere."""
    names = [corruption for corruption in corruptions for _ in range(5)]
    rows = (["", *names], ["", *("12345" * len(corruptions))], ["AlexNet", *("0.0" for _ in names)])
    return "".join(",".join(row) + "\n" for row in rows)


def _model_info(deck: Deck, measured: dict[str, Any], n: int, *, regenerated: bool) -> dict[str, Any]:
    """The published keys, in their order; accuracies are percent, as texts."""
    networks = sorted({str(card.record.network["name"]) for card in deck.cards})
    passes = min(gate_for(deck).limit, len(deck.cards))
    density = float(np.mean([card.record.density for card in deck.cards]))
    note = f"{len(deck.cards)} sparse cards ({density:.0%} of the weights kept), {deck.gate.kind} gate"
    note += f", at most {passes} of them per image"
    note += "" if n == BLOCK else f"; NOT COMPARABLE: measured on {n} of {BLOCK} images"
    note += "; NOT COMPARABLE: corrupted images regenerated, not the public files" if regenerated else ""
    known = measured | {
        "link": "",
        "name": f"{deck.name} {deck.version}",
        "authors": "",
        "additional_data": any(card.record.data.get("name") != measured["dataset"] for card in deck.cards),
        "number_forward_passes": passes,
        "venue": "Unpublished",
        "architecture": f"Deck of {len(deck.cards)}: {', '.join(networks)}",
        "reported": measured["corruptions_acc"],
        "footnote": note,
    }
    return {key: known[key] for key in PUBLISHED}


def main(arguments: Sequence[str]) -> int:
    """Run the benchmark and write <out>/model_info/<data set>/corruptions/<name>.json."""
    parser = argparse.ArgumentParser(prog="python -m eval robustbench", description="RobustBench's own benchmark.")
    parser.add_argument("deck", type=Path, help="folder of the deck, e.g. models/cifar10-medium")
    parser.add_argument("--data", type=Path, required=True, help="data root: clean test images, and CIFAR-10-C/")
    parser.add_argument("--n", type=int, default=BLOCK, help="first images of every cell; default: %(default)s")
    parser.add_argument("--batch", type=int, default=100, help="images at a time; default: %(default)s")
    parser.add_argument("--name", help="of the entry; default: the deck's")
    parser.add_argument(
        "--info",
        action="append",
        default=[],
        metavar="KEY=TEXT",
        help=f"what only its submitter knows, once for each of {', '.join(STATED)}",
    )
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parent / "reports" / "robustbench")
    options = parser.parse_args(arguments)
    stated = dict(text.partition("=")[::2] for text in options.info)
    if not stated.keys() <= set(STATED):
        raise InputError(f"--info must be KEY=TEXT with a KEY of {', '.join(STATED)}, got {', '.join(stated)}")
    deck = read_deck(options.deck)
    entry = benchmark(deck, options.data, n=options.n, batch=options.batch, name=options.name) | stated
    path = options.out / "model_info" / entry["dataset"] / "corruptions" / f"{options.name or deck.name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(entry, indent=2) + "\n")
    print(f"clean {entry['clean_acc']} %, corruptions {entry['corruptions_acc']} %\nwrote {path}")
    return 0
