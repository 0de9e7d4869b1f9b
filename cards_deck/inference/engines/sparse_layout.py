"""Where pixels lie in the sparse engine's memory; see `_sparse/sparse.h` for the terms."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Lanes = NDArray[np.int32]
Tap = tuple[int, int, int, int]  # kernel row, kernel column, row and column of the input pixel that output (0, 0) reads
WASTE = 1.25  # rows are padded to vectors where that costs less than this
LARGEST_PACKED = 32  # vectors
WHOLE_LINES = (1, 2, 4, 8)  # vectors in a line, and lines of a plane whose lines hold several rows: see rows.h


def rounded_up(number: int, multiple: int) -> int:
    """The next multiple."""
    return -(-number // multiple) * multiple


@dataclass(frozen=True)
class Layout:
    """How a plane that holds up to `height` x `width` pixels is cut into lines.

    A line holds `rows` rows, `pitch` floats apart, and is whole vectors of `vector` floats.
    """

    vector: int
    rows: int
    line: int
    pitch: int

    @property
    def packed(self) -> bool:
        """Whether lines hold several rows."""
        return self.rows > 1

    def lines(self, height: int) -> int:
        """Lines of a plane of `height` rows."""
        return -(-height // self.rows)

    def lanes(self, height: int, width: int) -> Lanes | None:
        """int32 [line]: -1 where a lane is a pixel, else 0; None where all are."""
        row, column = self.pixels()
        inside = (column < width) & (row < height if self.packed else True)
        return None if inside.all() else np.where(inside, -1, 0).astype(np.int32)

    def pixels(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(row, column) of each lane of a line."""
        lane = np.arange(self.line)
        return (lane // self.pitch, lane % self.pitch) if self.packed else (np.zeros_like(lane), lane)


def layout_for(height: int, width: int, vectors: Iterable[int], *, exact: bool = True) -> Layout:
    """The layout of planes of `height` x `width`, with one of these sizes of vectors.

    Rows in lines of the widest vectors that fit them, one or, where all planes have `exact`ly this size and fill the
    vectors, several; where all waste too much, all rows in one line.
    """
    widest_first = sorted(vectors, reverse=True)
    for vector in widest_first:
        line = rounded_up(width, vector)
        if line <= WASTE * width or height * width > LARGEST_PACKED * vector:
            return Layout(vector, 1, line, line)
        rows = vector // width
        if exact and rows * width == vector and height % rows == 0 and height // rows in WHOLE_LINES:
            return Layout(vector, rows, vector, width)
    vector = widest_first[0]
    if height == 1:
        return Layout(vector, 1, rounded_up(width, vector), rounded_up(width, vector))
    return Layout(vector, height, rounded_up(height * width, vector), width)


@dataclass(frozen=True)
class Domain:
    """Geometry of a convolution: pixels of the (phases of the) input, of the output, and the layout of both."""

    stride: int
    padding: int
    kernel: tuple[int, int]
    source: tuple[int, int]
    result: tuple[int, int]
    layout: Layout

    @classmethod
    def of(
        cls, size: tuple[int, int], kernel: tuple[int, int], stride: int, padding: int, vectors: Iterable[int]
    ) -> Domain:
        """For an input of `size` (height, width)."""
        result = tuple((length + 2 * padding - k) // stride + 1 for length, k in zip(size, kernel, strict=True))
        source = tuple(-(-length // stride) for length in size)
        most = max(source[0], result[0]), max(source[1], result[1])
        layout = layout_for(*most, vectors, exact=source == result)
        return cls(stride, padding, kernel, (source[0], source[1]), (result[0], result[1]), layout)

    def split(self, tap: int) -> tuple[int, int]:
        """A kernel row or column -> (phase, shift): for output x it reads input pixel stride * (x + shift) + phase."""
        return (tap - self.padding) % self.stride, (tap - self.padding) // self.stride

    @property
    def shifts(self) -> list[int]:
        """Column shifts, ascending: the taps of one are a set."""
        return sorted({self.split(tap)[1] for tap in range(self.kernel[1])})

    @property
    def lines(self) -> list[int]:
        """Line shifts, ascending."""
        return sorted({self.split(tap)[1] for tap in range(self.kernel[0])})

    @property
    def guards(self) -> tuple[int, int]:
        """Guard lines that the convolution reads above and below a plane."""
        last = 0 if self.layout.packed else self.result[0] - self.source[0]
        return max(0, -self.lines[0]), max(0, last + self.lines[-1])

    @property
    def first_line(self) -> int:
        """Where offsets count from, relative to an output's own line."""
        return min(0, self.lines[0])

    def masks(self) -> Lanes:
        """int32 [sets, line]: -1 where a lane, shifted, is a column of the input."""
        column = self.layout.pixels()[1] + np.array(self.shifts)[:, None]
        return np.where((column >= 0) & (column < self.source[1]), -1, 0).astype(np.int32)
