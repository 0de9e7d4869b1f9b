"""The C kernels without Python: clean under the sanitizers at every level, and right on ARM (in an emulator)."""

from __future__ import annotations

import ctypes
import os
import platform
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from plain_network import Layer, plain, random_card

from cards_deck.card import Card
from cards_deck.inference.engines import sparse_library as c
from cards_deck.inference.engines._sparse import build
from cards_deck.inference.engines.sparse_plan import Plan, Planner
from cards_deck.inference.fake_deck import fake_images

SOURCE = Path(__file__).with_name("sparse_check.c")
WARNINGS = ["-Wall", "-Wextra", "-Werror"]
CROSS, EMULATOR, LIBRARIES = "aarch64-linux-gnu-gcc", "qemu-aarch64", "/usr/aarch64-linux-gnu"
WIDTHS = {"plain": (4,), "avx2": (8,), "avx512": (8, 16)}  # floats in a vector
POINTERS = [name for name, kind, *_ in c.Op._fields_ if kind is ctypes.c_void_p and name != "kernels"]


def networks() -> list[tuple[Card, int]]:
    """Cards and image sizes: rows and planes in lines, shapes beyond 3x3, offsets of 32 bits, an empty layer."""
    same = Layer(8, activation="relu", residual=True)
    block = [same, Layer(12, stride=2, activation="silu"), Layer(12, (1, 1), padding=0, binary=True), same]
    odd = [
        Layer(5, (2, 5), stride=3, padding=2),
        Layer(6, groups=2, pool="max_pool"),
        Layer(4, padding=0, pool="avg_pool"),
    ]
    wide = [Layer(48, activation="relu"), Layer(2, (5, 3), padding=2, stride=2)]
    signs = [Layer(9, binary=True, activation="relu"), Layer(9, binary=True, residual=True), Layer(4, stride=2)]
    grown = [Layer(4, (1, 1), padding=1), Layer(4, padding=2), Layer(3, (7, 7), padding=3, stride=2)]
    made = [(random_card(block, size=size, density=0.3, pooled=size != 9), size) for size in (1, 4, 9, 16, 33)]
    made += [(random_card(signs, size=size, density=0.6), size) for size in (7, 19)]
    made += [(random_card(grown, size=size, density=0.5), size) for size in (5, 12, 20)]
    made += [(random_card(odd, size=37, density=0.5), 37), (random_card(wide, size=100, density=0.1), 100)]
    heavy = Layer(64, activation="relu", residual=True)  # than its input: images go through together
    made += [(random_card([Layer(8), Layer(64, stride=8), heavy, heavy], size=32, density=0.9), 32)]
    return [*made, (random_card([Layer(3), Layer(3)], size=8, density=0.0), 8)]


@pytest.fixture(scope="module")
def cards() -> list[tuple[Card, int]]:
    return networks()


def written(cards: Sequence[tuple[Card, int]], level: str, folder: Path, short: int = 0) -> list[str]:
    """Each card's plan, images and expected logits for sparse_check.c; the files' names. Arenas may be too short."""
    files = []
    for index, (card, size) in enumerate(cards):
        plan = Planner(card, size, {width: width for width in WIDTHS[level]}).plan()
        count = 2 * c.TOGETHER + 1 if any(op.taps for op in plan.ops) else 3
        images = fake_images(count, size)
        expected = plain(card, images).astype(np.float32)
        sizes = [max(floats - short, 0) for floats in plan.sizes]
        header = [len(plan.ops), plan.per_image, 3 * size * size, plan.classes, *sizes, plan.scratch]
        offsets = [getattr(c.Op, name).offset for name in POINTERS]
        file = folder / f"{level}-{index}-size-{size}"
        with file.open("wb") as out:
            out.write(np.int64(len(plan.keep)).tobytes())
            for array in plan.keep:
                out.write(np.int64(array.nbytes).tobytes() + array.tobytes())
            out.write(np.array(header, np.int64).tobytes() + relocated(plan))
            out.write(np.array([len(offsets), *offsets, len(images)], np.int64).tobytes())
            out.write(images.tobytes() + expected.tobytes())
        files.append(str(file))
    return files


def relocated(plan: Plan) -> bytes:
    """The operations, with numbers of arrays in place of pointers."""
    number = {array.ctypes.data: index + 1 for index, array in enumerate(plan.keep)}
    ops = (c.Op * len(plan.ops)).from_buffer_copy(plan.ops)
    for op in ops:
        for name in POINTERS:
            setattr(op, name, number[getattr(op, name)] if getattr(op, name) else None)
    return bytes(ops)


