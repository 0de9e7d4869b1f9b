"""Downloads, from a server on this machine."""

from __future__ import annotations

import dataclasses
import http.server
import io
import tarfile
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from data_layouts import make_archive, make_dataset, md5, pack, write_batches

from cards_deck.data import load
from cards_deck.data.cifar import Archive
from cards_deck.data.download import download_archive, show_progress
from cards_deck.errors import DataError


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    """Serves a folder; what is asked for as /short/NAME promises more bytes than it sends."""

    def do_GET(self) -> None:
        if not self.path.startswith("/short/"):
            return super().do_GET()
        data = (Path(self.directory) / self.path.removeprefix("/short/")).read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data[: len(data) // 2])
        return None

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """(URL, the folder that it serves)."""
    folder = tmp_path / "served"
    folder.mkdir()
    handler = partial(QuietHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_port}", folder
        httpd.shutdown()
        thread.join()


@pytest.fixture
def published(server: tuple[str, Path], tmp_path: Path) -> Archive:
    """A small archive, on the server, with everything that the official ones have."""
    url, folder = server
    batches = write_batches(make_dataset(23, size=32), tmp_path / "made")
    packed = pack(batches, folder / "cifar-10-python.tar.gz")
    return make_archive(batches, f"{url}/{packed.name}", md5(packed))


def test_downloads_checks_and_extracts(published: Archive, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    root = tmp_path / "new" / "root"
    target = download_archive(published, root, progress=lambda done, total: seen.append((done, total)))
    assert list(root.iterdir()) == [target]
    assert (target / "data_batch_5").is_file()
    assert seen[-1][0] == seen[-1][1] == (tmp_path / "served" / "cifar-10-python.tar.gz").stat().st_size


def test_load_downloads_once(published: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(load.__globals__["ARCHIVES"], "cifar10", published)
    first = load(tmp_path / "root", download=True)
    assert first.sha256 == make_dataset(23, size=32).sha256
    (tmp_path / "served" / "cifar-10-python.tar.gz").unlink()
    assert load(tmp_path / "root", download=True).sha256 == first.sha256


def short(archive: Archive) -> Archive:
    return dataclasses.replace(archive, url=archive.url.replace("/cifar", "/short/cifar"))


def absent(archive: Archive) -> Archive:
    return dataclasses.replace(archive, url=archive.url + ".nothing")


def altered(archive: Archive) -> Archive:
    return dataclasses.replace(archive, md5="0" * 32)


def other(archive: Archive) -> Archive:
    return dataclasses.replace(archive, folder="another-folder")


def unreachable(archive: Archive) -> Archive:
    return dataclasses.replace(archive, url="http://127.0.0.1:1/x")


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (short, "cut short|cannot be downloaded"),
        (absent, "404"),
        (altered, "the MD5 of the download must be 0000"),
        (other, "must hold another-folder/, not cifar-10-batches-py"),
        (unreachable, "cannot be downloaded .*; check the network"),
    ],
)
def test_failures_leave_nothing_behind(
    published: Archive, tmp_path: Path, fault: Callable[[Archive], Archive], message: str
) -> None:
    root = tmp_path / "root"
    with pytest.raises(DataError, match=message):
        download_archive(fault(published), root, progress=lambda done, total: None)
    assert list(root.iterdir()) == []


def test_a_folder_that_is_there_is_left_alone(published: Archive, tmp_path: Path) -> None:
    (tmp_path / published.folder).mkdir()
    with pytest.raises(DataError, match="delete it first"):
        download_archive(published, tmp_path)


@pytest.mark.parametrize("kind", ["path", "link", "absolute"])
def test_members_that_lead_outside_are_refused(server: tuple[str, Path], tmp_path: Path, kind: str) -> None:
    url, folder = server
    packed = folder / "bad.tar.gz"
    with tarfile.open(packed, "w:gz") as tar:
        member = tarfile.TarInfo("../escaped" if kind == "path" else f"{tmp_path}/../../escaped")
        if kind == "link":
            member = tarfile.TarInfo("cifar-10-batches-py")
            member.type, member.linkname = tarfile.SYMTYPE, "/etc"
        tar.addfile(member, io.BytesIO(b""))
    batches = write_batches(make_dataset(5, size=32), tmp_path / "made")
    archive = make_archive(batches, f"{url}/{packed.name}", md5(packed))
    with pytest.raises(DataError, match="cannot be extracted"):
        download_archive(archive, tmp_path / "root", progress=lambda done, total: None)
    assert list((tmp_path / "root").iterdir()) == []
    assert not (tmp_path / "escaped").exists()


def test_bytes_that_are_no_archive_are_refused(server: tuple[str, Path], tmp_path: Path) -> None:
    url, folder = server
    packed = folder / "page.tar.gz"
    packed.write_bytes(b"<html>please log in</html>")
    archive = make_archive(
        write_batches(make_dataset(5, size=32), tmp_path / "made"), f"{url}/{packed.name}", md5(packed)
    )
    with pytest.raises(DataError, match="cannot be extracted"):
        download_archive(archive, tmp_path / "root", progress=lambda done, total: None)


def test_progress_shows_megabytes_and_percent(capsys: pytest.CaptureFixture[str]) -> None:
    show_progress(50_000_000, 200_000_000)
    show_progress(3_000_000, 0)
    show_progress(200_000_000, 200_000_000)
    captured = capsys.readouterr()
    assert captured.err == "\rdownloading: 50 of 200 MB (25%)\rdownloading: 3 MB\rdownloading: 200 of 200 MB (100%)\n"
    assert captured.out == ""
