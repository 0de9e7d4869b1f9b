"""The queue: fairness, bounds, errors that stay with their request, cancelled requests that cost nothing."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
from collections.abc import Awaitable, Callable

import numpy as np
import pytest

from cards_deck.inference.predictor import Prediction
from serving.batching import MicroBatcher
from serving.errors import RequestError

POISON = 13


class Double:
    """A predictor whose probabilities are the images' first pixel; it can be held up and fails on POISON.

    The weights of a window are the mean of the pixels it was called with.
    """

    def __init__(self) -> None:
        self.calls: list[list[int]] = []
        self.windows: list[bool] = []
        self.open = threading.Event()
        self.open.set()

    def __call__(self, images: np.ndarray, window: bool) -> Prediction:
        self.open.wait(10)
        values = images[:, 0, 0, 0]
        self.calls.append(values.tolist())
        self.windows.append(window)
        if POISON in values:
            raise ValueError("poison")
        column = values.astype(np.float32)[:, None]
        routed = np.full_like(column, column.mean()) if window else column
        known = {f.name: column for f in dataclasses.fields(Prediction)}
        return Prediction(**{**known, "weights": routed, "unknown": values > 100})


def images(*values: int) -> np.ndarray:
    return np.array(values, np.uint8)[:, None, None, None] * np.ones((1, 4, 4, 3), np.uint8)


def run(
    scenario: Callable[[Double, MicroBatcher], Awaitable[None]], *, max_batch: int = 4, max_queue: int = 8
) -> Double:
    double = Double()

    async def main() -> None:
        batcher = MicroBatcher(double, max_batch=max_batch, max_queue=max_queue)
        await batcher.start()
        try:
            await scenario(double, batcher)
        finally:
            double.open.set()
            await batcher.stop()

    asyncio.run(main())
    return double


async def settle() -> None:
    """Let every task reach the point where it waits for the thread."""
    for _ in range(20):
        await asyncio.sleep(0)


async def held(double: Double, batcher: MicroBatcher, *requests: np.ndarray) -> list[asyncio.Task[Prediction]]:
    """Queue requests while the thread is busy with a first one, which is the first of the returned tasks."""
    double.open.clear()
    tasks = []
    for request in (images(1), *requests):
        tasks.append(asyncio.create_task(batcher.submit(request)))
        await settle()
    return tasks


def values(prediction: Prediction) -> list[float]:
    return prediction.probabilities[:, 0].tolist()


def test_every_caller_gets_its_own_rows_and_what_waits_runs_together() -> None:
    async def scenario(double: Double, batcher: MicroBatcher) -> None:
        tasks = await held(double, batcher, images(2, 200), images(3), images(4))
        double.open.set()
        answers = await asyncio.gather(*tasks)
        assert [values(answer) for answer in answers] == [[1], [2, 200], [3], [4]]
        assert answers[1].unknown.tolist() == [False, True]

    assert run(scenario).calls == [[1], [2, 200, 3, 4]]


def test_a_window_is_never_mixed_with_other_requests() -> None:
    async def scenario(double: Double, batcher: MicroBatcher) -> None:
        tasks = await held(double, batcher, images(2))
        tasks.append(asyncio.create_task(batcher.submit(images(4, 8), window=True)))
        for request in (images(16, 20), images(24), images(28)):
            await settle()
            tasks.append(asyncio.create_task(batcher.submit(request)))
        await settle()
        double.open.set()
        answers = await asyncio.gather(*tasks)
        assert [answer.weights[:, 0].tolist() for answer in answers] == [[1], [2], [6, 6], [16, 20], [24], [28]]

    found = run(scenario)
    assert found.calls == [[1], [2], [4, 8], [16, 20, 24, 28]]
    assert found.windows == [False, False, True, False]


def test_windows_one_after_the_other_stay_apart_and_failing_ones_too() -> None:
    async def scenario(double: Double, batcher: MicroBatcher) -> None:
        tasks = await held(double, batcher)
        for request in (images(2, 6), images(POISON, 3), images(8, 10)):
            tasks.append(asyncio.create_task(batcher.submit(request, window=True)))
            await settle()
        double.open.set()
        _, one, poisoned, two = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(poisoned, ValueError)
        assert isinstance(one, Prediction)
        assert isinstance(two, Prediction)
        assert (one.weights[:, 0].tolist(), two.weights[:, 0].tolist()) == ([4, 4], [9, 9])

    assert run(scenario).calls == [[1], [2, 6], [POISON, 3], [8, 10]]


def test_a_batch_is_bounded_and_a_large_request_runs_alone() -> None:
    async def scenario(double: Double, batcher: MicroBatcher) -> None:
        tasks = await held(double, batcher, images(2, 3, 4), images(5, 6), images(7))
        double.open.set()
        await asyncio.gather(*tasks)
        assert values(await batcher.submit(images(*range(20, 26)))) == list(range(20, 26))

    assert run(scenario).calls == [[1], [2, 3, 4], [5, 6, 7], list(range(20, 26))]


def test_only_the_request_at_fault_fails() -> None:
    async def scenario(double: Double, batcher: MicroBatcher) -> None:
        tasks = await held(double, batcher, images(2), images(POISON), images(3))
        double.open.set()
        first, two, poisoned, three = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(poisoned, ValueError)
        for answer, value in ((first, 1), (two, 2), (three, 3)):
            assert isinstance(answer, Prediction)
            assert values(answer) == [value]

    run(scenario)


def test_a_full_queue_refuses_and_takes_again_when_it_has_room() -> None:
    async def scenario(double: Double, batcher: MicroBatcher) -> None:
        tasks = await held(double, batcher, images(*range(20, 26)))
        with pytest.raises(RequestError) as caught:
            await batcher.submit(images(1, 2, 3))
        assert caught.value.code == "overloaded"
        assert int(caught.value.headers["Retry-After"]) >= 1
        tasks.append(asyncio.create_task(batcher.submit(images(8, 9))))
        await settle()
        double.open.set()
        assert [values(answer) for answer in await asyncio.gather(*tasks)][-1] == [8, 9]

    run(scenario)


def test_a_cancelled_request_leaves_the_queue_at_once() -> None:
    depths: list[int] = []

    async def scenario(double: Double, batcher: MicroBatcher) -> None:
        batcher._on_depth = depths.append
        tasks = await held(double, batcher, images(2), images(3))
        tasks[1].cancel()
        await settle()
        assert depths[-1] == 1
        double.open.set()
        assert values(await tasks[2]) == [3]

    assert run(scenario).calls == [[1], [3]]
    assert depths[-1] == 0


def test_stopping_refuses_what_waits_and_finishes_what_runs() -> None:
    async def main() -> None:
        double = Double()
        batcher = MicroBatcher(double)
        await batcher.start()
        tasks = await held(double, batcher, images(2))
        threading.Timer(0.05, double.open.set).start()
        await batcher.stop()
        with pytest.raises(RequestError, match="stopping"):
            await tasks[1]
        assert values(await tasks[0]) == [1]
        assert double.calls == [[1]]
        with pytest.raises(RequestError):
            await batcher.submit(images(1))

    asyncio.run(main())
