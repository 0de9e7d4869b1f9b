"""The public layout: written whole, resumed after a kill, told from official files, refused where it must be."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cards_deck.corruptions import SEVERITIES, corrupt
from cards_deck.data import Dataset
from cards_deck.errors import DataError, InputError
from cards_deck.inference.fake_deck import fake_images
from eval.layout import blocks, disk, manifest, read_manifest, write_layout
from eval.stored_cells import StoredCells

ROOT = Path(__file__).resolve().parent.parent
NAMES = ("fog", "contrast")
N = 6


class Seen:
    """A progress callback that keeps what it was told."""

    def __init__(self) -> None:
        self.images = self.cached = 0

    def __call__(self, images: int, what: str, *, cached: bool = False) -> None:
        assert what
        self.images += images
        self.cached += images if cached else 0


def write(folder: Path, names: tuple[str, ...] = NAMES, **changed: Any) -> tuple[dict[str, Any], Seen]:
    seen = Seen()
    arguments = {"images": fake_images(N), "labels": np.arange(N) % 3, "seed": 4, "progress": seen} | changed
    return write_layout(arguments.pop("images"), arguments.pop("labels"), folder, names, **arguments), seen


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("layout") / "deep" / "CIFAR-10-C"
    write(folder)
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy that a test may break."""
    return Path(shutil.copytree(made, tmp_path / "CIFAR-10-C"))


def test_other_tools_read_it(made: Path) -> None:
    assert sorted(contents(made)) == ["contrast.npy", "fog.npy", "labels.npy", "manifest.json"]
    labels = np.load(made / "labels.npy")
    assert labels.dtype == np.uint8
    assert labels.tolist() == [0, 1, 2, 0, 1, 2] * 5
    for name in NAMES:
        stored = np.load(made / f"{name}.npy")
        assert stored.flags.c_contiguous
        expected = [corrupt(fake_images(N), name, severity, seed=4) for severity in SEVERITIES]
        np.testing.assert_array_equal(stored, np.concatenate(expected))


def test_the_evaluation_reads_it_and_says_that_it_is_regenerated(folder: Path) -> None:
    clean = Dataset(fake_images(N), np.arange(N) % 3, ("a", "b", "c"), "cifar10", "test")
    cells = StoredCells.open(folder, NAMES, clean, subset=None, seed=0)
    assert (cells.source, cells.seed) == ("regenerated", 4)
    np.testing.assert_array_equal(cells.labels, clean.labels)
    for name in NAMES:
        np.testing.assert_array_equal(cells.images(name, 3), corrupt(clean.images, name, 3, seed=4))
    (folder / "manifest.json").unlink()
    assert StoredCells.open(folder, NAMES, clean, subset=None, seed=0).source == "official"


def test_the_manifest_holds_hashes_anyone_can_check(made: Path) -> None:
    found = read_manifest(made)
    assert found is not None
    assert (found["source"], found["seed"], found["n"], found["size"]) == ("regenerated", 4, N, 32)
    assert set(found["versions"]) == {"cards-deck", "numpy", "scipy", "pillow", "libjpeg-turbo"}
    assert found["clean_sha256"] == hashlib.sha256(fake_images(N).tobytes()).hexdigest()
    assert sorted(found["files"]) == ["contrast.npy", "fog.npy"]
    for name, entry in found["files"].items():
        assert entry["sha256"] == hashlib.sha256((made / name).read_bytes()).hexdigest()
        parts = np.load(made / name).reshape(5, -1)
        assert entry["severities"] == [hashlib.sha256(part.tobytes()).hexdigest() for part in parts]


