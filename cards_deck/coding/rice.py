"""Golomb-Rice codes of the gaps: within 2 % of the entropy where the kept weights lie evenly, and fast to read.

Golomb (IEEE Trans. Inf. Theory, 1966) and Rice (JPL 79-22, 1979): a gap g is floor(g / 2^k) in unary and its k lowest
bits, which is the best prefix code of a geometric distribution.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cards_deck.coding import CODINGS, Bytes, Mask
from cards_deck.coding._gaps import Gaps, gaps_of, mask_of

MAX_K = 28


@CODINGS.register("rice")
@dataclass(frozen=True)
class Rice:
    """One byte k; then the k lowest bits of every gap; then every quotient as that many 0 bits and a 1.

    Both parts begin at a byte and end with 0 bits. The bits of fixed width come first, so that all lengths are known
    and both parts are read whole, without a loop over gaps.
    """

    def encode(self, mask: Mask) -> Bytes:
        """See `Coding`."""
        gaps = gaps_of(mask)
        k = min(range(MAX_K + 1), key=lambda k: len(gaps) * (k + 1) + int((gaps >> k).sum()))
        ends = np.cumsum((gaps >> k) + 1) - 1
        unary = np.zeros(int(ends[-1]) + 1 if len(ends) else 0, np.bool_)
        unary[ends] = True
        lowest = (gaps[:, None] >> np.arange(k - 1, -1, -1)) & 1
        head = np.array([k], np.uint8)
        return np.concatenate([head, np.packbits(lowest.astype(np.bool_).ravel()), np.packbits(unary)])

    def decode(self, data: Bytes, size: int, kept: int) -> Mask:
        """See `Coding`."""
        if not len(data) or int(data[0]) > MAX_K:
            raise ValueError(f"its Rice code must begin with a number of at most {MAX_K}")
        k = int(data[0])
        split = 1 + -(-kept * k // 8)
        fixed, unary = data[1:split], data[split:]
        if int(np.bitwise_count(unary).sum(dtype=np.int64)) != kept or (len(unary) and not unary[-1]):
            raise ValueError(f"its Rice code does not hold {kept} gaps")
        if 1 + len(fixed) != split or (kept * k % 8 and int(fixed[-1]) & ((1 << (8 - kept * k % 8)) - 1)):
            raise ValueError("its Rice code is truncated or has bits set after its end")
        quotients = np.diff(np.flatnonzero(np.unpackbits(unary)), prepend=-1) - 1
        return mask_of((quotients << k) + _numbers(fixed, kept, k), size)


def _numbers(data: Bytes, count: int, width: int) -> Gaps:
    """int64 [count]: numbers of `width` bits each, highest bit first."""
    bits = np.unpackbits(data, count=count * width).reshape(count, width)
    numbers = np.zeros(count, np.int64)
    for column in range(width):
        numbers = (numbers << 1) | bits[:, column]
    return numbers
