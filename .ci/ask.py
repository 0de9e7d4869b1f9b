"""Ask a running server as a user would, and look at its processes: `python .ci/ask.py http://127.0.0.1:3000 PROCESS`.

Waits for /readyz, classifies a generated PNG, reads the metrics, sends a broken image, and checks that no process below
PROCESS has torch in its memory map and that each holds less than 350 MB.
"""

from __future__ import annotations

import io
import json
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
from PIL import Image

READY_SECONDS = 30.0
WORKER_BYTES = 350_000_000


def fetch(url: str, body: bytes | None = None, content_type: str = "image/png") -> tuple[int, str]:
    """The status and text of one request; an error status is an answer too."""
    request = urllib.request.Request(url, data=body, headers={"Content-Type": content_type} if body else {})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def wait_until_ready(base: str) -> float:
    """Seconds until /readyz answered 200."""
    start = time.monotonic()
    while (waited := time.monotonic() - start) < READY_SECONDS:
        try:
            if fetch(f"{base}/readyz")[0] == 200:
                return waited
        except OSError:
            time.sleep(0.1)
    raise SystemExit(f"{base}/readyz did not answer 200 within {READY_SECONDS:.0f} s")


def png() -> bytes:
    """A 48x40 PNG of a diagonal gradient with some noise."""
    rows, columns = np.mgrid[0:40, 0:48]
    noise = np.random.default_rng(0).integers(0, 40, (40, 48, 3))
    image = np.stack([rows * 5, columns * 4, rows + columns], axis=-1) + noise
    buffer = io.BytesIO()
    Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(buffer, format="PNG")
    return buffer.getvalue()


def as_form(image: bytes) -> tuple[bytes, str]:
    """The body and content type that `curl -F image=@picture.png` sends."""
    head = b'Content-Disposition: form-data; name="image"; filename="picture.png"\r\nContent-Type: image/png'
    body = b"--edge\r\n" + head + b"\r\n\r\n" + image + b"\r\n--edge--\r\n"
    return body, "multipart/form-data; boundary=edge"


def descendants(root: int) -> list[Path]:
    """The /proc folders of a process and everything below it, whatever group they are in."""
    parents: dict[int, int] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    family = {root}
    while more := {child for child, parent in parents.items() if parent in family} - family:
        family |= more
    return [Path("/proc", str(process)) for process in sorted(family)]


def check_processes(root: int) -> None:
    """No torch and little memory in any Python process below `root` (Linux only)."""
    for folder in descendants(root):
        try:
            maps, status = (folder / "maps").read_text(), (folder / "status").read_text()
        except OSError:  # it has ended since it was listed
            continue
        if "libpython" not in maps and "python" not in maps:
            continue
        held = int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) * 1024
        print(f"  process {folder.name}: {held / 1e6:.0f} MB")
        assert "/torch/" not in maps, f"process {folder.name} of the server has loaded torch"
        assert held < WORKER_BYTES, f"process {folder.name} of the server holds {held / 1e6:.0f} MB"


def main(base: str, root: int) -> None:
    """Run every check against the server at `base`, whose first process is `root`."""
    print(f"  ready {wait_until_ready(base):.1f} s after the first question")
    status, text = fetch(f"{base}/classify", *as_form(png()))
    print(f"  {status} {text[:400]}")
    assert status == 200, f"/classify answered {status}: {text}"
    answer = json.loads(text)
    assert isinstance(answer["label"], str), "the answer has no label"
    assert abs(sum(answer["probabilities"].values()) - 1) < 1e-3, "the probabilities do not sum to 1"
    status, text = fetch(f"{base}/classify", *as_form(b"not an image"))
    print(f"  {status} {text[:200]}")
    assert status == 400, f"a broken image was answered {status}, not 400"
    assert {"error", "code", "request_id"} <= set(json.loads(text)), f"an error without its fields: {text}"
    status, text = fetch(f"{base}/metrics")
    assert status == 200, f"/metrics answered {status}"
    assert "cards_deck_predictions_total" in text, "/metrics does not count the predictions"
    if Path("/proc").is_dir():
        check_processes(root)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
