"""The sparse engine in processes: calls from several threads, forks, the end of a process, narrowed processors."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from plain_network import large_then_small

from cards_deck.inference.engines import EngineKind, available, sparse
from cards_deck.inference.fake_deck import fake_card, fake_images

pytestmark = pytest.mark.skipif(not available(EngineKind.SPARSE), reason="no C compiler was here to build the engine")


@pytest.mark.parametrize("threads", [1, 2])
def test_calls_from_several_threads_do_not_disturb_each_other(threads: int) -> None:
    images = fake_images(12, 32)
    runner = sparse.load(large_then_small(), image_size=32, threads=threads)
    expected = runner(images)

    def answers(worker: int) -> bool:
        parts = [slice(worker % 5, worker % 5 + 1 + turn % 6) for turn in range(30)]
        return all(np.array_equal(runner(images[part]), expected[part]) for part in parts)

    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(answers, range(12)))


def test_a_forked_process_answers() -> None:
    code = (
        "import os, numpy as np; from cards_deck.inference.engines import load;"
        "from cards_deck.inference.fake_deck import fake_card, fake_images;"
        "r = load(fake_card('a'), 'sparse', image_size=32, threads=2); x = fake_images(3); a = r(x); pid = os.fork();"
        "same = np.array_equal(r(x), a); os._exit(not same) if not pid else None;"
        "assert same; assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


IN_A_CALL = """
import sys, threading, time
sys.path[:0] = sys.argv[1:]
from cards_deck.inference.engines import sparse
from cards_deck.inference.fake_deck import fake_card, fake_images
runner, images = sparse.load(fake_card("card"), image_size=32, threads=2), fake_images(33)
def call():
    while True:
        runner(images)
threading.Thread(target=call, daemon=True).start()
time.sleep(0.05)
"""


def test_a_process_ends_while_a_daemon_thread_is_in_a_call() -> None:
    for _ in range(5):
        command = [sys.executable, "-c", IN_A_CALL, *sys.path]
        assert subprocess.run(command, timeout=60, check=False).returncode == 0


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no processors can be chosen here")
def test_helpers_stay_where_the_caller_may_run() -> None:
    """Also where that was narrowed after the card was loaded, as `taskset -a -p` does."""
    before = os.sched_getaffinity(0)
    runner, images = sparse.load(fake_card("card"), image_size=32, threads=2), fake_images(5)
    tasks = [int(task.name) for task in Path("/proc/self/task").iterdir()]
    one = {min(before)}
    try:
        for task in tasks:
            os.sched_setaffinity(task, one)
        for _ in range(20):
            runner(images)
        assert all(os.sched_getaffinity(task) == one for task in tasks)
    finally:
        for task in tasks:
            os.sched_setaffinity(task, before)
