"""The public names, and what importing the library costs."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import cards_deck

NAMES = [
    "CORRUPTIONS",
    "Card",
    "CardError",
    "CardRecord",
    "CardsDeckError",
    "DataError",
    "Dataset",
    "Deck",
    "DeckError",
    "EngineKind",
    "GateConfig",
    "Graph",
    "InputError",
    "MissingExtraError",
    "Node",
    "Prediction",
    "Predictor",
    "References",
    "Routing",
    "SpectralGate",
    "UniformGate",
    "__version__",
    "build_references",
    "corrupt",
    "log_amplitude",
    "read_card",
    "read_deck",
    "size_on_disk",
    "write_card",
    "write_deck",
]


def test_the_public_names_are_these() -> None:
    assert sorted(cards_deck.__all__) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_public_name_is_there_and_documented(name: str) -> None:
    value = getattr(cards_deck, name)
    assert name in dir(cards_deck)
    assert name == "__version__" or value.__doc__


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        cards_deck.nonsense  # noqa: B018


def test_the_version_is_the_projects() -> None:
    project = Path(__file__).resolve().parent.parent / "pyproject.toml"
    assert tomllib.loads(project.read_text())["project"]["version"] == cards_deck.__version__


def _imported(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_the_library_imports_nothing_heavy() -> None:
    heavy = {"torch", "torchvision", "numpy", "scipy", "PIL", "onnx", "onnxruntime", "safetensors", "bentoml"}
    assert not heavy & _imported("import cards_deck")


def test_reading_and_predicting_import_neither_torch_nor_an_engine() -> None:
    modules = "card corruptions data deck graph spectrum inference.gates inference.predictor inference.fake_deck"
    statement = ", ".join(f"cards_deck.{name}" for name in modules.split())
    assert not {"torch", "torchvision", "onnx", "onnxruntime", "bentoml"} & _imported(f"import {statement}")
