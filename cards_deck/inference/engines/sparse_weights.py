"""Sparse weights as the lists that the C kernels walk; see `_sparse/accumulate.h`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cards_deck.inference.engines.sparse_layout import Domain
from cards_deck.spectrum import Floats

Wholes = NDArray[np.int64]
RUN = np.dtype([("set", "i4"), ("count", "i4"), ("plus", "i4"), ("unused", "i4"), ("slots", "i4", 8)])


@dataclass(frozen=True)
class Blocking:
    """What is worked on at a time: `lines` of the plane, `window` output channels, `group` of them in one loop."""

    lines: int
    window: int
    group: int


@dataclass(frozen=True)
class Lists:
    """A convolution's weights. `values` None: all are +-1, the first `plus` of a run positive."""

    offsets: NDArray[np.uint16] | NDArray[np.uint32]
    values: Floats | None
    runs: NDArray[np.void]
    first_run: Wholes
    first_entry: Wholes


def signs(weight: Floats) -> Floats | None:
    """Scale float32 [o] of a tensor [o, ...] whose kept weights are +-scale in each output channel; None of others."""
    flat = np.abs(weight.reshape(len(weight), -1))
    scale: Floats = flat.max(axis=1)
    return scale if bool(((flat == 0) | (flat == scale[:, None])).all()) else None


def conv_lists(
    weight: Floats, groups: int, domain: Domain, plane: int, planes: int, vector: int, blocking: Blocking, binary: bool
) -> Lists:
    """Encode weight [o, c / groups, kh, kw] for an input of `planes` planes of `plane` floats each.

    Where lists of a group differ in length, the shorter are filled up with zero weights, or, for signs, with offsets of
    the zeros behind the last plane.
    """
    out, channel, row, column = np.nonzero(weight)
    values = weight[out, channel, row, column]
    channel = channel + out // (len(weight) // groups) * weight.shape[1]
    phase_row, shift_row = np.array([domain.split(tap) for tap in range(domain.kernel[0])]).T[:, row]
    phase_column, shift_column = np.array([domain.split(tap) for tap in range(domain.kernel[1])]).T[:, column]
    member = np.searchsorted(domain.shifts(1), shift_column)
    if domain.layout.packed:
        member = member + np.searchsorted(domain.shifts(0), shift_row) * len(domain.shifts(1))
    offset = (channel * domain.stride**2 + phase_row * domain.stride + phase_column) * (plane // vector)
    if not domain.layout.packed:
        offset = offset + (shift_row - domain.first_line) * (domain.layout.line // vector)
    entries = _Entries(out, member, offset, values, len(weight), len(domain.sets()))
    return entries.lists(blocking, binary, planes * plane // vector)


class _Entries:
    """Kept weights: output channel, set, offset and value of each."""

    def __init__(self, out: Wholes, member: Wholes, offset: Wholes, values: Floats, outputs: int, sets: int) -> None:
        order = np.lexsort((offset, member, out))
        self.out, self.member, self.offset = out[order], member[order], offset[order]
        self.values, self.outputs, self.sets = values[order], outputs, sets

    def lists(self, blocking: Blocking, binary: bool, zeros: int) -> Lists:
        window, group = blocking.window, blocking.group
        windows, groups = -(-self.outputs // window), window // group
        negative = (self.values < 0) if binary else np.zeros(len(self.values), np.bool_)
        found = np.zeros((2, windows * window, self.sets), np.int64)
        np.add.at(found, (negative.astype(np.int64), self.out, self.member), 1)
        counts = found.reshape(2, windows, window, self.sets).transpose(0, 1, 3, 2)  # sign, window, set, output
        # Neighbours in length share a group, so that little is filled up.
        ranked = np.argsort(counts.sum(axis=0), axis=-1, kind="stable")
        longest = (
            np.take_along_axis(counts, ranked[None], axis=-1).reshape(2, windows, self.sets, groups, group).max(-1)
        )
        length = longest.sum(axis=0)
        start = (np.cumsum(length.ravel()) - length.ravel()).reshape(length.shape) * group
        rank = np.argsort(ranked, axis=-1, kind="stable")[self.out // window, self.member, self.out % window]
        where = self.out // window, self.member, rank // group
        place = start[where] + rank % group
        place += (self._nth(negative) + np.where(negative, longest[0][where], 0)) * group
        size = int(length.sum()) * group
        offsets = np.full(size, zeros if binary else 0, np.int64)
        offsets[place] = self.offset
        values = None
        if not binary:
            values = np.zeros(max(size, 1), np.float32)
            values[place] = self.values
        runs = self._runs(length, longest[0], ranked, group)
        first_run = np.arange(windows + 1, dtype=np.int64) * self.sets * groups
        first_entry = np.append(start[:, 0, 0], size).astype(np.int64)
        narrow = not size or int(offsets.max()) < 1 << 16
        packed = offsets.astype(np.uint16) if narrow else offsets.astype(np.uint32)
        return Lists(packed, values, runs, first_run, first_entry)

    def _nth(self, negative: NDArray[np.bool_]) -> Wholes:
        """How many entries of the same output channel, set and sign come before each."""
        key = (self.out * self.sets + self.member) * 2 + negative
        order = np.argsort(key, kind="stable")
        grouped = key[order]
        first = np.flatnonzero(np.append(True, grouped[1:] != grouped[:-1])) if len(key) else np.zeros(0, np.int64)
        nth = np.empty(len(key), np.int64)
        nth[order] = np.arange(len(key)) - np.repeat(first, np.diff(np.append(first, len(key))))
        return nth

    def _runs(self, length: Wholes, plus: Wholes, ranked: Wholes, group: int) -> NDArray[np.void]:
        runs = np.zeros(length.shape, RUN)
        runs["set"] = np.arange(self.sets)[None, :, None]
        runs["count"], runs["plus"] = length, plus
        runs["slots"][..., :group] = ranked.reshape(*length.shape, group)
        return runs.ravel()
