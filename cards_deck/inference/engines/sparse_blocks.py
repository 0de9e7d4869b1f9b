"""How much of a convolution the sparse engine does at a time: what fits the registers and the nearest cache."""

from __future__ import annotations

from cards_deck.inference.engines.sparse_layout import Domain

REGISTERS = 8  # vectors summed at a time
NEAR = 64 << 10  # bytes of input above which fewer lines are summed at a time
HALF = 48 << 10  # bytes of each half of an input that is worth two passes over the outputs
FEW, IN_TURNS = 2, 4  # up to so many vectors at a time, so many output channels are summed side by side
MOST_TOGETHER = 4  # images, where planes are one vector
SIXTEEN = 16  # images, floats in a vector and pixels in a plane, for the kernel of sixteen.h


def lines_together(domain: Domain, planes: int) -> int:
    """Lines that are summed at a time: their sums fit the registers and what they read, nearly, the nearest cache.

    All where they hold several rows: guards are made of whole planes.
    """
    layout = domain.layout
    if layout.packed:
        return layout.lines(domain.result[0])
    lines = max(1, REGISTERS // (layout.line // layout.vector))
    return max(1, lines // 2) if _read(domain, planes, lines) > NEAR else lines


def parts_of_input(domain: Domain, planes: int) -> int:
    """Passes over the outputs, each of a part of the input: two where whole planes are read and halves fit the cache.

    256 channels of 8 x 8 pixels at 5 %: 27 us, not 31; three passes over 512 channels took longer than one.
    """
    layout = domain.layout
    lines = layout.lines(domain.result[0])
    if not layout.packed or lines == 1 or domain.kernel == (1, 1):
        return 1
    return 2 if HALF < _read(domain, planes, lines) <= 2 * HALF else 1


def side_by_side(domain: Domain, block: int) -> tuple[int, int]:
    """Output channels whose weights are listed in turns, and images that go through together."""
    line = domain.layout.line // domain.layout.vector
    lines = domain.layout.lines(domain.result[0])
    if min(block, lines) * line > FEW:
        return 1, 1
    return IN_TURNS, MOST_TOGETHER if lines * line == 1 else 1


def fits_sixteen(domain: Domain) -> bool:
    """Whether the kernel for sixteen images can do it: see `_sparse/sixteen.h`."""
    layout, rows = domain.layout, {-1, 0, 1}.issuperset(domain.lines)
    return rows and layout.vector == layout.line == SIXTEEN and domain.source == domain.result == (4, 4)


def _read(domain: Domain, planes: int, lines: int) -> int:
    """Bytes that sums of so many lines read."""
    return 4 * planes * domain.layout.line * (lines + sum(domain.guards))
