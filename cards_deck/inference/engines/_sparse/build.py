"""Compile the sparse engine's kernels into one shared library beside this file: `python build.py`.

Needs a C compiler (CC, else cc, gcc or clang) and nothing else, not even the package. Without one it says so and ends
well: everything but the sparse engine works. Does nothing where the library is of these sources already.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
LIBRARY = "libsparse.dylib" if sys.platform == "darwin" else "libsparse.so"
SOURCES = (
    "accumulate.h", "arrange.h", "cpus.h", "kernels.c", "levels.c", "network.c", "rows.h", "sixteen.h", "sparse.h",
    "vector.h",
)  # fmt: skip
FLAGS = ["-std=gnu11", "-O3", "-fPIC", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast"]
AVX512 = ["-mavx512f", "-mavx512vl", "-mavx512dq", "-mavx512bw", "-mfma"]
KERNELS = {  # floats in a vector, flags
    "plain": (4, []),  # NEON, SSE2
    "avx2": (8, ["-mavx2", "-mfma"]),
    "avx512": (16, [*AVX512, "-mprefer-vector-width=512"]),
    "avx512_half": (8, [*AVX512, "-mprefer-vector-width=256"]),  # for planes too narrow for the whole
}


class NoCompilerError(Exception):
    """No C compiler was found."""


def source_hash() -> str:
    """Hash of the sources and flags: a library carries that of its own."""
    digest = hashlib.sha256(repr((FLAGS, KERNELS)).encode())
    for name in SOURCES:
        digest.update((FOLDER / name).read_bytes())
    return digest.hexdigest()[:16]


def compiler() -> list[str]:
    """The command of the C compiler."""
    named = shlex.split(os.environ.get("CC", ""))
    for candidate in [named] if named else [["cc"], ["gcc"], ["clang"]]:
        if shutil.which(candidate[0]):
            return candidate
    raise NoCompilerError("no C compiler was found (CC, cc, gcc, clang)")


def compile_library(target: Path, *, machine: str = "", cc: list[str] | None = None, flags: Sequence[str] = ()) -> None:
    """Write the library for `machine` (default: this one) to `target`, whole or not at all.

    Raises NoCompilerError, or CalledProcessError with the compiler's words.
    """
    cc = cc or compiler()
    x86 = (machine or platform.machine()).lower() in ("x86_64", "amd64")
    kernels = KERNELS if x86 else {"plain": KERNELS["plain"]}
    common = [*FLAGS, *flags, *(["-DSPARSE_X86"] if x86 else []), f'-DSPARSE_SOURCE="{source_hash()}"']
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        jobs = {f"{name}.o": [*extra, f"-DWIDTH={width}", f"-DTABLE=kernels_{name}", "-c", str(FOLDER / "kernels.c")]
                for name, (width, extra) in kernels.items()}  # fmt: skip
        jobs |= {f"{name}.o": ["-c", str(FOLDER / f"{name}.c")] for name in ("levels", "network")}
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda job: _run([*cc, *common, *job[1], "-o", f"{folder}/{job[0]}"]), jobs.items()))
        built = Path(folder, target.name)
        _run([*cc, *flags, "-shared", "-o", str(built), *(f"{folder}/{name}" for name in jobs), "-lpthread"])
        built.replace(target)


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)


def built() -> bool:
    """Whether the library beside this file is of these sources, and of this machine: folders are shared and copied."""
    library = FOLDER / LIBRARY
    if not library.is_file() or source_hash().encode() not in library.read_bytes():
        return False
    try:
        ctypes.CDLL(str(library))
    except OSError:
        return False
    return True


def main() -> int:
    """Build if needed. Ends well without a compiler too: the engine is optional."""
    if built():
        return 0
    try:
        print("== compiling the sparse engine", flush=True)
        compile_library(FOLDER / LIBRARY)
    except (NoCompilerError, OSError) as error:
        print(f"== the sparse engine is left out: {error}; ONNX Runtime runs the cards")
    except subprocess.CalledProcessError as error:
        print(f"== the sparse engine is left out: the compiler failed:\n{error.stderr[-2000:]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