def run(command: list[str], library: Path | None = None) -> None:
    environment = os.environ | ({"LD_LIBRARY_PATH": str(library)} if library else {})
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr


def built(folder: Path, cc: list[str], flags: list[str], machine: str = "") -> Path:
    library, program = folder / build.LIBRARY, folder / "check"
    build.compile_library(library, cc=cc, flags=flags, machine=machine)
    include = f"-I{build.FOLDER}"
    run([*cc, "-std=gnu11", "-g", *flags, include, str(SOURCE), str(library), "-lm", "-lpthread", "-o", str(program)])
    return program


def compiler() -> list[str]:
    try:
        return build.compiler()
    except build.NoCompilerError as error:
        pytest.skip(str(error))


def here() -> list[str]:
    """The levels that this machine runs."""
    loaded = c.library()
    return [name for name, level in c.LEVELS.items() if loaded and loaded.sparse_kernels(level, WIDTHS[name][0])]


def sanitized(folder: Path, sanitizers: str, machine: str = "") -> Path:
    """The checking program; unoptimised, since the optimiser takes minutes over instrumented kernels."""
    cc, flags = compiler(), ["-g", "-O0", f"-fsanitize={sanitizers}", "-fno-sanitize-recover=all", *WARNINGS]
    probe = folder / "probe.c"
    probe.write_text("int main(void) { return 0; }\n")
    command = [*cc, *flags, str(probe), "-o", str(folder / "probe")]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip(f"the compiler has no {sanitizers} sanitizer")
    return built(folder, cc, flags, machine)


def test_kernels_touch_only_their_memory(tmp_path: Path, cards: list[tuple[Card, int]]) -> None:
    """Every level of this machine under AddressSanitizer and UBSan."""
    program = sanitized(tmp_path, "address,undefined")
    for level in here():
        run([str(program), str(c.LEVELS[level]), "2", *written(cards, level, tmp_path)], tmp_path)
    with pytest.raises(AssertionError, match="AddressSanitizer: heap-buffer-overflow"):
        run([str(program), "0", "1", *written(cards[3:4], "plain", tmp_path, short=16)], tmp_path)


def test_threads_do_not_race(tmp_path: Path, cards: list[tuple[Card, int]]) -> None:
    """ThreadSanitizer; the threads' code is the same at every level, so only the plain kernels are compiled."""
    program = sanitized(tmp_path, "thread", machine="any")
    large = random_card([Layer(8), Layer(6), Layer(48, stride=8), Layer(64)], size=32, density=0.7), 32
    plan = Planner(*large, {4: 4}).plan()
    last = max(i for i, op in enumerate(plan.ops) if c.OPS[op.kind] == "conv2d")
    assert 0 < plan.per_image <= last  # some planes image by image, some together
    files = written([*cards[2:5], large], "plain", tmp_path)
    for threads in ("1", "2", "3"):
        run([str(program), "0", threads, *files], tmp_path)


def test_kernels_are_right_on_arm(tmp_path: Path, cards: list[tuple[Card, int]]) -> None:
    if platform.machine() == "aarch64":
        pytest.skip("this machine is ARM: the other tests of the engine ran here")
    if missing := [name for name in (CROSS, EMULATOR) if shutil.which(name) is None]:
        pytest.skip(f"{' and '.join(missing)} are not installed (apt-get install qemu-user gcc-aarch64-linux-gnu)")
    program = built(tmp_path, [CROSS], WARNINGS, machine="aarch64")
    files = written(cards, "plain", tmp_path)
    run([EMULATOR, "-L", LIBRARIES, "-E", f"LD_LIBRARY_PATH={tmp_path}", str(program), "0", "2", *files])


def test_the_library_here_is_of_these_sources() -> None:
    assert ctypes.sizeof(c.Value) == 11 * 8
    assert (loaded := c.library()) is None or loaded.sparse_source() == build.source_hash().encode()


def test_the_check_itself_can_fail(tmp_path: Path, cards: list[tuple[Card, int]]) -> None:
    program = built(tmp_path, compiler(), ["-O0", *WARNINGS], machine="any")
    (file,) = written(cards[:1], "plain", tmp_path)
    run([str(program), "0", "2", file], tmp_path)
    changed = bytearray(Path(file).read_bytes())
    changed[-4:] = np.float32(1e3).tobytes()
    Path(file).write_bytes(changed)
    with pytest.raises(AssertionError, match="wrong"):
        run([str(program), "0", "2", file], tmp_path)
