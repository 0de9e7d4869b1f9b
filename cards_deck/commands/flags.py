"""Fields of dataclasses as command-line flags: a new member of a registry needs no code here.

`--method rigl --method.density 0.1` builds the member "rigl" of the registry with that field. Help texts are the
"Attributes:" of the class's docstring; what stands in [brackets] at their end is the source of the default. Tuples are
written 24,64,160 and tuples of tuples 0.3:20,0.6:24. A field that holds a member of a registry, which it names as
`field(metadata={"registry": REGISTRY})`, is written `--method.masks snip --method.masks.batch 64`.
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
from cards_deck.registry import Registry, describe

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
    parser: argparse.ArgumentParser,
    flag: str,
    registry: Registry[Any],
    default: str,
    argv: Sequence[str],
    *,
    others: bool = True,
) -> None:
    """Add `--flag NAME` and the fields of the member that `argv` chooses; help lists those of all members.

    Without `others` help tells more of the chosen one instead. Raises InputError for an unknown name.
    """
    group = parser.add_argument_group(registry.kind)
    group.add_argument(f"--{flag}", default=default, metavar="NAME", help=f"{', '.join(registry.names())} ({default})")
    chosen = _chosen(flag, default, argv)
    add_fields(parser, flag, registry[chosen], title=f"--{flag} {chosen}", argv=argv, whole=not others)
    for name in registry.names() if others else ():
        if name != chosen:
            lines = [f"--{flag}.{f.name}: {_help(f, registry[name])}" for f in _fields(registry[name])]
            parser.add_argument_group(f"--{flag} {name}", "\n".join([_summary(registry[name]), *lines]))


def _chosen(flag: str, default: str, argv: Sequence[str]) -> str:
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument(f"--{flag}", nargs="?", default=default, dest="chosen")
    return str(first.parse_known_args(list(argv))[0].chosen or default)


def add_fields(
    parser: argparse.ArgumentParser,
    flag: str,
    cls: type[Any],
    title: str,
    argv: Sequence[str] = (),
    *,
    whole: bool = False,
) -> None:
    """Add `--flag.field` for each field of the dataclass `cls`; help opens with its module's docstring if `whole`."""
    told = inspect.getdoc(inspect.getmodule(cls)) if whole else ""
    group = parser.add_argument_group(title, "\n\n".join(filter(None, [_summary(cls), told])).replace("%", "%%"))
    hints = typing.get_type_hints(cls)
    for field in _fields(cls):
        text = _help(field, cls).replace("%", "%%")
        common: dict[str, Any] = {"dest": f"{flag}.{field.name}", "default": argparse.SUPPRESS, "help": text}
        if hints[field.name] is bool:
            group.add_argument(f"--{flag}.{field.name}", action=argparse.BooleanOptionalAction, **common)
        else:
            convert = _converter(hints[field.name])
            group.add_argument(f"--{flag}.{field.name}", type=convert, metavar="VALUE", **common)
    for field, registry, default in _members(cls):
        inner = f"{flag}.{field.name}"
        about, source = _sourced(_text(field, cls))
        notes = [", ".join(registry.names()), f"default {default}", *([f"source: {source}"] if source else [])]
        text = f"{about} ({'; '.join(notes)})".replace("%", "%%")
        group.add_argument(f"--{inner}", dest=inner, default=argparse.SUPPRESS, metavar="NAME", help=text)
        chosen = _chosen(inner, default, argv)
        add_fields(parser, inner, registry[chosen], f"--{inner} {chosen}", argv)


def given(arguments: argparse.Namespace, flag: str) -> dict[str, Any]:
    """The fields that were given as `--flag.field`."""
    found = {key.removeprefix(f"{flag}."): v for key, v in vars(arguments).items() if key.startswith(f"{flag}.")}
    return {name: value for name, value in found.items() if "." not in name}


def build_member(arguments: argparse.Namespace, flag: str, registry: Registry[T]) -> T:
    """The member that `--flag` and `--flag.field` describe."""
    return _built(arguments, flag, registry, getattr(arguments, flag))


def _built(arguments: argparse.Namespace, flag: str, registry: Registry[T], name: str) -> T:
    fields = given(arguments, flag)
    for field, inner, default in _members(registry[name]):
        chosen = fields.pop(field.name, default)
        if any(key.startswith(f"{flag}.{field.name}") for key in vars(arguments)):
            fields[field.name] = _built(arguments, f"{flag}.{field.name}", inner, chosen)
    return registry.build(name, **fields)


def _fields(cls: Any) -> list[dataclasses.Field[Any]]:
    """Fields that one flag can hold."""
    hints = typing.get_type_hints(cls)
    return [f for f in dataclasses.fields(cls) if f.init and _is_plain(hints[f.name])]


def _members(cls: Any) -> list[tuple[dataclasses.Field[Any], Registry[Any], str]]:
    """Fields that hold a member of a registry, with the name of their default's; others keep their default."""
    found = []
    for field in dataclasses.fields(cls):
        if "registry" in field.metadata and field.default_factory is not dataclasses.MISSING:
            found.append((field, field.metadata["registry"], str(describe(field.default_factory())["name"])))
    return found


def _is_plain(hint: Any) -> bool:
    arguments = [a for a in typing.get_args(hint) if a not in (Ellipsis, types.NoneType)]
    if typing.get_origin(hint) is Literal or hint in (bool, int, float, str):
        return True
    return typing.get_origin(hint) in (tuple, Union, types.UnionType) and all(_is_plain(a) for a in arguments)


def _summary(cls: type[Any]) -> str:
    return (inspect.getdoc(cls) or "").partition("\n\n")[0]


def _help(field: dataclasses.Field[Any], cls: type[Any]) -> str:
    text, source = _sourced(_text(field, cls))
    default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
    if default is dataclasses.MISSING:
        return f"{text} (required)"
    return f"{text} (default {_written(default)}; source: {source})" if source else f"{text} ({_written(default)})"


def _text(field: dataclasses.Field[Any], cls: type[Any]) -> str:
    return str(field.metadata.get("help") or _attributes(cls).get(field.name, ""))


def _sourced(text: str) -> tuple[str, str]:
    """Text and the source in [brackets] at its end, empty where there is none."""
    found = re.fullmatch(r"(.*\S) *\[([^\[\]]+)\]", text)
    return (found[1], found[2]) if found else (text, "")


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
    if typing.get_origin(hint) is Literal:
        return "choice"
    return getattr(hint, "__name__", str(hint)) if not typing.get_args(hint) else str(hint)
