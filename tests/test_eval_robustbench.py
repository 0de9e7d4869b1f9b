"""The RobustBench bridge, against the released package as it is installed."""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from data_layouts import batch_of, make_archive, md5, write_batches, write_pickle
from families import family_deck
from fitted_gates import KINDS, fitted_deck
from numpy.typing import NDArray

from cards_deck.corruptions import CORRUPTIONS
from cards_deck.data import Dataset, cifar, save_npz
from cards_deck.deck import Deck, GateConfig, write_deck
from cards_deck.errors import DataError, InputError, MissingExtraError
from cards_deck.inference.engines import EngineKind
from cards_deck.inference.fake_deck import fake_deck, fake_images
from cards_deck.inference.predictor import Predictor
from cards_deck.spectrum import Images
from eval import robustbench
from eval.__main__ import main
from eval.robustbench import BLOCK, PUBLISHED, DeckModule

N = 50
FILES = 3  # different ones; the others are links to them

installed = pytest.mark.skipif(
    importlib.util.find_spec("robustbench") is None, reason="RobustBench is not installed: the extra `robustbench`"
)


def _corrupted(images: Images, file: int, severity: int) -> Images:
    """Every file and severity has pixels of its own."""
    noise = np.random.default_rng([file, severity]).normal(0, 8 * severity * (file + 1), images.shape)
    return np.clip(images + noise, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def deck() -> Deck:
    return fake_deck(gate=GateConfig(parameters={"margin": 0.3}))


@pytest.fixture(scope="module")
def test_images(deck: Deck) -> Dataset:
    """Mostly labelled with the deck's answers, so that accuracies are neither 0 nor 1."""
    images = fake_images(N, seed=3)
    labels = Predictor(deck, engine=EngineKind.TORCH).predict(images).labels
    labels[::4] = (labels[::4] + 1) % 10
    return Dataset(images, labels, deck.classes, "cifar10", "test")


@pytest.fixture(scope="module")
def layout(test_images: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """CIFAR-10-C/ in the public layout; only the first images of each block are written, the rest is holes."""
    folder = tmp_path_factory.mktemp("layout") / "CIFAR-10-C"
    folder.mkdir()
    labels = np.zeros(5 * BLOCK, np.uint8)
    for severity in range(5):
        labels[severity * BLOCK :][:N] = test_images.labels
    np.save(folder / "labels.npy", labels)
    for place, name in enumerate(CORRUPTIONS):
        path = folder / f"{name}.npy"
        if place >= FILES:
            path.symlink_to(f"{CORRUPTIONS[place % FILES]}.npy")
            continue
        stored = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=(5 * BLOCK, 32, 32, 3))
        for severity in range(5):
            stored[severity * BLOCK :][:N] = _corrupted(test_images.images, place, severity + 1)
        stored.flush()
    return folder


@pytest.fixture
def root(layout: Path, test_images: Dataset, tmp_path: Path) -> Path:
    save_npz(test_images, tmp_path)
    (tmp_path / "CIFAR-10-C").symlink_to(layout)
    return tmp_path


@pytest.fixture
def mapped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their loader reads a whole file, 150 MB, for each of the 75 cells: here it maps it."""
    monkeypatch.setattr(np, "load", functools.partial(np.load, mmap_mode="r"))


@pytest.fixture
def no_downloads(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise AssertionError("something is being downloaded")

    monkeypatch.setattr("socket.socket.connect", refused)


def _accuracy(deck: Deck, images: Images, labels: NDArray[np.int64]) -> float:
    return float((Predictor(deck).predict(images).labels == labels).mean())


def _expected(deck: Deck, test: Dataset, corruptions: tuple[str, ...] = CORRUPTIONS) -> tuple[str, str]:
    """Clean and mean corrupted accuracy by the served path, as RobustBench writes them."""
    cells = [
        _accuracy(deck, _corrupted(test.images, CORRUPTIONS.index(name) % FILES, severity), test.labels)
        for name in corruptions
        for severity in range(1, 6)
    ]
    clean = _accuracy(deck, test.images, test.labels)
    return str(round(clean * 100, 2)), str(round(float(np.mean(cells)) * 100, 2))


@installed
@pytest.mark.usefixtures("no_downloads", "mapped")
def test_their_benchmark_measures_what_the_served_path_answers(deck: Deck, root: Path, test_images: Dataset) -> None:
    here = Path.cwd()
    entry = robustbench.benchmark(deck, root, n=N)
    assert (entry["clean_acc"], entry["corruptions_acc"]) == _expected(deck, test_images)
    assert 0 < float(entry["corruptions_acc"]) < float(entry["clean_acc"]) < 100
    assert tuple(entry) == PUBLISHED
    assert entry["reported"] == entry["corruptions_acc"]
    assert (entry["dataset"], entry["eps"], entry["number_forward_passes"]) == ("cifar10", None, 2)
    assert "NOT COMPARABLE: measured on 50 of 10000 images" in entry["footnote"]
    assert Path.cwd() == here
    assert not (here / "model_info").exists()


@installed
@pytest.mark.usefixtures("no_downloads", "mapped")
def test_files_as_torchvision_has_them_are_read_by_their_own_loader(
    deck: Deck, layout: Path, test_images: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchvision.datasets import CIFAR10

    folder = write_batches(test_images, tmp_path)
    write_pickle(folder / "test_batch", batch_of(test_images))
    (tmp_path / "CIFAR-10-C").symlink_to(layout)
    archive = make_archive(folder)
    monkeypatch.setitem(cifar.ARCHIVES, "cifar10", archive)
    monkeypatch.setattr("cards_deck.data.ARCHIVES", {"cifar10": archive})
    monkeypatch.setattr(CIFAR10, "train_list", [list(file) for file in archive.train])
    monkeypatch.setattr(CIFAR10, "test_list", [list(file) for file in archive.test])
    monkeypatch.setattr(CIFAR10, "meta", CIFAR10.meta | {"md5": md5(folder / "batches.meta")})
    monkeypatch.setattr(robustbench, "_loaders", _theirs_only(robustbench._loaders))
    some = _two_corruptions(monkeypatch)
    (tmp_path / "CIFAR-10-C" / "manifest.json").write_text("{}")
    entry = robustbench.benchmark(deck, tmp_path, n=N, name="other-name")
    (tmp_path / "CIFAR-10-C" / "manifest.json").unlink()
    assert (entry["clean_acc"], entry["corruptions_acc"]) == _expected(deck, test_images, some)
    assert "NOT COMPARABLE: corrupted images regenerated" in entry["footnote"]


def _theirs_only(replace: Any) -> Any:
    """`_loaders` that fails where it would put our loader in the place of theirs."""

    def checked(package: Any, kind: Any, test: Any) -> Any:
        assert test is None
        return replace(package, kind, test)

    return checked


def _two_corruptions(monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    package, some = robustbench.released(), ("fog", "snow")
    kind = package.model_zoo.enums.BenchmarkDataset.cifar_10
    monkeypatch.setitem(package.data.CORRUPTIONS_DICT[kind], package.model_zoo.enums.ThreatModel.corruptions, some)
    return some


@installed
@pytest.mark.usefixtures("no_downloads", "mapped")
def test_the_command_writes_the_entry(
    deck: Deck, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _two_corruptions(monkeypatch)
    folder = write_deck(deck, tmp_path / "deck")
    out = tmp_path / "out"
    options = ["--data", str(root), "--n", "8", "--name", "mine", "--out", str(out)]
    with pytest.raises(InputError, match="KEY=TEXT"):
        robustbench.main([str(folder), *options, "--info", "clean_acc=100"])
    assert (
        main(["robustbench", str(folder), *options, "--info", "authors=A. Bee", "--info", "link=https://x/?a=b"]) == 0
    )
    entry = json.loads((out / "model_info" / "cifar10" / "corruptions" / "mine.json").read_text())
    assert (entry["authors"], entry["link"], entry["venue"]) == ("A. Bee", "https://x/?a=b", "Unpublished")
    assert f"corruptions {entry['corruptions_acc']} %" in capsys.readouterr().out


@installed
def test_stand_ins_are_gone_after_the_import() -> None:
    package = robustbench.released()
    assert callable(package.eval.benchmark)
    assert "autoattack" not in sys.modules
    with pytest.raises(InputError, match="corruption benchmark only"):
        package.eval.AutoAttack(None)


@installed
@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("fog", None, "fog.npy must be there"),
        ("fog", np.zeros((250, 32, 32, 3), np.uint8), "5 x 10,000"),
        ("labels", np.ones(5 * BLOCK, np.int64), "begin with the labels"),
    ],
)
@pytest.mark.usefixtures("no_downloads")
def test_bad_files_are_named_before_anything_runs(
    deck: Deck, root: Path, layout: Path, name: str, array: Any, message: str
) -> None:
    (root / "CIFAR-10-C").unlink()
    (root / "CIFAR-10-C").mkdir()
    for path in layout.iterdir():
        if path.stem != name:
            (root / "CIFAR-10-C" / path.name).symlink_to(path)
    if array is not None:
        np.save(root / "CIFAR-10-C" / f"{name}.npy", array)
    with pytest.raises(DataError, match=message):
        robustbench.benchmark(deck, root, n=N)


@pytest.mark.usefixtures("no_downloads")
def test_bad_requests_are_refused(deck: Deck, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="10 or 100"):
        robustbench.benchmark(fake_deck(classes=4), root, n=N)
    with pytest.raises(InputError, match="1 to 50"):
        robustbench.benchmark(deck, root, n=N + 1)
    with pytest.raises(InputError, match="name"):
        robustbench.benchmark(deck, root, n=N, name="../up")
    (root / "cifar10_test.npz").unlink()
    with pytest.raises(DataError, match="cifar-10-batches-py"):
        robustbench.benchmark(deck, root, n=N)
    robustbench.released.cache_clear()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="pip install"):
        robustbench.released()


def test_the_module_answers_as_the_served_path_does(deck: Deck) -> None:
    noisy = _corrupted(fake_images(24, seed=5), 1, 1)
    images = np.concatenate([fake_images(24, seed=4), noisy])
    module, planes = DeckModule(deck), torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    expected = Predictor(deck, engine=EngineKind.TORCH).predict(images)
    assert len(np.unique(expected.weights, axis=0)) > 1  # both alone and mixed
    answer = module(planes)
    assert not module.training
    np.testing.assert_allclose(answer.exp().numpy(), expected.probabilities, atol=1e-5)
    alone = torch.cat([module(planes[row : row + 1]) for row in range(8)])
    torch.testing.assert_close(alone, answer[:8], atol=1e-5, rtol=0)
    torch.testing.assert_close(module(planes.flip(0)).flip(0), answer, atol=1e-5, rtol=0)
    torch.testing.assert_close(module.double()(planes.double()), answer.double(), atol=1e-4, rtol=0)
    assert module(planes[:0]).shape == (0, 10)


@pytest.mark.parametrize("kind", KINDS)
def test_the_module_answers_as_every_kind_of_gate_does(kind: str) -> None:
    made = fitted_deck(kind)
    images = np.concatenate([fake_images(12, seed=4), _corrupted(fake_images(12, seed=5), 1, 1)])
    expected = Predictor(made, engine=EngineKind.TORCH).predict(images)
    answer = DeckModule(made)(torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255)
    np.testing.assert_allclose(answer.exp().numpy(), expected.probabilities, atol=1e-5)


def test_passes_are_the_most_that_the_gate_may_run() -> None:
    deck = family_deck()
    measured = {"clean_acc": "1", "corruptions_acc": "1", "dataset": "cifar10", "eps": None}
    for kind, passes in (("uniform", len(deck.originals)), ("spectral", 2)):
        one = dataclasses.replace(deck, gate=GateConfig(kind), folder=None)
        assert robustbench._model_info(one, measured, N, regenerated=False)["number_forward_passes"] == passes
    assert len(deck.originals) < len(deck.cards)


def test_the_module_has_gradients_and_refuses_other_pixels(deck: Deck) -> None:
    module, planes = DeckModule(deck), torch.from_numpy(fake_images(2)).permute(0, 3, 1, 2).float() / 255
    planes.requires_grad_()
    (slope,) = torch.autograd.grad(module(planes)[:, 0].sum(), planes)
    assert (slope.abs().amax(dim=(1, 2, 3)) > 0).all()
    for bad in (planes * 255, planes - 1, planes * torch.nan):
        with pytest.raises(InputError, match="0, 1"):
            module(bad)
    with pytest.raises(InputError, match="32 pixels"):
        module(planes[:, :, :16, :16])
