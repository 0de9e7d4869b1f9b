"""A card as the operations of the sparse engine: layouts, encoded weights and a plan of the memory."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from cards_deck.card import Card
from cards_deck.errors import InputError
from cards_deck.inference.engines import sparse_blocks as blocks
from cards_deck.inference.engines import sparse_library as c
from cards_deck.inference.engines.sparse_layout import WHOLE_LINES, Domain, Layout, layout_for, rounded_up
from cards_deck.inference.engines.sparse_memory import assign
from cards_deck.inference.engines.sparse_steps import ACTIVATIONS, Doubles, Step, fused_steps, whole
from cards_deck.inference.engines.sparse_values import Placed, copy, image_value, same, vector_value
from cards_deck.inference.engines.sparse_weights import Wholes, conv_lists, in_turns, signs, tap_counts
from cards_deck.spectrum import Floats

MOST_FLOATS = 1 << 27  # of a thread's activations: far above any real network, and a bound for a hostile file
HEAVY = 24  # bytes of weights for each float of the input, from which images go through a convolution together


@dataclass
class Plan:
    """What a call needs. `keep` holds the arrays that the operations point to."""

    ops: ctypes.Array[c.Op]
    per_image: int
    sizes: tuple[int, int]
    scratch: int
    classes: int
    keep: list[NDArray[np.generic]] = field(repr=False)


@dataclass
class _Draft:
    """An operation before its values have places. `finish` fills in what depends on the settled input."""

    op: c.Op
    input: Placed | None
    output: Placed | None
    other: Placed | None = None
    weights: int = 0  # bytes of a convolution's, with their offsets
    finish: Callable[[], None] | None = None


class Planner:
    """Turns one card into a Plan. `kernels`: their addresses by the floats in a vector."""

    def __init__(self, card: Card, image_size: int, kernels: Mapping[int, int]) -> None:
        self.card, self.size, self.kernels = card, image_size, kernels
        self.values: dict[str, Placed] = {}
        self.arranged: dict[tuple[str, int, Layout], Placed] = {}
        self.drafts: list[_Draft] = []
        self.keep: list[NDArray[np.generic]] = []
        self.written: set[int] = set()  # ids of values that a draft writes
        self.scratch = 0

    def plan(self) -> Plan:
        """All operations with their memory."""
        rules: Mapping[str, Callable[[Step], None]] = {
            "input": self._input, "conv2d": self._conv, "pointwise": self._pointwise, "max_pool": self._pool,
            "avg_pool": self._pool, "global_avg_pool": self._to_vector, "flatten": self._to_vector,
            "linear": self._linear,
        }  # fmt: skip
        for step in fused_steps(self.card):
            rules[step.op](step)
        logits = self.values[self.card.graph.output]
        self._draft("output", logits, None)
        for placed in self._placed():
            placed.settle()
        for draft in self.drafts:
            if draft.finish is not None:
                draft.finish()
        read_with_guards = {id(draft.input) for draft in self.drafts if draft.weights and not draft.op.taps}
        for draft in self.drafts:
            draft.op.bare = id(draft.output) not in read_with_guards
        per_image = self._per_image()
        sizes = assign(self._placed(), per_image)
        if (needed := sizes[0] + c.TOGETHER * sizes[1] + self.scratch) > MOST_FLOATS:
            raise InputError(f"a card's activations may take {4 * MOST_FLOATS:,} bytes a thread, not {4 * needed:,}")
        for draft in self.drafts:
            for name, used in (("in_", draft.input), ("other", draft.other), ("out", draft.output)):
                if used is not None:
                    copy(used.value, getattr(draft.op, name))
        ops = (c.Op * len(self.drafts))(*(draft.op for draft in self.drafts))
        return Plan(ops, per_image, sizes, self.scratch, logits.shape[0], self.keep)

    def _placed(self) -> list[Placed]:
        found: dict[int, Placed] = {}
        for draft in self.drafts:
            if draft.output is not None:
                found[id(draft.output)] = draft.output
        return list(found.values())

    def _per_image(self) -> int:
        """How many operations come first, up to the last convolution whose weights do not outweigh what it reads."""
        light = (i for i, d in enumerate(self.drafts) if d.input and 0 < d.weights < d.input.floats * HEAVY)
        return max(light, default=-1) + 1

    def _draft(self, kind: str, source: Placed | None, result: Placed | None, other: Placed | None = None) -> c.Op:
        index = len(self.drafts)
        if result is not None and id(result) not in self.written:
            self.written.add(id(result))
            result.first = index
        vectors = []
        for placed in (source, other, result):
            if placed is not None:
                placed.last = index
                vectors.append(placed.layout.vector)
        op = c.Op(kind=c.OPS.index(kind), kernels=self.kernels[min(vectors)], together=1)
        op.has_other = other is not None
        self.drafts.append(_Draft(op, source, result, other))
        return op

    def _pointer(self, array: NDArray[np.generic] | None) -> int | None:
        """Address of an array that the plan keeps, aligned for vectors."""
        if array is None:
            return None
        space = np.empty(array.nbytes + 64, np.uint8)
        start = -space.ctypes.data % 64
        copy = space[start : start + array.nbytes]
        copy[:] = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        self.keep.append(copy)
        return copy.ctypes.data

    def _layout(self, height: int, width: int) -> Layout:
        return layout_for(height, width, self.kernels)

    def _lanes(self, placed: Placed) -> int | None:
        if len(placed.shape) == 1:
            return None
        return self._pointer(placed.layout.lanes(placed.shape[1], placed.shape[2]))

    def _affine(self, op: c.Op, step: Step, channels: int, scale: Doubles | Floats | None) -> None:
        op.scale = None if scale is None else self._pointer(_full(scale, channels))
        op.shift = self._pointer(_full(step.shift if step.shift is not None else np.zeros(1), channels))
        op.pre, op.post = ACTIVATIONS[step.pre], ACTIVATIONS[step.post]

    def _input(self, step: Step) -> None:
        result = image_value((3, self.size, self.size), self._layout(self.size, self.size))
        op = self._draft("input", None, result)
        self._affine(op, step, 3, step.scale)
        self.values[step.output] = result

    def _pointwise(self, step: Step) -> None:
        source = self.values[step.input]
        if len(source.shape) == 1 and step.scale is not None:
            source, step.scale, step.shift = self._scaled_vector(step, source), None, None
        result = Placed(source.shape, source.layout, same(source.value))
        other = None if step.other is None else self._as(step.other, result)
        op = self._draft("pointwise", source, result, other)
        self._affine(op, step, int(source.value.planes), step.scale)
        op.lanes = self._lanes(result)
        self.values[step.output] = result

    def _as(self, name: str, wanted: Placed) -> Placed:
        """A value in another's layout."""
        found = self.values[name]
        return found if found.layout == wanted.layout else self._arrange(name, 1, wanted.layout)

    def _arrange(self, name: str, stride: int, layout: Layout) -> Placed:
        """A value in another layout, one plane per phase of the stride: see `_sparse/arrange.h`."""
        key = name, stride, layout
        if key not in self.arranged:
            source = self.values[name]
            channels, height, width = source.shape
            shape = channels, -(-height // stride), -(-width // stride)
            self.arranged[key] = image_value(shape, layout, stride * stride)
            self._draft("arrange", source, self.arranged[key]).stride = stride
        return self.arranged[key]

    def _pool(self, step: Step) -> None:
        source = self.values[step.input]
        channels, *size = source.shape
        kernel, stride, padding = (whole(step, name) for name in ("kernel", "stride", "padding"))
        height, width = ((length + 2 * padding - kernel) // stride + 1 for length in size)
        result = image_value((channels, height, width), self._layout(height, width))
        op = self._draft(step.op, source, result)
        op.kernel, op.stride, op.padding = kernel, stride, padding
        self.values[step.output] = result

    def _to_vector(self, step: Step) -> None:
        source = self.values[step.input]
        if len(source.shape) == 1:
            self.values[step.output] = source
            return
        channels, *plane = source.shape
        count = channels if step.op == "global_avg_pool" else channels * math.prod(plane)
        result = vector_value(count, max(self.kernels))
        self._draft(step.op, source, result)
        self.values[step.output] = result

    def _linear(self, step: Step) -> None:
        weight = self.card.tensors[step.params["weight"]].astype(np.float64)
        weight *= 1 if step.scale is None else _full(step.scale, len(weight)).astype(np.float64)[:, None]
        rows, columns = np.nonzero(weight)
        kept = weight[rows, columns].astype(np.float32)
        self.values[step.output] = self._multiplied(self.values[step.input], len(weight), rows, columns, kept, step)

    def _scaled_vector(self, step: Step, source: Placed) -> Placed:
        """A batch norm of a vector is a diagonal linear layer."""
        assert step.scale is not None
        each = np.arange(source.shape[0])
        return self._multiplied(source, len(each), each, each, _full(step.scale, len(each)), step)

    def _multiplied(
        self, source: Placed, count: int, rows: Wholes, columns: Wholes, kept: Floats, step: Step
    ) -> Placed:
        """A linear layer of `count` outputs, by its weights that are kept, row after row."""
        result = vector_value(count, max(self.kernels))
        op = self._draft("linear", source, result)
        op.outputs, op.first_entry = count, self._pointer(np.searchsorted(rows, np.arange(count + 1)).astype(np.int64))
        op.offsets, op.values = self._pointer(columns.astype(np.uint32)), self._pointer(kept)
        op.shift = self._pointer(_full(step.shift if step.shift is not None else np.zeros(1), count))
        return result

    def _conv(self, step: Step) -> None:
        original = self.card.tensors[step.params["weight"]]
        stride, padding, groups = (whole(step, name) for name in ("stride", "padding", "groups"))
        given = self.values[step.input]
        _, height, width = given.shape
        domain = Domain.of((height, width), original.shape[2:], stride, padding, self.kernels)
        binary = signs(original)
        scale = np.ones(1) if step.scale is None else step.scale
        if binary is None:
            folded = original * _full(scale, len(original)).astype(np.float64)[:, None, None, None]
            weight, scale_after = folded.astype(np.float32), None
        else:
            weight, scale_after = np.sign(original), binary * _full(scale, len(original))
        source = given
        if stride > 1 or given.layout != domain.layout:
            source = self._arrange(step.input, stride, domain.layout)
        source.guard(*domain.guards)
        result = image_value((len(weight), *domain.result), domain.layout)
        other = None if step.other is None else self._as(step.other, result)
        parts = blocks.parts_of_input(domain, int(source.value.planes)) if groups == 1 and binary is None else 1
        channels = np.arange(weight.shape[1]) * parts // weight.shape[1]
        for part in range(parts):
            last = part == parts - 1
            op = self._draft("conv2d", source, result, other if last else None)
            if last:
                self._affine(op, step, len(weight), scale_after)
            else:
                op.shift = self._pointer(np.zeros(len(weight), np.float32))
            op.lanes, op.adds = self._lanes(result), part > 0
            op.outputs, op.binary = len(weight), binary is not None
            kept = weight if parts == 1 else np.where((channels == part)[:, None, None], weight, np.float32(0))
            self.drafts[-1].finish = partial(self._encode, self.drafts[-1], kept, groups, domain)
        self.values[step.output] = result

    def _encode(self, draft: _Draft, weight: Floats, groups: int, domain: Domain) -> None:
        """List a convolution's weights, once its input's place is settled."""
        op, source = draft.op, draft.input
        assert source is not None
        lists = conv_lists(weight, groups, domain, int(source.value.plane), bool(op.binary))
        op.wide = lists.offsets.dtype == np.uint32
        self._describe(op, domain, int(source.value.planes))
        if op.group > 1:
            lists, order = in_turns(lists, op.group)
            op.order = self._pointer(order)
            if op.rows and blocks.fits_sixteen(domain):
                op.taps, op.together = self._pointer(tap_counts(weight, domain)[order]), c.TOGETHER
                turned = blocks.SIXTEEN * rounded_up(blocks.SIXTEEN, int(source.value.plane) // blocks.SIXTEEN)
                self.scratch = max(self.scratch, int(source.value.planes) * turned)
        draft.weights = lists.offsets.nbytes + (0 if lists.values is None else lists.values.nbytes)
        op.offsets, op.values = self._pointer(lists.offsets), self._pointer(lists.values)
        op.runs, op.first_entry = self._pointer(lists.runs), self._pointer(lists.first_entry)

    def _describe(self, op: c.Op, domain: Domain, planes: int) -> None:
        vectors = domain.layout.line // domain.layout.vector
        shifts = domain.shifts
        op.sets, op.before = len(shifts), domain.first_line * domain.layout.line
        op.block = blocks.lines_together(domain, planes)
        op.rows = not op.wide and vectors in WHOLE_LINES and {-1, 0, 1}.issuperset(shifts)
        if op.rows and not op.binary:
            op.group, op.together = blocks.side_by_side(domain, op.block)
        else:
            op.group = 1
        op.shifts = self._pointer(np.array(shifts, np.int32))
        if domain.layout.packed or not op.rows:
            op.masks = self._pointer(domain.masks())
        op.guard = rounded_up(max(abs(shift) for shift in shifts), domain.layout.vector)
        sums = 0 if op.rows else op.sets * op.block * domain.layout.line
        self.scratch = max(self.scratch, rounded_up(sums + 2 * op.guard, max(self.kernels)))


def _full(values: NDArray[np.floating], count: int) -> Floats:
    return np.ascontiguousarray(np.broadcast_to(values, count), np.float32)
