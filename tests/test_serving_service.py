"""The real server: BentoML's processes, ports and signals around our application; and what `bentoml build` packs."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from serving_client import parse_samples, png

from cards_deck.deck import write_deck
from cards_deck.inference.fake_deck import fake_deck

ROOT = Path(__file__).resolve().parent.parent
SERVE = [sys.executable, "-m", "bentoml", "serve", "serving.service:CardsDeck"]
PATIENCE = 500  # seconds: for machines that do other things; nothing here asserts a time


def environment(home: Path, **variables: str) -> dict[str, str]:
    """This process's environment without what belongs to its own metrics, with a BentoML home of its own."""
    kept = {key: value for key, value in os.environ.items() if key != "PROMETHEUS_MULTIPROC_DIR"}
    return {**kept, "BENTOML_HOME": str(home), "BENTOML_DO_NOT_TRACK": "True", **variables}


@dataclass
class Server:
    process: subprocess.Popen[str]
    url: str
    log: Path

    def workers(self) -> list[Path]:
        """/proc folders of the worker processes."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return [
            Path("/proc", pid) for pid in children if b"worker.service" in Path("/proc", pid, "cmdline").read_bytes()
        ]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Two workers of the fake deck, run by whichever engine is installed."""
    folder = tmp_path_factory.mktemp("server")
    write_deck(fake_deck(), folder / "deck")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    variables = environment(
        folder / "bentoml", CARDS_DECK_PATH=str(folder / "deck"), PORT=str(port), CARDS_DECK_WORKERS="2"
    )
    log = folder / "log"
    with log.open("w") as output:
        process = subprocess.Popen(SERVE, cwd=ROOT, env=variables, stdout=output, stderr=output, text=True)
    server = Server(process, f"http://127.0.0.1:{port}", log)
    try:
        wait_until_ready(server)
        yield server
    finally:
        process.kill()
        process.wait()


def wait_until_ready(server: Server) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        assert server.process.poll() is None, server.log.read_text()
        try:
            if httpx.get(f"{server.url}/readyz", timeout=5).status_code == 200 and both_are_counted(server):
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    pytest.fail(f"not ready: {server.log.read_text()}")


def both_are_counted(server: Server) -> bool:
    return server.log.read_text().count("Completed async startup hook") == 2


def test_it_classifies_counts_and_refuses(server: Server) -> None:
    with httpx.Client(base_url=server.url, timeout=PATIENCE, trust_env=False) as client:
        before = parse_samples(client.get("/metrics").text)
        for seed in range(20):
            answer = client.post("/classify", files={"image": ("cat.png", png(seed), "image/png")})
            assert answer.status_code == 200, answer.text
            assert answer.headers["x-request-id"]
        bad = client.post("/classify", files={"image": ("cat.png", b"junk", "image/png")})
        assert (bad.status_code, bad.json()["code"]) == (400, "invalid_image")
        pickle = client.post("/classify", content=b"cos\n", headers={"Content-Type": "application/vnd.bentoml+pickle"})
        assert pickle.status_code == 415
        large = client.post("/classify", content=b"x" * (11 * 2**20), headers={"Content-Type": "image/png"})
        assert (large.status_code, large.json()["code"]) == (413, "body_too_large")
        for path in ("/schema.json", "/static_content/x", "/no/such"):
            assert client.get(path).json()["code"] == "not_found"
        assert client.get("/").headers["content-type"].startswith("text/html")
        scrapes = [parse_samples(client.get("/metrics").text) for _ in range(4)]
    choices = "cards_deck_gate_choices_total"
    counts = [sum(value for (name, _), value in scrape.items() if name == choices) for scrape in (before, *scrapes)]
    assert counts == [0, 20, 20, 20, 20]  # whichever worker answers the scrape
    assert scrapes[0]["cards_deck_rejected_inputs_total", (("code", "invalid_image"),)] == 1
    infos = [dict(labels) for name, labels in scrapes[0] if name == "cards_deck_deck_info"]
    assert {(info["name"], info["version"]) for info in infos} == {("fake", "1")}
    engines = {labels for name, labels in scrapes[0] if name == "cards_deck_card_engine"}
    assert {dict(labels)["card"] for labels in engines} == {card.name for card in fake_deck().cards}
    assert set(scrapes[-1]) == set(before)
    assert not [name for name, _ in before if not name.startswith("cards_deck_")]


def test_its_workers_are_small_and_hold_no_torch(server: Server) -> None:
    workers = server.workers()
    assert len(workers) == 2
    for worker in workers:
        assert "torch" not in worker.joinpath("maps").read_text()
        fields = dict(line.split(":", 1) for line in worker.joinpath("status").read_text().splitlines())
        assert int(fields["VmRSS"].split()[0]) < 350_000  # kB


def test_it_stops_cleanly(server: Server) -> None:
    server.process.send_signal(signal.SIGINT)
    assert server.process.wait(PATIENCE) == 0
    assert "Traceback" not in server.log.read_text()


def test_a_broken_deck_ends_the_server_with_one_clear_line(tmp_path: Path) -> None:
    write_deck(fake_deck(), tmp_path / "deck")
    card = next((tmp_path / "deck").glob("augmix*"))
    data = bytearray(card.read_bytes())
    data[-1] ^= 1
    card.write_bytes(data)
    variables = environment(tmp_path / "bentoml", CARDS_DECK_PATH=str(tmp_path / "deck"), PORT="3997")
    result = subprocess.run(SERVE, cwd=ROOT, env=variables, capture_output=True, text=True, timeout=PATIENCE)
    assert result.returncode == 1
    lines = [line for line in result.stderr.splitlines() if line.strip()]
    assert len(lines) == 1
    assert lines[0].startswith("cards-deck: the deck is refused")
    assert card.name in lines[0]


def test_a_bento_holds_what_serving_needs_and_nothing_else(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "bentoml", "build", "--output", "tag"]
    result = subprocess.run(
        build, cwd=ROOT, env=environment(tmp_path), capture_output=True, text=True, timeout=PATIENCE
    )
    assert result.returncode == 0, result.stderr
    source = next(tmp_path.glob("bentos/cards_deck/*/src"))
    packed = {path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file()}
    needed = {
        "serving/service.py",
        "serving/page/index.html",
        "cards_deck/deck.py",
        "cards_deck/coding/rice.py",
        "cards_deck/inference/engines/_sparse/network.c",
        "cards_deck/inference/predictor.py",
        "models/cifar10-medium/deck.json",
    }
    assert packed >= needed
    assert not [name for name in packed if "/logs/" in name]
    tops = {name.split("/")[0] for name in packed}
    assert tops <= {"LICENSE", "bentofile.yaml", "cards_deck", "models", "requirements", "serving"}
    assert not [
        name for name in packed if name.startswith(("cards_deck/training", "cards_deck/corruptions")) or "torch" in name
    ]
    assert {name for name in packed if name.startswith("requirements")} == {"requirements/serve.txt"}
    imports = """import sys, serving.service; from cards_deck.deck import read_deck
sys.exit('torch' in sys.modules or not read_deck("models/cifar10-medium").cards)"""
    inside = subprocess.run([sys.executable, "-c", imports], cwd=source, env=environment(tmp_path), timeout=PATIENCE)
    assert inside.returncode == 0
