"""Sparse weights as the lists that the C kernels walk; see `_sparse/accumulate.h`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cards_deck.inference.engines.sparse_layout import Domain
from cards_deck.inference.engines.sparse_library import WIDTHS
from cards_deck.spectrum import Floats

Wholes = NDArray[np.int64]
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
    # In this order the kept weights come by output channel and set; columns of taps ascend with their shifts.
    turned = weight.transpose(0, 3, 1, 2)
    out, column, channel, row = np.nonzero(turned)
    values = turned[out, column, channel, row]
    channel = channel + out // (len(weight) // groups) * weight.shape[1]
    phase_row, line = np.array([domain.split(tap) for tap in range(domain.kernel[0])]).T[:, row]
    phase, shift = np.array([domain.split(tap) for tap in range(domain.kernel[1])]).T[:, column]
    sets, vector = len(domain.shifts), domain.layout.vector
    offset = ((channel * domain.stride + phase_row) * domain.stride + phase) * (plane // vector)
    offset += (line - domain.first_line) * (domain.layout.line // vector)
    run = out * sets + np.searchsorted(domain.shifts, shift)
    negative = (values < 0) & binary
    runs = np.zeros(len(weight) * sets, RUN)
    runs["count"], runs["plus"] = (np.bincount(run[kept], minlength=len(runs)) for kept in (slice(None), ~negative))
    if binary:
        order = np.argsort(2 * run + negative, kind="stable")
        offset = offset[order]
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


def in_turns(lists: Lists, together: int) -> Lists:
    """The weights of `together` output channels listed in turns: one of each, then the next of each.

    The runs of such a group become equally long: shorter ones are filled up with zeros, at offset 0.
    """
    assert lists.values is not None
    channels = len(lists.first_entry) - 1
    sets, groups, kept = len(lists.runs) // channels, -(-channels // together), int(lists.first_entry[-1])
    counts = np.zeros((groups * together, sets), np.int64)
    counts[:channels] = lists.runs["count"].reshape(channels, sets)
    lengths = counts.reshape(groups, together, sets).max(axis=1)
    starts = np.append(0, np.cumsum(lengths.reshape(-1) * together))
    run = np.repeat(np.arange(counts.size), counts.reshape(-1))  # of each weight: output channel and set
    place = np.arange(kept) - (np.cumsum(counts) - counts.reshape(-1))[run]
    channel, column = np.divmod(run, sets)
    target = starts[channel // together * sets + column] + place * together + channel % together
    offsets, values = np.zeros(starts[-1], lists.offsets.dtype), np.zeros(starts[-1], np.float32)
    offsets[target], values[target] = lists.offsets[:kept], lists.values[:kept]
    runs = np.zeros(channels * sets, RUN)
    runs["count"] = runs["plus"] = np.repeat(lengths, together, axis=0)[:channels].reshape(-1)
    first_entry = np.append(starts[:-1:sets].repeat(together)[:channels], starts[-1]).astype(np.int64)
    return _padded(offsets, values, runs, first_entry)
