"""What a person sees of a training run: a bar with accuracy and time left, and a log of every epoch."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm


@dataclass(frozen=True)
class Progress:
    """How progress is shown.

    Attributes:
        quiet: no bar.
        log: JSON-lines file that gets one line per epoch, appended.
        validate_every: epochs between measurements of validation accuracy; the last epoch always has one.
    """

    quiet: bool = False
    log: Path | None = None
    validate_every: int = 1

    @contextmanager
    def stage(self, name: str, done: int, epochs: int) -> Iterator[Bar]:
        """Show one stage of `epochs` epochs of which `done` are done."""
        bar = Bar(name, done, epochs, self)
        try:
            yield bar
        finally:
            bar.close()


class Bar:
    """The bar of one stage, counted in steps once the first step has told how many there are."""

    def __init__(self, name: str, done: int, epochs: int, settings: Progress) -> None:
        self.name, self.settings = name, settings
        self.started, self.steps_per_epoch = time.monotonic(), 0
        self.accuracy = ""
        self.epochs, self.done = epochs, done
        # On a terminal a bar, in a log file one line per epoch.
        self.bar = tqdm(
            desc=name, total=None, unit="step", disable=settings.quiet or not sys.stderr.isatty(), dynamic_ncols=True
        )

    def step(self, step: int, steps: int, loss: float) -> None:
        """Move to `step` of `steps`."""
        if self.bar.total != steps:
            self.bar.total, self.bar.initial = steps, step
        self.bar.n = step
        self.bar.set_postfix_str(f"loss {loss:.3f}{self.accuracy}")

    def epoch(self, record: dict[str, float]) -> None:
        """Note the end of an epoch: its loss and, where measured, its validation accuracy in [0, 1]."""
        seconds = time.monotonic() - self.started
        epoch = int(record["epoch"])
        left = seconds / max(epoch - self.done, 1) * (self.epochs - epoch)
        if "validation" in record:
            self.accuracy = f", validation {100 * record['validation']:.2f} %"
        if self.settings.log is not None:
            self.settings.log.parent.mkdir(parents=True, exist_ok=True)
            with self.settings.log.open("a") as file:
                file.write(json.dumps({"stage": self.name, **record, "seconds": round(seconds, 3)}) + "\n")
        if not self.settings.quiet and self.bar.disable:
            text = f"{self.name}: epoch {epoch}/{self.epochs}, loss {record['loss']:.3f}{self.accuracy}"
            print(f"{text}, {left / 60:.1f} min left", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Leave the bar as it stands."""
        self.bar.close()
