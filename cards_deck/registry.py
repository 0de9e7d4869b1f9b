"""Named, frozen dataclasses: one registration gives the command-line flags, the record in a deck and the tests.

A member is one file: a frozen dataclass decorated with `@REGISTRY.register("name")`, whose fields are its
hyperparameters.
"""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, TypeVar

from cards_deck.errors import InputError

T = TypeVar("T")
C = TypeVar("C", bound=type[Any])
Described = dict[str, Any]

_NAMES: dict[type[Any], str] = {}  # every registered class, of all registries: what `describe` calls it


class Registry(Generic[T]):
    """Name -> frozen dataclass, for one kind of thing ("augmentation", "network", ...)."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._members: dict[str, type[T]] = {}

    def register(self, name: str) -> Callable[[C], C]:
        """Decorate a frozen dataclass as the member `name`; InputError if the name or the class is taken."""

        def add(cls: C) -> C:
            self._check(name, cls)
            self._members[name] = cls
            _NAMES[cls] = name
            return cls

        return add

    def _check(self, name: str, cls: type[Any]) -> None:
        if not dataclasses.is_dataclass(cls) or not cls.__dataclass_params__.frozen:  # type: ignore[attr-defined]
            raise InputError(f"{self.kind} {name!r} must be a frozen dataclass: add @dataclass(frozen=True)")
        if "name" in _field_names(cls):
            raise InputError(f"{self.kind} {name!r} has a field called 'name', which records use: rename the field")
        if name in self._members:
            raise InputError(f"{self.kind} {name!r} is already {self._members[name].__qualname__}: choose another name")
        if cls in _NAMES:
            raise InputError(f"{cls.__qualname__} is already registered as {_NAMES[cls]!r}: a class has one name")

    def __getitem__(self, name: str) -> type[T]:
        """The class registered as `name`; InputError listing the known names."""
        if name not in self._members:
            known = ", ".join(self.names()) or "(none registered)"
            raise InputError(f"unknown {self.kind} {name!r}: choose one of {known}")
        return self._members[name]

    def __contains__(self, name: object) -> bool:
        return name in self._members

    def names(self) -> tuple[str, ...]:
        """Registered names, sorted."""
        return tuple(sorted(self._members))

    def build(self, name: str, **fields: Any) -> T:
        """An instance of `name` with these fields; InputError for an unknown or a missing field."""
        cls = self[name]
        known = _field_names(cls)
        if unknown := sorted(set(fields) - set(known)):
            fields_are = ", ".join(known) or "(none)"
            raise InputError(f"{self.kind} {name!r} has no field {', '.join(unknown)}: its fields are {fields_are}")
        if missing := sorted(set(_required(cls)) - set(fields)):
            raise InputError(f"{self.kind} {name!r} needs a value for {', '.join(missing)}")
        return cls(**fields)

    def restore(self, described: object) -> T:
        """The inverse of `describe`: JSON lists become tuples, nested members are looked up in this registry
        or in the one that the field names as `field(metadata={"registry": REGISTRY})`."""
        if not isinstance(described, Mapping) or not isinstance(described.get("name"), str):
            raise InputError(f"a described {self.kind} must be a dict with a 'name', not {described!r}")
        hints = {f.name: f.metadata.get("registry", self) for f in dataclasses.fields(self[described["name"]])}  # type: ignore[arg-type]
        fields = {key: _restored(value, hints.get(key, self)) for key, value in described.items() if key != "name"}
        return self.build(described["name"], **fields)


def describe(instance: Any) -> Described:
    """`{"name": registered name, **fields}` with JSON-able values; nested registered dataclasses likewise.

    Raises InputError for an instance of an unregistered class and for a value that JSON cannot hold.
    """
    if type(instance) not in _NAMES:
        raise InputError(f"{type(instance).__qualname__} is not registered: decorate it with @REGISTRY.register(name)")
    values = {f.name: _described(getattr(instance, f.name)) for f in dataclasses.fields(instance)}
    return {"name": _NAMES[type(instance)], **values}


def discover(package_name: str, package_path: Iterable[str]) -> tuple[str, ...]:
    """Import every public sibling module, so that its members register; call it as `discover(__name__, __path__)`.

    Returns the imported names, sorted. Modules whose name starts with an underscore are left alone.
    """
    names = sorted(m.name for m in pkgutil.iter_modules(list(package_path)) if not m.name.startswith("_"))
    for name in names:
        importlib.import_module(f"{package_name}.{name}")
    return tuple(names)


def _field_names(cls: Any) -> list[str]:
    return [f.name for f in dataclasses.fields(cls) if f.init]


def _required(cls: Any) -> list[str]:
    missing = dataclasses.MISSING
    return [f.name for f in dataclasses.fields(cls) if f.init and f.default is missing and f.default_factory is missing]


def _described(value: Any) -> Any:
    if type(value) in _NAMES:
        return describe(value)
    if isinstance(value, tuple | list):
        return [_described(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _described(item) for key, item in value.items()}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise InputError(f"a field of a registered dataclass must hold plain values, not {type(value).__qualname__}")


def _restored(value: Any, registry: Registry[Any]) -> Any:
    if isinstance(value, list):
        return tuple(_restored(item, registry) for item in value)
    if isinstance(value, dict) and value.get("name") in registry:
        return registry.restore(value)
    return value
