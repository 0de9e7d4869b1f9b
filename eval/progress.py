"""Progress of a long run on stderr: one line that rewrites itself on a terminal, a line now and then in a log."""

from __future__ import annotations

import sys
import threading
import time
from dataclasses import dataclass, field
from typing import TextIO

LOG_EVERY_S = 20.0


@dataclass
class Progress:
    """Counts images done of `total`; the time left is judged from work done in this run, not from cached cells."""

    total: int
    label: str
    stream: TextIO = field(default_factory=lambda: sys.stderr)
    _done: int = field(default=0, init=False)
    _cached: int = field(default=0, init=False)
    _start: float = field(default_factory=time.monotonic, init=False)
    _shown: float = field(default=float("-inf"), init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def __post_init__(self) -> None:
        """Say at once that the work has begun: the first cell may take minutes."""
        self._show("started")

    def add(self, images: int, what: str, *, cached: bool = False) -> None:
        """`images` more are done; `what` names the cell they belong to. Any thread may call."""
        with self._lock:
            self._add(images, what, cached)

    def _add(self, images: int, what: str, cached: bool) -> None:
        self._done += images
        self._cached += images if cached else 0
        self._show(what)

    def _show(self, what: str) -> None:
        now, last = time.monotonic(), self._done >= self.total
        if self.stream.isatty():
            print(f"\r\x1b[K{self.line(what, now)}", end="\n" if last else "", file=self.stream, flush=True)
        elif last or now - self._shown >= LOG_EVERY_S:
            self._shown = now
            print(self.line(what, now), file=self.stream, flush=True)

    def line(self, what: str, now: float) -> str:
        """The text shown at monotonic time `now`."""
        share = self._done / self.total if self.total else 1.0
        return f"{self.label}  {share:4.0%}  {self._done:,}/{self.total:,} images  {self._left(now)}  {what}"

    def _left(self, now: float) -> str:
        fresh = self._done - self._cached
        if self._done >= self.total:
            return f"done in {clock(now - self._start)}"
        if fresh <= 0:
            return "--:-- left"
        return f"{clock((now - self._start) / fresh * (self.total - self._done))} left"


def clock(seconds: float) -> str:
    """Seconds as m:ss or h:mm:ss."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
