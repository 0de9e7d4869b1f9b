"""Fields of dataclasses as command-line flags: a new member of a registry needs no code here.

`--method rigl --method.density 0.1` builds the member "rigl" of the registry with that field. Help texts are the
"Attributes:" of the class's docstring. Tuples are written 24,64,160 and tuples of tuples 0.3:20,0.6:24.
"""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import re
import types
import typing
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, Union

from cards_deck.data import Dataset, load, split_train_validation
from cards_deck.registry import Registry

T = TypeVar("T")
SEPARATORS = ",:"  # between the items of a tuple, and of a tuple inside a tuple


def add_data(parser: argparse.ArgumentParser) -> None:
    """Add the flags that say which training images are meant."""
    group = parser.add_argument_group("data")
    group.add_argument("--data", type=Path, required=True, metavar="ROOT", help="folder that holds the data set")
    group.add_argument(
        "--name", help="cifar10, cifar100, the NAME of NAME_train.npz, or 'folder' for train/CLASS/*.png; by default "
        "'folder' where --image-size is given, else cifar10",
    )  # fmt: skip
    group.add_argument("--image-size", type=int, metavar="PIXELS", help="width to which a folder's images are brought")
    group.add_argument("--download", action="store_true", help="fetch cifar10 or cifar100 where ROOT lacks it")


def load_data(arguments: argparse.Namespace) -> tuple[Dataset, Dataset]:
    """(training, validation) parts of the training split that the flags of `add_data` name."""
    name = arguments.name or ("cifar10" if arguments.image_size is None else "folder")
    dataset = load(arguments.data, name, "train", download=arguments.download, image_size=arguments.image_size)
    return split_train_validation(dataset)


def add_member(
    parser: argparse.ArgumentParser, flag: str, registry: Registry[Any], default: str, argv: Sequence[str]
) -> None:
    """Add `--flag NAME` and the fields of the member that `argv` chooses; help lists those of all members.

    Raises InputError for an unknown name.
    """
    group = parser.add_argument_group(registry.kind)
    group.add_argument(f"--{flag}", default=default, metavar="NAME", help=f"{', '.join(registry.names())} ({default})")
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument(f"--{flag}", nargs="?", default=default)
    chosen = getattr(first.parse_known_args(list(argv))[0], flag) or default
    add_fields(parser, flag, registry[chosen], title=f"--{flag} {chosen}")
    for name in registry.names():
        if name != chosen:
            lines = [f"--{flag}.{f.name}: {_help(f, registry[name])}" for f in _fields(registry[name])]
            parser.add_argument_group(f"--{flag} {name}", "\n".join([_summary(registry[name]), *lines]))


def add_fields(parser: argparse.ArgumentParser, flag: str, cls: type[Any], title: str) -> None:
    """Add `--flag.field` for each field of the dataclass `cls`."""
    group = parser.add_argument_group(title, _summary(cls))
    hints = typing.get_type_hints(cls)
    for field in _fields(cls):
        text = _help(field, cls).replace("%", "%%")
        common: dict[str, Any] = {"dest": f"{flag}.{field.name}", "default": argparse.SUPPRESS, "help": text}
        if hints[field.name] is bool:
            group.add_argument(f"--{flag}.{field.name}", action=argparse.BooleanOptionalAction, **common)
        else:
            convert = _converter(hints[field.name])
            group.add_argument(f"--{flag}.{field.name}", type=convert, metavar="VALUE", **common)


def given(arguments: argparse.Namespace, flag: str) -> dict[str, Any]:
    """The fields that were given as `--flag.field`."""
    return {key.removeprefix(f"{flag}."): v for key, v in vars(arguments).items() if key.startswith(f"{flag}.")}


def build_member(arguments: argparse.Namespace, flag: str, registry: Registry[T]) -> T:
    """The member that `--flag` and `--flag.field` describe."""
    return registry.build(getattr(arguments, flag), **given(arguments, flag))


def _fields(cls: Any) -> list[dataclasses.Field[Any]]:
    """Fields that a flag can hold; a nested dataclass keeps its default."""
    hints = typing.get_type_hints(cls)
    return [f for f in dataclasses.fields(cls) if f.init and _is_plain(hints[f.name])]


def _is_plain(hint: Any) -> bool:
    arguments = [a for a in typing.get_args(hint) if a not in (Ellipsis, types.NoneType)]
    if typing.get_origin(hint) is Literal or hint in (bool, int, float, str):
        return True
    return typing.get_origin(hint) in (tuple, Union, types.UnionType) and all(_is_plain(a) for a in arguments)


def _summary(cls: type[Any]) -> str:
    return (inspect.getdoc(cls) or "").partition("\n\n")[0]


def _help(field: dataclasses.Field[Any], cls: type[Any]) -> str:
    text = field.metadata.get("help") or _attributes(cls).get(field.name, "")
    default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
    return f"{text} (required)" if default is dataclasses.MISSING else f"{text} ({_written(default)})"


def _attributes(cls: type[Any]) -> dict[str, str]:
    """Name -> text of the "Attributes:" section of the docstring."""
    section = (inspect.getdoc(cls) or "").partition("Attributes:\n")[2]
    found = re.findall(r"^    (\w+): (.*(?:\n {5,}.*)*)", section, re.MULTILINE)
    return {name: " ".join(text.split()).rstrip(".") for name, text in found}


def _written(value: Any, depth: int = 0) -> str:
    if isinstance(value, tuple):
        return SEPARATORS[depth].join(_written(item, depth + 1) for item in value) or "empty"
    return str(value)


def _converter(hint: Any) -> Callable[[str], Any]:
    def convert(text: str) -> Any:
        try:
            return _convert(hint, text, 0)
        except (ValueError, IndexError) as error:
            raise argparse.ArgumentTypeError(f"{text!r} is no {_form(hint)}: {error}") from error

    return convert


def _convert(hint: Any, text: str, depth: int) -> Any:
    kinds, origin = typing.get_args(hint), typing.get_origin(hint)
    if origin is Literal:
        if text not in kinds:
            raise ValueError(f"choose one of {', '.join(map(str, kinds))}")
        return text
    if origin in (Union, types.UnionType):
        return None if text == "none" else _convert(next(k for k in kinds if k is not types.NoneType), text, depth)
    if origin is tuple:
        parts = text.split(SEPARATORS[depth]) if text else []
        items = [kinds[0]] * len(parts) if kinds[-1] is Ellipsis else kinds
        if len(items) != len(parts):
            raise ValueError(f"{len(items)} values are needed, not {len(parts)}")
        return tuple(_convert(kind, part, depth + 1) for kind, part in zip(items, parts, strict=True))
    return hint(text)


def _form(hint: Any) -> str:
    return getattr(hint, "__name__", str(hint)) if not typing.get_args(hint) else str(hint)
