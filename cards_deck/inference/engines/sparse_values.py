"""Values of the sparse engine while a plan is made: shape, layout, guards, and who needs them how long."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

from cards_deck.inference.engines.sparse_layout import Layout, rounded_up
from cards_deck.inference.engines.sparse_library import Value


@dataclass
class Placed:
    """A value: its shape per image, its layout, and the C structure that grows guards and gets its place later."""

    shape: tuple[int, ...]
    layout: Layout
    value: Value
    guards: tuple[int, int] = (0, 0)
    first: int = 0  # operation that makes it
    last: int = 0  # operation that reads it last

    def guard(self, above: int, below: int) -> None:
        """Have at least these lines of zeros."""
        self.guards = max(self.guards[0], above), max(self.guards[1], below)

    def settle(self) -> None:
        """Fix the sizes, once all readers are known."""
        line, value = self.layout.line, self.value
        value.origin = self.guards[0] * line
        value.plane = (value.lines + sum(self.guards)) * line

    @property
    def floats(self) -> int:
        """Memory per image."""
        return int(self.value.planes * self.value.plane)


def image_value(shape: tuple[int, int, int], layout: Layout, phases: int = 1) -> Placed:
    """A value of [channels, height, width] per image, in `phases` planes per channel."""
    channels, height, width = shape
    value = Value(
        planes=channels * phases, packed=layout.packed, lines=layout.lines(height), line=layout.line,
        pitch=layout.pitch, height=height, width=width,
    )  # fmt: skip
    return Placed(shape, layout, value)


def vector_value(length: int, vector: int) -> Placed:
    """A value of [length] per image."""
    line = rounded_up(length, vector)
    value = Value(planes=1, lines=1, line=line, pitch=line, height=1, width=length)
    return Placed((length,), Layout(vector, 1, line, line), value)


def same(value: Value) -> Value:
    """A copy."""
    made = Value()
    copy(value, made)
    return made


def copy(value: Value, target: Value) -> None:
    """Write a value's place over another."""
    ctypes.memmove(ctypes.byref(target), ctypes.byref(value), ctypes.sizeof(Value))
