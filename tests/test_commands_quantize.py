"""`cards-deck quantize` and `repack`, as a user types them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from test_card_versions import version_1
from tiny_training import NETWORK, one_thread, patterns  # noqa: F401  (the fixture acts by being here)

from cards_deck import files
from cards_deck.__main__ import main
from cards_deck.card import read_card
from cards_deck.commands.repack import check_same
from cards_deck.data import save_npz
from cards_deck.deck import read_deck, size_on_disk, write_deck
from cards_deck.errors import DeckError
from cards_deck.inference.fake_deck import fake_deck
from cards_deck.training.augmentations.augmix import AugMix
from cards_deck.training.recipe import Recipe
from cards_deck.training.run import SUFFIX, train_card
from cards_deck.training.schedule import Schedule
from cards_deck.training.tickets import METHODS


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with a trained card in `parent`."""
    root = tmp_path_factory.mktemp("root")
    train = patterns(96)
    save_npz(train, root)
    recipe = Recipe(NETWORK, METHODS.build("rigl", density=0.5, interval=4), AugMix(), Schedule(1, 16), seed=1)
    train_card(recipe, train, patterns(16, seed=1), root / "parent", device="cpu", quiet=True)
    return root


def _quantize(root: Path, *flags: str) -> int:
    data = ("--data", str(root), "--name", "patterns", "--device", "cpu", "--quiet")
    return main(["quantize", str(root / "parent" / f"parent{SUFFIX}"), *data, *flags])


def test_flags_reach_the_card(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = root / "eight"
    assert _quantize(root, "--out", str(out), "--quantizer.images", "20", "--card-name", "small") == 0
    card = read_card(out / f"small{SUFFIX}")
    assert card.record.quantizer == {"name": "int8", "reduced": True, "images": 20, "share": 0.9999}
    assert card.ranges
    assert f"card {card.id}, 8 bits" in capsys.readouterr().out


def test_epochs_train_under_the_quantizer(root: Path) -> None:
    out = root / "signs"
    flags = ("--quantizer", "binary", "--epochs", "1", "--schedule.batch_size", "16", "--seed", "5")
    assert _quantize(root, "--out", str(out), *flags) == 0
    record = read_card(out / f"signs{SUFFIX}").record
    assert (record.bits, record.schedule["epochs"], record.schedule["batch_size"], record.seed) == (1, 1, 16, 5)
    assert record.method["name"] == "fine_tune"


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--quantizer", "decimal"), "unknown quantizer 'decimal'"),
        (("--schedule.epochs", "3"), "leave --schedule.epochs out"),
        (("--schedule.batch_size", "16"), "that of --epochs N"),
    ],
)
def test_wrong_flags_are_refused(
    root: Path, flags: tuple[str, ...], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _quantize(root, "--out", str(root / "none"), *flags) == 2
    assert says in capsys.readouterr().err
    assert not (root / "none").exists()


def test_a_deck_of_the_first_version_is_repacked_without_loss(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = _old_deck(tmp_path / "deck")
    old, names = read_deck(folder), {path.name for path in folder.iterdir()}
    assert main(["repack", str(folder)]) == 0
    said = capsys.readouterr().out
    new = read_deck(folder)
    check_same(old, new)
    for path in folder.glob("*.safetensors"):
        assert path.stem.rpartition("-")[2] == files.sha256(path.read_bytes())[:12]
    assert f"{size_on_disk(folder):,} bytes" in said
    assert not names & {path.name for path in folder.glob("augmix*")}
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert main(["repack", str(folder)]) == 0  # once more changes nothing
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_repacking_elsewhere_leaves_the_deck_as_it_is(tmp_path: Path) -> None:
    folder = _old_deck(tmp_path / "deck")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert main(["repack", str(folder), "--out", str(tmp_path / "new")]) == 0
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    check_same(read_deck(folder), read_deck(tmp_path / "new"))


def test_a_changed_weight_is_noticed(tmp_path: Path) -> None:
    deck = fake_deck()
    first, *others = deck.cards
    tensors = dict(first.tensors)
    tensors["head.bias"] = np.nextafter(tensors["head.bias"], np.float32(9))
    changed = dataclasses.replace(deck, cards=(dataclasses.replace(first, tensors=tensors), *others))
    with pytest.raises(DeckError, match="'augmix_1' would change"):
        check_same(deck, changed)


def _old_deck(folder: Path) -> Path:
    """A deck as the first release wrote it."""
    write_deck(fake_deck(), folder)
    manifest = json.loads((folder / "deck.json").read_text())
    for card, entry in zip(fake_deck().cards, manifest["cards"], strict=True):
        (folder / entry["file"]).unlink()
        data = version_1(card)
        entry["sha256"] = files.sha256(data)
        entry["file"] = f"{card.name}-{entry['sha256'][:12]}.safetensors"
        (folder / entry["file"]).write_bytes(data)
    del manifest["masks"]
    (folder / "deck.json").write_text(json.dumps({**manifest, "schema_version": 1}, indent=2) + "\n")
    return folder