def test_several_processes_and_parts_write_the_same_bytes(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    returned, seen = write(tmp_path / "two", processes=2)
    assert contents(tmp_path / "two") == contents(made)
    assert returned == read_manifest(made)
    assert (seen.images, seen.cached) == (2 * 5 * N, 0)
    monkeypatch.setattr(blocks, "_PART_BYTES", 2 * 32 * 32 * 3)
    write(tmp_path / "parts")
    assert contents(tmp_path / "parts") == contents(made)


def test_a_larger_label_is_kept(tmp_path: Path) -> None:
    write(tmp_path, ("contrast",), labels=np.arange(N) * 200)
    assert np.load(tmp_path / "labels.npy")[:N].tolist() == [0, 200, 400, 600, 800, 1000]


def test_what_is_there_is_kept_and_the_rest_is_made(folder: Path, made: Path) -> None:
    kept = (folder / "contrast.npy").stat().st_ino
    (folder / "fog.npy").unlink()
    (folder / ".fog.0123.cards-deck.tmp").write_bytes(b"half of it")
    _, seen = write(folder)
    assert (seen.images, seen.cached) == (2 * 5 * N, 5 * N)
    assert contents(folder) == contents(made)
    assert (folder / "contrast.npy").stat().st_ino == kept
    assert write(folder, ("contrast", "fog", "frost"))[1].cached == 2 * 5 * N
    assert sorted(read_manifest(folder)["files"]) == ["contrast.npy", "fog.npy", "frost.npy"]  # type: ignore[index]


@pytest.mark.parametrize("fault", ["damaged", "other code"])
def test_a_file_of_another_content_is_made_again(fault: str, folder: Path, made: Path) -> None:
    if fault == "damaged":
        (folder / "fog.npy").write_bytes((folder / "fog.npy").read_bytes()[:-1] + b"\0")
    else:
        text = (folder / "manifest.json").read_text()
        (folder / "manifest.json").write_text(text.replace('"fingerprint": "', '"fingerprint": "0', 1))
    assert write(folder)[1].cached == 5 * N
    assert contents(folder) == contents(made)


_FOREVER = """
import sys, numpy as np
from pathlib import Path
from eval.stored_cells import StoredCells
from eval.layout import blocks, write_layout
if __name__ == "__main__":
    images = np.random.default_rng(0).integers(0, 256, (4000, 32, 32, 3), dtype=np.uint8)
    write_layout(images, np.zeros(4000, int), Path(sys.argv[1]), ("contrast", "fog", "snow"), seed=0, processes=2)
"""


def test_a_killed_run_leaves_whole_files_and_no_process(tmp_path: Path) -> None:
    script, folder = tmp_path / "forever.py", tmp_path / "out"
    script.write_text(_FOREVER)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(script), str(folder)]
    with subprocess.Popen(command, env=environment, cwd=ROOT, start_new_session=True) as run:
        deadline = time.monotonic() + 60
        while not (folder / "contrast.npy").exists() and time.monotonic() < deadline and run.poll() is None:
            time.sleep(0.005)
        with pytest.raises(DataError, match="being written by another run"):
            write(folder)
        assert len(_running(run.pid)) >= 3
        run.send_signal(signal.SIGKILL)
    found = read_manifest(folder)
    assert found is not None
    for name in found["files"]:
        if (folder / name).exists():
            assert disk.sha256(folder / name) == found["files"][name]["sha256"]
    assert {path.name for path in folder.glob("*.npy")} <= {"contrast.npy", "fog.npy", "snow.npy", "labels.npy"}
    while time.monotonic() < deadline and _running(run.pid):
        time.sleep(0.05)
    assert not _running(run.pid)


