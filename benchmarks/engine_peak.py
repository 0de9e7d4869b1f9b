"""Fused multiply-adds that a core does per second, measured: twelve independent chains of vectors in registers.

A C loop, compiled by the compiler that the sparse engine is compiled with, in its instruction set.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cards_deck.inference.engines._sparse import build
from cards_deck.inference.engines.sparse_library import LEVEL_VARIABLE, LEVELS, library

CHAINS, STEPS = 12, 4_000_000  # some milliseconds: waking threads is no part of it
_BYTES = {"plain": 16, "avx2": 32, "avx512": 64}
_SOURCE = f"""
typedef float vector __attribute__((vector_size(BYTES)));
float peak(long steps, float by, float plus)
{{
    vector b = (vector){{0}} + by, c = (vector){{0}} + plus, a[{CHAINS}];
    for (int k = 0; k < {CHAINS}; k++) a[k] = b * (float)k;
    for (long i = 0; i < steps; i++)
        _Pragma("GCC unroll {CHAINS}") for (int k = 0; k < {CHAINS}; k++) a[k] = a[k] * b + c;
    for (int k = 1; k < {CHAINS}; k++) a[0] += a[k];
    return a[0][0] + a[0][BYTES / 4 - 1];
}}
"""


def simd_level() -> str:
    """The instruction set of the sparse engine in this process: avx512, avx2 or plain."""
    named = os.environ.get(LEVEL_VARIABLE, "")
    loaded = library()
    if named in LEVELS or loaded is None:
        return named or "plain"
    best: int = loaded.sparse_best_level()
    return next(name for name, level in LEVELS.items() if level == best)


class Peak:
    """Called with a number of threads, each does STEPS multiply-adds of every chain."""

    def __init__(self) -> None:
        self.level = simd_level()
        flags = [flag for flag in build.KERNELS[self.level][1] if flag.startswith("-m")]
        with tempfile.TemporaryDirectory() as folder:
            source, target = Path(folder, "peak.c"), Path(folder, "peak.so")
            source.write_text(_SOURCE)
            command = [*build.compiler(), "-O3", "-ffp-contract=fast", "-shared", "-fPIC", *flags]
            command += [f"-DBYTES={_BYTES[self.level]}", str(source), "-o", str(target)]
            subprocess.run(command, check=True, timeout=60)
            self._loop = ctypes.CDLL(str(target)).peak
        self._loop.argtypes = [ctypes.c_long, ctypes.c_float, ctypes.c_float]
        self._loop.restype = ctypes.c_float
        # A system may wake a thread on the processor of the one that wakes it, and both then take turns there.
        self._cpus = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        self._pool = ThreadPoolExecutor(os.cpu_count())

    def flop(self, threads: int) -> float:
        """Floating point operations of a call: two for each multiply-add."""
        return 2.0 * threads * STEPS * CHAINS * _BYTES[self.level] / 4

    def __call__(self, threads: int) -> None:
        """Compute."""
        if threads == 1:
            self._loop(STEPS, 0.5, 0.5)
        else:
            list(self._pool.map(self._on, range(threads)))

    def _on(self, place: int) -> None:
        if self._cpus:
            os.sched_setaffinity(0, {self._cpus[place % len(self._cpus)]})
        self._loop(STEPS, 0.5, 0.5)
