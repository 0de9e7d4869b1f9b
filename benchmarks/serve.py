"""What a server of the released deck costs, started as `make serve` starts it: seconds until /readyz, memory, latency.

Each round starts a fresh server with one worker and one thread, in .venv-serve where `make serve` has made it and else
in the environment that runs this. One client then sends the requests one after the other over one connection, each a
generated image as PNG. The command fails where a process of the server has torch in its memory map. Linux only.
"""

from __future__ import annotations

import argparse
import http.client
import io
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from benchmarks.harness import row, save
from cards_deck.inference.fake_deck import fake_images

ROOT = Path(__file__).resolve().parent.parent
DECK = ROOT / "models" / "cifar10-medium"
READY_WITHIN = 120.0
SIDE = 256  # pixels of the images sent


@dataclass(frozen=True)
class Round:
    """One server: seconds until it was ready, bytes that each of its workers held at the end, seconds per request."""

    ready: float
    workers: list[int]
    latency: list[float]


@contextmanager
def server(deck: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """A server of `deck` on this machine, as `make serve` starts it; ended with its workers."""
    own = ROOT / ".venv-serve" / "bin" / "python"
    interpreter = str(own) if own.exists() else sys.executable
    home = tempfile.mkdtemp(prefix="cards-deck-bench-")
    environment = os.environ | {
        "CARDS_DECK_PATH": str(deck), "CARDS_DECK_WORKERS": "1", "CARDS_DECK_THREADS": "1", "OMP_NUM_THREADS": "1",
        "BENTOML_HOME": home, "BENTOML_DO_NOT_TRACK": "True",
    }  # fmt: skip
    command = [interpreter, "-m", "bentoml", "serve", "serving.service:CardsDeck"]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    log = Path(home, "log")
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=output, stderr=output, start_new_session=True
        )
    try:
        yield process
    except BaseException:
        print(log.read_text(errors="replace"), file=sys.stderr)
        raise
    finally:
        _stop(process)
        shutil.rmtree(home, ignore_errors=True)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGINT)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_until_ready(process: subprocess.Popen[bytes], port: int, started: float) -> float:
    """Seconds from `started` until /readyz answered 200."""
    while time.perf_counter() - started < READY_WITHIN:
        if process.poll() is not None:
            raise SystemExit(f"the server ended with status {process.returncode} before it was ready")
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/readyz")
            if connection.getresponse().status == 200:
                return time.perf_counter() - started
        except (OSError, http.client.HTTPException):
            pass
        finally:
            connection.close()
        time.sleep(0.02)
    raise SystemExit(f"/readyz did not answer 200 within {READY_WITHIN:.0f} s")


def ask(port: int, files: Sequence[bytes]) -> list[float]:
    """Seconds from each request to the end of its answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    seconds = []
    for data in files:
        start = time.perf_counter()
        connection.request("POST", "/classify", body=data, headers={"Content-Type": "image/png"})
        answer = connection.getresponse()
        text = answer.read()
        seconds.append(time.perf_counter() - start)
        if answer.status != 200:
            raise SystemExit(f"/classify answered {answer.status}: {text.decode(errors='replace')}")
    connection.close()
    return seconds


def family(process: int) -> list[Path]:
    """The /proc folders of a process and of everything below it."""
    children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    return [Path("/proc", str(process)), *(folder for child in children for folder in family(int(child)))]


def worker_bytes(process: int) -> list[int]:
    """Resident bytes of each worker below `process`; ends the command where any process has loaded torch."""
    held = []
    for folder in family(process):
        if "/torch/" in (folder / "maps").read_text():
            raise SystemExit(f"process {folder.name} of the server has loaded torch")
        if b"worker.service" in (folder / "cmdline").read_bytes():
            lines = (folder / "status").read_text().splitlines()
            held.append(1024 * int(next(line for line in lines if line.startswith("VmRSS")).split()[1]))
    if not held:
        raise SystemExit("no worker process was found below the server's")
    return held


def measure(deck: Path, files: Sequence[bytes]) -> Round:
    """Start a server, send it the files, look at its processes, end it."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    started = time.perf_counter()
    with server(deck, port) as process:
        ready = wait_until_ready(process, port, started)
        latency = ask(port, files)
        return Round(ready, worker_bytes(process.pid), latency)


def pngs(n: int) -> list[bytes]:
    """Generated images of SIDE x SIDE pixels as PNG files."""
    files = []
    for image in fake_images(n, SIDE):
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "PNG")
        files.append(buffer.getvalue())
    return files


def main() -> None:
    """Measure, print and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--deck", type=Path, default=DECK, help="folder of the deck (default: the deck that is served)")
    parser.add_argument("--requests", type=int, default=100, help="requests to each server (default 100)")
    parser.add_argument("--repeats", type=int, default=3, help="servers started, at least 2 (default 3)")
    options = parser.parse_args()
    files = pngs(options.requests)
    rounds = [measure(options.deck.resolve(), files) for _ in range(options.repeats)]
    cuts = [[1000 * cut for cut in statistics.quantiles(one.latency, n=20, method="inclusive")] for one in rounds]
    image = f"PNG of {SIDE} x {SIDE}"
    rows = [
        row("start until /readyz", "s", [one.ready for one in rounds]),
        row(f"memory of a worker after {options.requests} requests", "MB",
            [held / 1e6 for one in rounds for held in one.workers]),
        row(f"/classify, {image}, p50", "ms", [cut[9] for cut in cuts]),
        row(f"/classify, {image}, p95", "ms", [cut[18] for cut in cuts]),
    ]  # fmt: skip
    save("serve", rows, {}, packages=("bentoml",))


if __name__ == "__main__":
    main()
