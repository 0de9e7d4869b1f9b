"""A user's own folder of 64-px images in four classes goes through train, pack, evaluate and serve by command."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from cards_deck import Predictor, read_deck

ROOT = Path(__file__).resolve().parent.parent
SIZE = 64
CLASSES = ("checks", "columns", "disc", "rows")
TRAIN, TEST = 40, 6  # images of each class
NETWORK = (
    "--network.widths",
    "16,24,32",
    "--network.blocks",
    "1,1,1",
    "--method.density",
    "0.5",
    "--method.interval",
    "10",
)
SCHEDULE = ("--schedule.batch_size", "16", "--schedule.learning_rate", "0.1")


def picture(kind: str, rng: np.random.Generator) -> Image.Image:
    """A noisy two-coloured pattern of the class `kind`."""
    rows, columns = np.mgrid[0:SIZE, 0:SIZE]
    period, phase = rng.integers(8, 14), rng.integers(0, 14)
    bands = [(axis + phase) // (period // 2) % 2 == 0 for axis in (rows, columns)]
    middle, radius = rng.integers(24, 40, 2), rng.integers(12, 22)
    disc = np.hypot(rows - middle[0], columns - middle[1]) < radius
    pattern = {"rows": bands[0], "columns": bands[1], "checks": bands[0] ^ bands[1], "disc": disc}[kind]
    dark, light = rng.integers(0, 90, 3), rng.integers(150, 256, 3)
    pixels = np.where(pattern[..., None], light, dark) + rng.normal(0, 6, (SIZE, SIZE, 3))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def run(*command: str) -> str:
    """Run `python -m <command>` as a user would, from the repository's root; its output."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@dataclass(frozen=True)
class Made:
    """What the first two commands made."""

    photos: Path
    deck: Path
    folder: Path

    @property
    def tests(self) -> list[Path]:
        """The test images, class by class."""
        return sorted(self.photos.glob("test/*/*.png"))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Photos, two cards of one mask, and their deck."""
    folder = tmp_path_factory.mktemp("own images")
    photos, deck = folder / "photos", folder / "models" / "patterns"
    rng = np.random.default_rng(0)
    for split, count in (("train", TRAIN), ("test", TEST)):
        for kind in CLASSES:
            (photos / split / kind).mkdir(parents=True)
            for index in range(count):
                picture(kind, rng).save(photos / split / kind / f"{index:03d}.png")
    data = ("--data", str(photos), "--image-size", str(SIZE))
    train = ("cards_deck", "train", *data, "--device", "cpu", "--quiet", *SCHEDULE)
    base = folder / "runs" / "augmix" / "augmix.card.safetensors"
    run(*train, "--augmentation", "augmix", *NETWORK, "--schedule.epochs", "5", "--out", str(base.parent))
    noisy = folder / "runs" / "gaussian" / "gaussian.card.safetensors"
    tune = ("--augmentation", "gaussian", "--from", str(base), "--schedule.epochs", "3")
    run(*train, *tune, "--out", str(noisy.parent))
    deck.parent.mkdir()
    run("cards_deck", "pack", str(base), str(noisy), *data, "--out", str(deck))
    return Made(photos, deck, folder)


def test_the_deck_holds_what_was_trained(made: Made) -> None:
    deck = read_deck(made.deck)
    assert deck.classes == CLASSES
    assert deck.image_size == SIZE
    assert {card.augmentation for card in deck.cards} == {"augmix", "gaussian"}
    assert all(0.49 < card.density < 0.51 for card in deck.cards)
    one, other = deck.cards
    assert all(np.array_equal(one.masks[name], other.masks[name]) for name in one.masks)
    assert "patterns" in run("cards_deck", "show", str(made.deck))


def test_the_commands_answer_new_images(made: Made) -> None:
    lines = run("cards_deck", "predict", *map(str, made.tests), "--deck", str(made.deck), "--json").splitlines()
    labels = [json.loads(line)["label"] for line in lines]
    right = np.mean([label == path.parent.name for label, path in zip(labels, made.tests, strict=True)])
    assert right >= 0.6, f"{right:.0%} right on four easy classes: nothing was learned"


def test_the_deck_is_measured(made: Made) -> None:
    out = made.folder / "reports"
    where = ("--out", str(out), "--cache", str(made.folder / "cache"), "--resamples", "200")
    run("eval", str(made.deck), "--data", str(made.photos), "--name", "folder", "--subset", "4", *where)
    report = json.loads((out / "patterns" / "cifar10-c.json").read_text())
    assert report["n"] == 4
    assert report["n_clean"] == len(made.tests)
    assert report["source"] == "regenerated"
    for route in ("gated", "uniform", "best_card", "cell_oracle", "oracle"):
        for field in ("clean", "mean", "severity5", "noise", "non_noise"):
            interval = report["routes"][route][field]
            assert 0 <= interval["low"] <= interval["value"] <= interval["high"] <= 1
    assert report["routes"]["oracle"]["mean"]["value"] >= report["routes"]["gated"]["mean"]["value"]
    assert report["routes"]["uniform"]["cards_per_image"] == 2


@pytest.fixture
def server(made: Made, tmp_path: Path) -> Iterator[str]:
    """The address of a server of the deck, in processes of its own."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = os.environ | {"CARDS_DECK_PATH": str(made.deck), "BENTOML_HOME": str(tmp_path / "bentoml")}
    environment.pop("PROMETHEUS_MULTIPROC_DIR", None)  # the server makes its own
    command = ["bentoml", "serve", "serving.service:CardsDeck", "--host", "127.0.0.1", "--port", str(port)]
    with (tmp_path / "server.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", *command], cwd=ROOT, env=environment, stdout=log, stderr=log, start_new_session=True
        )
        try:
            yield _ready(f"http://127.0.0.1:{port}", process, tmp_path / "server.log")
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(60)


def _ready(address: str, process: subprocess.Popen[bytes], log: Path) -> str:
    for _ in range(1200):
        assert process.poll() is None, f"the server ended:\n{log.read_text()}"
        try:
            if httpx.get(f"{address}/readyz", timeout=5).status_code == 200:
                return address
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise AssertionError(f"the server was never ready:\n{log.read_text()}")


def test_the_server_answers_as_the_library_does(made: Made, server: str) -> None:
    predictor = Predictor(read_deck(made.deck))
    for path in made.tests[::TEST]:
        answer: dict[str, Any] = httpx.post(
            f"{server}/classify", files={"image": (path.name, path.read_bytes(), "image/png")}, timeout=60
        ).json()
        prediction = predictor.predict(np.asarray(Image.open(path).convert("RGB"))[None])
        assert answer["label"] == CLASSES[int(prediction.labels[0])]
        assert list(answer["probabilities"]) == list(CLASSES)
        np.testing.assert_allclose(list(answer["probabilities"].values()), prediction.probabilities[0], atol=1e-5)
        assert sum(card["weight"] for card in answer["cards"]) == pytest.approx(1, abs=1e-5)
        assert set(answer["distances"]) == {"augmix", "gaussian"}
    metrics = httpx.get(f"{server}/metrics", timeout=60).text
    assert "cards_deck_predictions_total" in metrics
