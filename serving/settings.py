"""What an operator can set, all of it by environment variables, read once when the server starts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from typing import Any

from cards_deck.errors import InputError
from cards_deck.inference.engines import EngineKind

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Settings:
    """Limits and sizes of one server. Bytes, pixels, images and seconds; `threads` are per worker process."""

    deck_path: Path = field(default=ROOT / "models" / "cifar10-medium", metadata={"env": "CARDS_DECK_PATH"})
    host: str = field(default="127.0.0.1", metadata={"env": "CARDS_DECK_HOST"})
    engine: EngineKind = field(default=EngineKind.AUTO, metadata={"env": "CARDS_DECK_ENGINE"})
    port: int = field(default=3000, metadata={"env": "PORT"})
    workers: int = field(default=1, metadata={"env": "CARDS_DECK_WORKERS"})
    threads: int = field(default=1, metadata={"env": "CARDS_DECK_THREADS"})
    max_body_bytes: int = field(default=10 * 2**20, metadata={"env": "CARDS_DECK_MAX_BODY_BYTES"})
    max_side: int = field(default=4096, metadata={"env": "CARDS_DECK_MAX_SIDE"})
    max_pixels: int = field(default=16 * 2**20, metadata={"env": "CARDS_DECK_MAX_PIXELS"})
    min_side: int = field(default=8, metadata={"env": "CARDS_DECK_MIN_SIDE"})
    max_aspect: int = field(default=20, metadata={"env": "CARDS_DECK_MAX_ASPECT"})
    max_images: int = field(default=128, metadata={"env": "CARDS_DECK_MAX_IMAGES"})
    max_batch: int = field(default=32, metadata={"env": "CARDS_DECK_MAX_BATCH"})
    max_queue: int = field(default=256, metadata={"env": "CARDS_DECK_MAX_QUEUE"})
    deadline: float = field(default=30.0, metadata={"env": "CARDS_DECK_DEADLINE_SECONDS"})
    # Once the cards have run for this long no further one is started: the answer is that of those that ran.
    card_seconds: float = field(default=30.0, metadata={"env": "CARDS_DECK_CARD_SECONDS"})

    def __post_init__(self) -> None:
        for f in fields(self):
            value = getattr(self, f.name)
            if isinstance(value, (int, float)) and not 0 < value < 2**40:
                raise InputError(f"{f.metadata['env']} must be above 0 and below 2**40, but it is {value}.")
        if self.port > 65535:
            raise InputError(f"PORT must be at most 65535, but it is {self.port}.")
        if self.max_queue < self.max_images:
            raise InputError(
                f"CARDS_DECK_MAX_QUEUE ({self.max_queue}) must hold the largest request, "
                f"CARDS_DECK_MAX_IMAGES ({self.max_images}): raise the first or lower the second."
            )

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """The defaults, changed by the variables that are set and not empty (InputError names a bad one)."""
        environment = os.environ if environment is None else environment
        values: dict[str, Any] = {}
        for f in fields(cls):
            name, text = f.metadata["env"], environment.get(f.metadata["env"], "")
            if text:
                values[f.name] = _read(name, text, type(f.default))
        return cls(**values)


def _read(name: str, text: str, kind: type) -> Any:
    try:
        return kind(text)
    except ValueError:
        wanted = f"one of {', '.join(kind)}" if issubclass(kind, StrEnum) else f"of type {kind.__name__}"
        raise InputError(f"{name} must be {wanted}, but it is {text!r}.") from None
