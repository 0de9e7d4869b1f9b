"""What every test shares: a private BentoML home, and real data where the machine has it.

The variables are set before anything can import prometheus_client: it decides on import whether it keeps its numbers in
files, and BentoML serves /metrics only when it does.
"""

from __future__ import annotations

import atexit
import copy
import fcntl
import os
import runpy
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

_PRIVATE = Path(tempfile.mkdtemp(prefix="cards-deck-tests-"))
atexit.register(shutil.rmtree, _PRIVATE, ignore_errors=True)
(_PRIVATE / "prometheus").mkdir()
os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(_PRIVATE / "prometheus")
os.environ["BENTOML_HOME"] = str(_PRIVATE / "bentoml")
os.environ["BENTOML_DO_NOT_TRACK"] = "True"
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np  # noqa: E402  (after the environment)
import pytest  # noqa: E402

if TYPE_CHECKING:
    from cards_deck.data import Dataset
    from cards_deck.deck import Deck

ROOT = Path(__file__).resolve().parent.parent


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on `path`, so that parallel test processes unpack once."""
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _source() -> Path | None:
    """The folder with real data: $CARDS_DECK_DATA, else a folder named shared/data beside the checkout, else None."""
    named = os.environ.get("CARDS_DECK_DATA")
    candidates = [Path(named)] if named else [ROOT.parent / "shared" / "data"]
    return next((path for path in candidates if path.is_dir()), None)


def _unpack(source: Path, name: str, split: str, root: Path) -> None:
    """Write root/<name>_<split>.npz with the folder's own reader; nothing to do where it is there already."""
    target = root / f"{name}_{split}.npz"
    with _locked(root / f"{name}_{split}.lock"):
        if target.exists():
            return
        load = runpy.run_path(str(source / "unpack.py"))["load"]
        images, labels, classes = load(name, split, source)
        partial = target.with_name(f"part-{target.name}")
        np.savez(partial, images=images, labels=labels, classes=np.array(classes))
        partial.rename(target)


@pytest.fixture(scope="session")
def real_root(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Path]:
    """`real_root(name, split)`: a data root holding that real split, for `cards_deck.data.load`; skips without."""
    source = _source()
    shared = tmp_path_factory.getbasetemp()
    if os.environ.get("PYTEST_XDIST_WORKER"):
        shared = shared.parent
    root = shared / "real-data"
    root.mkdir(exist_ok=True)

    def find(name: str, split: str) -> Path:
        if source is None:
            pytest.skip("no real data: set CARDS_DECK_DATA, or have a folder named shared/data beside the checkout")
        if not (source / "unpack.py").is_file():
            layouts = {"cifar10": "cifar-10-batches-py", "cifar100": "cifar-100-python"}
            if not any((source / file).exists() for file in (layouts.get(name, name), f"{name}_{split}.npz")):
                pytest.skip(f"no real data: {source} has no {name}")
            return source
        if not (source / name / split).is_dir():
            pytest.skip(f"no real data: {source} has no {name} {split} split")
        _unpack(source, name, split, root)
        return root

    return find


@pytest.fixture(scope="session")
def data_root(real_root: Callable[[str, str], Path]) -> Path:
    """A data root with the real CIFAR-10 test images; skips where the machine has none."""
    return real_root("cifar10", "test")


@pytest.fixture(scope="session")
def real_cifar10(real_root: Callable[[str, str], Path]) -> Callable[[str], Dataset]:
    """`real_cifar10("train" | "test")`: that split of the real CIFAR-10; skips where the machine has none."""

    def find(split: str) -> Dataset:
        from cards_deck import data

        return data.load(real_root("cifar10", split), name="cifar10", split=split)

    return find


@pytest.fixture(scope="session")
def eval_deck() -> Deck:
    """A fake deck of four cards that whole evaluations take a moment for."""
    from eval_tiny import tiny_deck

    return tiny_deck()


@pytest.fixture(scope="session")
def eval_root(eval_deck: Deck, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with both splits of images that `eval_deck` mostly answers right."""
    from eval_tiny import write_root

    return write_root(eval_deck, tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="session")
def stored_reports() -> dict[str, dict[str, Any]]:
    """Suite name -> made-up JSON, to be looked at only."""
    from eval_json import Maker

    return Maker().all()


@pytest.fixture
def reports(stored_reports: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """A copy of them that a test may change."""
    return copy.deepcopy(stored_reports)
