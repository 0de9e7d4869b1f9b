"""Registries: registration, building, and the round trip through JSON."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from cards_deck.errors import InputError
from cards_deck.registry import Registry, describe, discover

COLOURS: Registry[Any] = Registry("colour")
PAINTS: Registry[Any] = Registry("paint")


@COLOURS.register("red")
@dataclass(frozen=True)
class Red:
    depth: int = 3
    stops: tuple[int, ...] = (1, 2)


@PAINTS.register("gloss")
@dataclass(frozen=True)
class Gloss:
    litres: float
    colour: Any = field(default=Red(), metadata={"registry": COLOURS})
    layers: tuple[Any, ...] = field(default=(), metadata={"registry": COLOURS})


def test_names_are_sorted_and_found() -> None:
    assert COLOURS.names() == ("red",)
    assert COLOURS["red"] is Red
    assert "red" in COLOURS
    assert "blue" not in COLOURS


def test_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(InputError, match="unknown colour 'blue': choose one of red"):
        COLOURS["blue"]


def test_unknown_and_missing_fields_are_named() -> None:
    with pytest.raises(InputError, match="no field hue: its fields are depth, stops"):
        COLOURS.build("red", hue=1)
    with pytest.raises(InputError, match="needs a value for litres"):
        PAINTS.build("gloss")


def test_describe_is_json_and_restores_nested_members() -> None:
    paint = PAINTS.build("gloss", litres=0.5, colour=Red(depth=9, stops=(4,)), layers=(Red(), Red(depth=1)))
    described = describe(paint)
    assert described["name"] == "gloss"
    assert described["colour"] == {"name": "red", "depth": 9, "stops": [4]}
    assert PAINTS.restore(json.loads(json.dumps(described))) == paint


@pytest.mark.parametrize("bad", [{}, {"name": 3}, [], {"name": "matt"}])
def test_restore_refuses_what_is_not_a_described_member(bad: Any) -> None:
    with pytest.raises(InputError):
        PAINTS.restore(bad)


def test_duplicates_and_unfrozen_classes_are_refused() -> None:
    registry: Registry[Any] = Registry("thing")

    @dataclass(frozen=True)
    class Thing:
        size: int = 1

    registry.register("a")(Thing)
    with pytest.raises(InputError, match="a class has one name"):
        registry.register("b")(Thing)
    with pytest.raises(InputError, match="already"):
        registry.register("a")(dataclass(frozen=True)(type("Other", (), {})))
    with pytest.raises(InputError, match="frozen dataclass"):
        registry.register("c")(dataclass(type("Loose", (), {})))
    with pytest.raises(InputError, match="field called 'name'"):
        registry.register("d")(dataclass(frozen=True)(type("Named", (), {"__annotations__": {"name": str}})))
    assert registry.names() == ("a",)


def test_describe_refuses_strangers_and_unjsonable_fields() -> None:
    with pytest.raises(InputError, match="not registered"):
        describe(object())
    with pytest.raises(InputError, match="plain values"):
        describe(Red(stops=object()))  # type: ignore[arg-type]


def test_discover_imports_public_siblings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "found_by_discover"
    package.mkdir()
    source = "from cards_deck.registry import discover\nFOUND = discover(__name__, __path__)\n"
    (package / "__init__.py").write_text(source)
    (package / "one.py").write_text("X = 1\n")
    (package / "_private.py").write_text("raise RuntimeError\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    module = __import__("found_by_discover")
    assert module.FOUND == ("one",)
    assert "found_by_discover.one" in sys.modules
    with pytest.raises(ModuleNotFoundError):
        discover("no_such_package_at_all", [str(package)])
