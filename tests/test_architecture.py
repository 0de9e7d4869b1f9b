"""The rules of the repository itself: who imports whom, what is light, what is pinned, what is generated."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MOST_LINES = 300
REQUIREMENTS = sorted((ROOT / "requirements").glob("*.txt"))
PIN = re.compile(r"([a-z0-9][a-z0-9._-]*)==([0-9][A-Za-z0-9.+!]*)")


def run_python(code: str, *arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run `code` in a fresh interpreter from the repository's root."""
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=cwd, capture_output=True, text=True, timeout=120, check=False
    )


def python_files() -> list[Path]:
    """Every Python file of the project, in the working tree."""
    folders = ("cards_deck", "serving", "eval", "tests", "benchmarks", ".ci")
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


def pins(path: Path) -> dict[str, str]:
    """Name -> version of a requirements file; fails on a line that is anything but `name==version`."""
    found = {}
    for line in path.read_text().splitlines():
        if line.startswith("#") or not line.strip():
            continue
        match = PIN.fullmatch(line)
        assert match, f"{path.name}: {line!r} is not name==version"
        assert match[1] not in found, f"{path.name} pins {match[1]} twice"
        found[match[1]] = match[2]
    return found


def test_import_contracts_hold() -> None:
    done = run_python("import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("imports", "heavy"),
    [
        (
            "cards_deck.data, cards_deck.corruptions, cards_deck.inference.engines.onnx, cards_deck.__main__",
            ("torch", "torchvision", "bentoml", "matplotlib", "cv2", "skimage"),
        ),
        ("serving.service", ("torch", "torchvision", "matplotlib", "cv2", "skimage", "eval", "cards_deck.training")),
        ("eval.__main__", ("torch", "torchvision", "bentoml", "serving", "matplotlib", "robustbench")),
    ],
)
def test_importing_stays_light(imports: str, heavy: tuple[str, ...]) -> None:
    done = run_python(f"import sys, {imports}; print(*sorted(set(sys.argv[1:]) & set(sys.modules)), end='')", *heavy)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "", f"importing {imports} also imports {done.stdout}"


@pytest.mark.parametrize("path", python_files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_files_stay_readable(path: Path) -> None:
    lines = len(path.read_text().splitlines())
    assert lines <= MOST_LINES, f"{path.relative_to(ROOT)} has {lines} lines: it is probably two things"


def check_tables(path: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "eval.tables", "--check", str(path)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", ["README.md", "models/README.md"])
def test_generated_tables_agree_with_the_reports(name: str) -> None:
    path = ROOT / name
    assert path.is_file(), f"{name} must be there, with the markers of its table"
    done = check_tables(path)
    assert done.returncode == 0, f"{done.stderr}run `make results`"


def test_a_stale_table_is_noticed(tmp_path: Path) -> None:
    stale = tmp_path / "README.md"
    text = (ROOT / "README.md").read_text()
    stale.write_text(text.replace("<!-- results:end -->", "| typed by hand | 99.9 |\n<!-- results:end -->"))
    done = check_tables(stale)
    assert done.returncode == 1
    assert "disagrees" in done.stderr


@pytest.mark.parametrize("path", REQUIREMENTS, ids=lambda path: path.name)
def test_requirements_are_plain_pins(path: Path) -> None:
    assert pins(path)


def test_requirements_agree_with_each_other() -> None:
    everything = pins(ROOT / "requirements" / "dev.txt")
    for name in ("serve.txt", "train.txt"):
        for package, version in pins(ROOT / "requirements" / name).items():
            assert everything.get(package) == version, f"{name} pins {package}=={version}, dev.txt does not"


def test_the_server_needs_no_torch() -> None:
    assert not {"torch", "torchvision", "triton"} & set(pins(ROOT / "requirements" / "serve.txt"))


def test_extras_are_pinned() -> None:
    """Whatever pyproject.toml asks for is in the requirements file of the same use."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for extra, file in (("serve", "serve.txt"), ("train", "train.txt"), ("dev", "dev.txt")):
        wanted = [*project["dependencies"], *project["optional-dependencies"][extra]]
        names = {re.split(r"[\[<>=]", line)[0] for line in wanted} - {"cards-deck"}
        missing = names - set(pins(ROOT / "requirements" / file))
        assert not missing, f"requirements/{file} lacks {sorted(missing)}"


def test_the_wheel_holds_the_library_alone(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in ("cards_deck", "serving", "eval"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "reports"))
    done = run_python("from setuptools import build_meta; build_meta.build_wheel('.')", cwd=source)
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(next(source.glob("*.whl"))) as wheel:
        names = wheel.namelist()
        scripts = next(wheel.read(name).decode() for name in names if name.endswith("entry_points.txt"))
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"cards_deck"}
    assert "cards_deck/py.typed" in names
    assert "cards-deck = cards_deck.__main__:main" in scripts


def test_readme_names_every_method_and_gate() -> None:
    from cards_deck.inference.gates import GATES
    from cards_deck.training.tickets import METHODS

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert not [name for name in (*METHODS.names(), *GATES.names()) if f"`{name}`" not in text]


def python_blocks(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), flags=re.DOTALL)


def test_the_recipes_of_contributing_and_readme_run() -> None:
    """Each Python block of CONTRIBUTING.md is a module that can be imported as it stands, and so is README's method."""
    blocks = [block for block in python_blocks("README.md") if "@METHODS.register" in block]
    assert len(blocks) == 1
    # Whoever follows README may have a method of that name by now.
    assert blocks[0].count('"mine"') == 2
    blocks[0] = blocks[0].replace('"mine"', '"of the readme"')
    blocks += python_blocks("CONTRIBUTING.md")
    assert len(blocks) == 5
    code = "\n".join(f"exec(compile({block!r}, 'block {index}', 'exec'), {{}})" for index, block in enumerate(blocks))
    checks = """
import numpy, torch
from cards_deck.corruptions import corrupt
from cards_deck.commands.methods import summary
from cards_deck.training.augmentations import AUGMENTATIONS
from cards_deck.training.networks import NETWORKS, Normalize
from cards_deck.training.quantizers import QUANTIZERS
from cards_deck.training.tickets import METHODS
assert NETWORKS.build("plain").build(4, Normalize([0.5] * 3, [0.2] * 3))(torch.rand(2, 3, 32, 32)).shape == (2, 4)
images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
assert (AUGMENTATIONS.build("posterize", bits=2)(images, torch.Generator()) % 64 == 0).all()
white = numpy.full((1, 32, 32, 3), 255, numpy.uint8)
assert (corrupt(white, "invert", 5) == 102).all()
assert METHODS.build("of the readme", density=0.2).density == 0.2
assert summary(METHODS["of the readme"]) == ("Train inside a random mask", "Liu et al., ICLR 2022")
weight, mask = torch.tensor([[8.0, -4.0, 0.9, 3.0]]), torch.tensor([[True, True, True, False]])
codes, scale = QUANTIZERS.build("power_of_two").grid(weight, mask)
assert codes.tolist() == [[8, -4, 1, 0]] and scale.tolist() == [1]
"""
    done = run_python(code + checks)
    assert done.returncode == 0, done.stderr