def _running(group: int) -> list[str]:
    """The live processes of a process group."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, member_of = path.read_text().rpartition(")")[2].split()[:3]
            found += [str(path)] if int(member_of) == group and state not in "ZX" else []
    return found


@pytest.mark.parametrize("name", ["fog.npy", "labels.npy"])
def test_official_files_are_never_replaced(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"official")
    with pytest.raises(DataError, match=f"{name} was not written here.*choose another folder"):
        write(tmp_path)
    assert contents(tmp_path) == {name: b"official"}
    assert read_manifest(tmp_path) is None


def test_a_file_beside_a_manifest_that_does_not_list_it_is_not_replaced(folder: Path) -> None:
    (folder / "snow.npy").write_bytes(b"official")
    with pytest.raises(DataError, match=r"snow.npy was not written here"):
        write(folder, ("snow",))


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"seed": 5}, "another seed"),
        ({"images": fake_images(N, seed=9)}, "another clean_sha256"),
        ({"labels": np.zeros(N, np.int64)}, "another labels_sha256"),
    ],
)
def test_another_run_s_folder_is_refused(changed: dict[str, Any], says: str, folder: Path) -> None:
    with pytest.raises(DataError, match=f"{says}: empty it or choose another"):
        write(folder, **changed)


def test_unwritable_folders_and_full_disks_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"file/CIFAR cannot be written \(Not a directory\): choose a folder"):
        write(tmp_path / "file" / "CIFAR")
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(DataError, match=r"too little space: 0.00 GB are needed and 0.00 GB are free"):
        write(tmp_path / "small")
    monkeypatch.undo()

    def no_space(self: object) -> str:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(blocks.Cell, "write", no_space)
    with pytest.raises(DataError, match=r"full cannot be written \(No space left on device\): free space and run"):
        write(tmp_path / "full")
    assert sorted(contents(tmp_path / "full")) == ["labels.npy", "manifest.json"]
    monkeypatch.undo()
    assert write(tmp_path / "full")[1].images == 2 * 5 * N


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"names": ("rain",)}, "unknown corruption 'rain'"),
        ({"names": ("fog", "fog")}, "different names"),
        ({"names": ()}, "one or more"),
        ({"images": np.zeros((0, 32, 32, 3), np.uint8), "labels": np.zeros(0, np.int64)}, "at least one image"),
        ({"images": np.zeros((N, 32, 32, 3))}, "numpy array of uint8"),
        ({"labels": np.zeros(N)}, f"{N} integers"),
        ({"labels": np.zeros(N + 1, np.int64)}, f"{N} integers"),
        ({"labels": np.full(N, -1)}, "not be negative, got -1"),
        ({"processes": 0}, "at least 1, got 0"),
    ],
)
def test_refuses(changed: dict[str, Any], says: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=says):
        write(tmp_path / "new", changed.pop("names", NAMES), **changed)
    assert not (tmp_path / "new").exists()


def _without(found: dict[str, Any], key: str) -> None:
    del found[key]


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (lambda m: m.update(schema_version=2), "schema version 1"),
        (lambda m: m.update(source="official"), "not 'official'"),
        (lambda m: m.update(seed="4"), "integer seed"),
        (lambda m: m.update(n=0), "positive integers n and size"),
        (lambda m: m.update(frost="ice"), "of frost, not 'ice'"),
        (lambda m: m.update(clean_sha256="abc"), "SHA-256 of the clean images"),
        (lambda m: _without(m, "versions"), "versions and files"),
        (lambda m: m["files"]["fog.npy"]["severities"].pop(), "SHA-256 of fog.npy and of its five"),
        (lambda m: m["files"].update({"fog.npy": 3}), "SHA-256 of fog.npy"),
    ],
)
def test_a_wrong_manifest_is_named(fault: Any, says: str, folder: Path) -> None:
    found = json.loads((folder / "manifest.json").read_text())
    fault(found)
    (folder / "manifest.json").write_text(json.dumps(found))
    with pytest.raises(DataError, match=rf"manifest.json.*{says}.*: write the folder again"):
        read_manifest(folder)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"a": 1, "a": 2}'])
def test_a_manifest_that_is_no_json_object_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / manifest.MANIFEST).write_text(text)
    with pytest.raises(DataError, match=r"manifest.json (cannot be read|is not a manifest)"):
        read_manifest(tmp_path)
