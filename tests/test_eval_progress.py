"""What a long run says on stderr."""

from __future__ import annotations

import io

from eval.progress import Progress, clock


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_something_is_said_before_the_first_cell_is_done() -> None:
    for stream in (io.StringIO(), Terminal()):
        Progress(1200, "cifar10-c", stream)
        assert "cifar10-c    0%  0/1,200 images  --:-- left  started" in stream.getvalue()


def test_a_log_has_a_line_now_and_then_and_one_at_the_end() -> None:
    stream = io.StringIO()
    progress = Progress(30, "x", stream)
    for place in range(3):
        progress.add(10, f"fog {place}", cached=place == 0)
    lines = stream.getvalue().splitlines()
    assert len(lines) == 2
    assert lines[0].endswith("started")
    assert lines[1].startswith("x  100%  30/30 images  done in 0:0")


def test_a_terminal_s_line_rewrites_itself() -> None:
    stream = Terminal()
    progress = Progress(2, "x", stream)
    progress.add(1, "fog 1")
    assert "\n" not in stream.getvalue()
    progress.add(1, "fog 2")
    assert stream.getvalue().count("\r\x1b[K") == 3
    assert stream.getvalue().endswith("fog 2\n")


def test_the_time_left_is_judged_from_what_was_not_cached() -> None:
    progress = Progress(100, "x", io.StringIO())
    progress.add(40, "fog 1", cached=True)
    assert "--:-- left" in progress.line("", progress._start + 60)
    progress.add(20, "fog 2")
    assert "2:00 left" in progress.line("", progress._start + 60)
    assert clock(3725) == "1:02:05"
