"""Building and loading the sparse engine: with a compiler, without, and with a library that is not of these sources."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from cards_deck.errors import MissingExtraError
from cards_deck.inference import engines
from cards_deck.inference.engines import EngineKind, load, load_chosen, sparse_library
from cards_deck.inference.engines._sparse import build
from cards_deck.inference.fake_deck import fake_card, fake_images

ROOT = Path(__file__).resolve().parent.parent
# Notes what it was asked to compile in what it writes; linked, the notes are put together.
RECORDING_COMPILER = """#!/bin/sh
objects=; previous=
for word; do
    case "$word" in *.o) [ "$previous" = -o ] || objects="$objects $word";; esac
    [ "$previous" = -o ] && target=$word
    previous=$word
done
case " $* " in *" -shared "*) cat $objects >"$target";; *) echo "$@" >"$target";; esac
"""


def executable(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.fixture
def recording(tmp_path: Path) -> str:
    return str(executable(tmp_path / "recording-cc", RECORDING_COMPILER))


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A copy of the engine's sources, without a library."""
    folder = tmp_path / "_sparse"
    shutil.copytree(build.FOLDER, folder, ignore=shutil.ignore_patterns("libsparse*", "__pycache__"))
    return folder


def run_build(folder: Path, **environment: str) -> str:
    """What `python build.py` in that folder says; it must end well."""
    known = {key: value for key, value in os.environ.items() if key != "CC"} | environment
    done = subprocess.run(
        [sys.executable, str(folder / "build.py")], env=known, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return done.stdout


def leftovers(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {*build.SOURCES, "__init__.py", "build.py", "__pycache__"}


@pytest.mark.parametrize("environment", [{"PATH": ""}, {"CC": "no-such-compiler -m64"}], ids=["no PATH", "CC"])
def test_without_a_compiler_the_build_says_so_once_and_ends_well(sources: Path, environment: dict[str, str]) -> None:
    said = run_build(sources, **environment)
    assert said.count("left out") == said.count("no C compiler was found") == 1
    assert not leftovers(sources)


def test_a_compiler_that_fails_leaves_nothing_behind(sources: Path, tmp_path: Path) -> None:
    broken = executable(tmp_path / "broken-cc", "#!/bin/sh\necho 'sorry, unimplemented' >&2\nexit 1\n")
    said = run_build(sources, CC=str(broken))
    assert said.count("left out") == 1
    assert "sorry, unimplemented" in said
    assert not leftovers(sources)


def test_a_build_that_fails_keeps_the_library_that_was_there(sources: Path, tmp_path: Path) -> None:
    (sources / build.LIBRARY).write_text("of other sources")
    run_build(sources, CC=str(executable(tmp_path / "broken-cc", "#!/bin/sh\nexit 1\n")))
    assert (sources / build.LIBRARY).read_text() == "of other sources"


def test_a_build_happens_once_and_again_when_a_source_changes(sources: Path, recording: str) -> None:
    run_build(sources, CC=recording)
    first = (sources / build.LIBRARY).read_text()
    assert leftovers(sources) == {build.LIBRARY}
    # It has the hash, but is no library of this machine: as one that another machine left in a shared folder.
    assert "compiling" in run_build(sources, CC=recording)
    compiled(sources, ENTRIES.format(hash=build.source_hash(), abi=0))
    assert run_build(sources, CC=recording) == ""
    with (sources / "vector.h").open("a") as handle:
        handle.write("/* changed */\n")
    assert "compiling" in run_build(sources, CC=recording)
    second = (sources / build.LIBRARY).read_text()
    assert {f'SPARSE_SOURCE="{build.source_hash()}"' in text for text in (first, second)} == {True, False}


@pytest.mark.parametrize(("machine", "kernels"), [("x86_64", {*build.KERNELS}), ("aarch64", {"plain"})])
def test_only_kernels_of_the_machine_are_compiled(
    recording: str, tmp_path: Path, machine: str, kernels: set[str]
) -> None:
    build.compile_library(tmp_path / "library", machine=machine, cc=[recording])
    text = (tmp_path / "library").read_text()
    assert {name for name in build.KERNELS if f"-DTABLE=kernels_{name} " in text} == kernels
    assert ("-mavx" in text) == ("SPARSE_X86" in text) == (machine == "x86_64")


@pytest.fixture
def relocated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder, empty for now, where the engine looks for its library; ONNX Runtime is the only other engine."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    monkeypatch.setattr(sparse_library, "FOLDER", folder)
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "openvino" else real(name))
    sparse_library.library.cache_clear()
    yield folder
    sparse_library.library.cache_clear()


def test_without_its_library_the_engine_is_missed_and_onnx_runtime_runs(relocated: Path) -> None:
    card, images = fake_card("card"), fake_images(2)
    assert not engines.available(EngineKind.SPARSE)
    with pytest.raises(MissingExtraError, match=r"with a C compiler .* run `python -m .*_sparse\.build`"):
        load(card, EngineKind.SPARSE, image_size=32)
    kind, runner = load_chosen(card, image_size=32)
    assert kind is EngineKind.ONNX
    np.testing.assert_array_equal(runner(images), load(card, EngineKind.ONNX, image_size=32)(images))


def compiled(folder: Path, code: str) -> None:
    """A library of this code where the engine looks."""
    (folder / "code.c").write_text(code)
    try:
        cc = build.compiler()
    except build.NoCompilerError as error:
        pytest.skip(str(error))
    subprocess.run([*cc, "-shared", "-fPIC", "code.c", "-o", build.LIBRARY], cwd=folder, check=True, timeout=60)


ENTRIES = """
const char *sparse_source(void) {{ return "{hash}"; }}
long long sparse_abi(void) {{ return {abi}; }}
void sparse_kernels(void) {{}}
void sparse_pool_new(void) {{}}
void sparse_pool_free(void) {{}}
void sparse_run(void) {{}}
"""
BROKEN: dict[str, Callable[[Path], None]] = {
    "empty": lambda folder: (folder / build.LIBRARY).touch(),
    "not a library": lambda folder: (folder / build.LIBRARY).write_text("text"),
    "without the entries": lambda folder: compiled(folder, "int other;"),
    "of other sources": lambda folder: compiled(folder, ENTRIES.format(hash="0" * 16, abi=0)),
    "of other structures": lambda folder: compiled(folder, ENTRIES.format(hash=build.source_hash(), abi=1)),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_library_that_does_not_fit_is_as_none(relocated: Path, name: str) -> None:
    BROKEN[name](relocated)
    assert sparse_library.library() is None


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project as a source distribution has it: no library in it."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    ignored = shutil.ignore_patterns("libsparse*", "__pycache__")
    shutil.copytree(ROOT / "cards_deck", folder / "cards_deck", ignore=ignored)
    return folder


def wheel(project: Path, target: Path, **environment: str) -> tuple[Path, str]:
    """The installed wheel, and what its build said on the error stream."""
    source, installed = target / "source", target / "installed"
    shutil.copytree(project, source)
    code = "from setuptools import build_meta; build_meta.build_wheel('.')"
    known = {key: value for key, value in os.environ.items() if key != "CC"} | environment
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=source, env=known, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(next(source.glob("*.whl"))) as archive:
        archive.extractall(installed)
    return installed, done.stderr


def in_installed(installed: Path, code: str) -> str:
    """Output of code that finds the package there only."""
    code = f"import sys; sys.path.insert(0, {str(installed)!r})\n{code}"
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], cwd=installed, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


CHOSEN = """
from cards_deck.inference import engines
from cards_deck.inference.fake_deck import fake_card, fake_images
kind, runner = engines.load_chosen(fake_card("a"), image_size=32)
sparse = engines.available(engines.EngineKind.SPARSE)
print(engines.__file__, sparse, kind in ("onnx", "openvino"), runner(fake_images(2)).shape)
"""


def test_a_wheel_built_with_a_compiler_holds_the_engine(project: Path, tmp_path: Path) -> None:
    try:
        cc = build.compiler()
    except build.NoCompilerError as error:
        pytest.skip(str(error))
    quick = executable(tmp_path / "quick-cc", f'#!/bin/sh\nexec {" ".join(cc)} "$@" -O0\n')
    installed, _ = wheel(project, tmp_path, CC=str(quick))
    code = """
import numpy as np
from cards_deck.inference.engines import load
from cards_deck.inference.fake_deck import fake_card, fake_images
images = fake_images(2)
sparse, onnx = (load(fake_card("a"), kind, image_size=32)(images) for kind in ("sparse", "onnx"))
print(np.abs(sparse - onnx).max() < 1e-4)
"""
    assert in_installed(installed, code) == "True\n"


def test_a_wheel_built_without_a_compiler_works_without_the_engine(project: Path, tmp_path: Path) -> None:
    installed, said = wheel(project, tmp_path, CC="no-such-compiler")
    assert said.count("installing without the sparse engine (optional): no C compiler was found") == 1
    assert not list(installed.rglob("libsparse*"))
    expected = installed / "cards_deck/inference/engines/__init__.py"
    assert in_installed(installed, CHOSEN) == f"{expected} False True (2, 10)\n"


def test_an_installed_package_can_build_the_engine_later(project: Path, tmp_path: Path, recording: str) -> None:
    """What the error says to do: the wheel holds the sources too."""
    installed, _ = wheel(project, tmp_path, CC="no-such-compiler")
    assert "compiling" in run_build(installed / "cards_deck/inference/engines/_sparse", CC=recording)
    assert len(list(installed.rglob(build.LIBRARY))) == 1
