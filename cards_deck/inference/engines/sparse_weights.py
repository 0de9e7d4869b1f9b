"""Sparse weights as the lists that the C kernels walk; see `_sparse/accumulate.h`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cards_deck.inference.engines.sparse_layout import Domain
from cards_deck.inference.engines.sparse_library import WIDTHS
from cards_deck.spectrum import Floats

Wholes = NDArray[np.int64]
MOST_SORTED = 8192  # channels
RUN = np.dtype([("count", "i4"), ("plus", "i4")])


@dataclass(frozen=True)
class Lists:
    """A convolution's weights in runs, by output channel and set.

    `values` None: all are +-1, the first `plus` of a run +1.
    """

    offsets: NDArray[np.uint16] | NDArray[np.uint32]
    values: Floats | None
    runs: NDArray[np.void]
    first_entry: Wholes


def signs(weight: Floats) -> Floats | None:
    """Scale float32 [o] of a tensor [o, ...] whose kept weights are +-scale in each output channel; None of others."""
    flat = np.abs(weight.reshape(len(weight), -1))
    scale: Floats = flat.max(axis=1)
    return scale if bool(((flat == 0) | (flat == scale[:, None])).all()) else None


def conv_lists(weight: Floats, groups: int, domain: Domain, plane: int, binary: bool) -> Lists:
    """Encode weight [o, c / groups, kh, kw] for an input whose planes lie `plane` floats apart."""
    out, channel, row, column = np.nonzero(weight)
    values = weight[out, channel, row, column]
    channel = channel + out // (len(weight) // groups) * weight.shape[1]
    phase_row, line = np.array([domain.split(tap) for tap in range(domain.kernel[0])]).T[:, row]
    phase, shift = np.array([domain.split(tap) for tap in range(domain.kernel[1])]).T[:, column]
    sets, vector = len(domain.shifts), domain.layout.vector
    offset = ((channel * domain.stride + phase_row) * domain.stride + phase) * (plane // vector)
    offset += (line - domain.first_line) * (domain.layout.line // vector)
    run = out * sets + np.searchsorted(domain.shifts, shift)
    negative = (values < 0) & binary
    order = np.lexsort((line, negative, run))  # by run, in it the signs apart, and line after line
    runs = np.zeros(len(weight) * sets, RUN)
    runs["count"], runs["plus"] = (np.bincount(run[kept], minlength=len(runs)) for kept in (slice(None), ~negative))
    offset, values = offset[order], values[order]
    first_entry = np.searchsorted(out, np.arange(len(weight) + 1)).astype(np.int64)
    narrow = not len(offset) or int(offset.max()) < 1 << 16
    listed = offset.astype(np.uint16) if narrow else offset.astype(np.uint32)
    return _padded(listed, None if binary else values, runs, first_entry)


def _padded(
    offsets: NDArray[np.uint16] | NDArray[np.uint32], values: Floats | None, runs: NDArray[np.void], first_entry: Wholes
) -> Lists:
    """Kernels load four offsets and a vector of values at a time, the last ones too."""
    stored = None if values is None else np.append(values, np.zeros(max(WIDTHS))).astype(np.float32)
    return Lists(np.append(offsets, np.zeros(4, offsets.dtype)), stored, runs, first_entry)


def tap_counts(weight: Floats, domain: Domain) -> NDArray[np.int32]:
    """Kept weights int32 [o, sets, 3] of each output channel and set, of the taps one line up, in line and one down."""
    kept = np.count_nonzero(weight, axis=1)
    found = np.zeros((len(weight), len(domain.shifts), 3), np.int32)
    for row, column in np.ndindex(*domain.kernel):
        found[:, domain.shifts.index(domain.split(column)[1]), domain.split(row)[1] + 1] += kept[:, row, column]
    return found


def alike(counts: Wholes, together: int) -> Wholes:
    """The order of the rows of `counts` [channels, sets] that has groups of `together` with counts as alike as may be.

    Greedy: the largest that is left, then again and again what makes the group's runs longer by least. That takes time
    by the square of the channels: of more than any network has the largest first, and that is all.
    """
    if len(counts) > MOST_SORTED:
        return np.asarray(np.argsort(-counts.sum(axis=1), kind="stable"), np.int64)
    left, order = np.ones(len(counts), bool), list[int]()
    for first in np.argsort(-counts.sum(axis=1), kind="stable"):
        if not left[first]:
            continue
        longest, left[first] = counts[first], False
        order.append(int(first))
        for _ in range(min(together - 1, int(left.sum()))):
            filled = together * np.maximum(counts, longest).sum(axis=1) - counts.sum(axis=1)
            nearest = int(np.where(left, filled, np.iinfo(np.int64).max).argmin())
            longest, left[nearest] = np.maximum(longest, counts[nearest]), False
            order.append(nearest)
    return np.array(order, np.int64)


def in_turns(lists: Lists, together: int) -> tuple[Lists, NDArray[np.int32]]:
    """The weights of `together` output channels listed in turns, one of each, then the next of each; and their order.

    The runs of such a group become equally long: shorter ones are filled up with zeros, at offset 0. With channels of
    like counts in a group, 3 % are zeros where 512 have 230 weights each, at random, and not 12 %.
    """
    assert lists.values is not None
    channels = len(lists.first_entry) - 1
    sets, groups, kept = len(lists.runs) // channels, -(-channels // together), int(lists.first_entry[-1])
    own = lists.runs["count"].reshape(channels, sets).astype(np.int64)
    order = alike(own, together)
    counts = np.zeros((groups * together, sets), np.int64)
    counts[:channels] = own[order]
    lengths = counts.reshape(groups, together, sets).max(axis=1)
    starts = np.append(0, np.cumsum(lengths.reshape(-1) * together))
    run = np.repeat(np.arange(own.size), own.reshape(-1))  # of each weight: output channel and set
    turn = np.arange(kept) - (np.cumsum(own) - own.reshape(-1))[run]
    channel, column = np.divmod(run, sets)
    place = np.argsort(order)[channel]
    target = starts[place // together * sets + column] + turn * together + place % together
    offsets, values = np.zeros(starts[-1], lists.offsets.dtype), np.zeros(starts[-1], np.float32)
    offsets[target], values[target] = lists.offsets[:kept], lists.values[:kept]
    runs = np.zeros(channels * sets, RUN)
    runs["count"] = runs["plus"] = np.repeat(lengths, together, axis=0)[:channels].reshape(-1)
    first_entry = np.append(starts[:-1:sets].repeat(together)[:channels], starts[-1]).astype(np.int64)
    return _padded(offsets, values, runs, first_entry), order.astype(np.int32)
