"""A bounded queue in front of one predicting thread.

Whatever has queued up while the thread was busy runs as the next batch, and an idle thread starts at once: the cost per
image hardly depends on the batch, so waiting for more images would only add latency. What the queue gives is fairness,
back-pressure and a bound on memory.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, fields

import numpy as np
import numpy.typing as npt

from cards_deck.inference.predictor import Prediction
from serving.errors import RequestError

Images = npt.NDArray[np.uint8]
Predict = Callable[[Images, bool], Prediction]
RETRY_AFTER_SECONDS = 1


@dataclass(eq=False)
class _Job:
    images: Images
    window: bool
    future: asyncio.Future[Prediction]
    queued_at: float = field(default_factory=time.perf_counter)


def joined(predictions: Sequence[Prediction]) -> Prediction:
    """Predictions one below the other."""
    names = [f.name for f in fields(Prediction)]
    return Prediction(**{name: np.concatenate([getattr(p, name) for p in predictions]) for name in names})


def rows_of(prediction: Prediction, rows: slice) -> Prediction:
    """The same rows of every field of a prediction."""
    return Prediction(**{f.name: getattr(prediction, f.name)[rows] for f in fields(prediction)})


class MicroBatcher:
    """`await submit(images)` from many tasks; `predict` runs in one thread on batches of about `max_batch` images.

    `predict(images, window)`: a window, whose images are routed together, is always the images of one request alone.
    `on_wait(seconds)` is called for each job as it leaves the queue, `on_batch(images, seconds)` after each call of
    `predict`, `on_depth(images)` whenever the number of queued images changes.
    """

    def __init__(
        self,
        predict: Predict,
        *,
        max_batch: int = 32,
        max_queue: int = 256,
        on_wait: Callable[[float], None] = lambda seconds: None,
        on_batch: Callable[[int, float], None] = lambda images, seconds: None,
        on_depth: Callable[[int], None] = lambda images: None,
    ) -> None:
        self._predict = predict
        self._max_batch = max_batch
        self._max_queue = max_queue
        self._on_wait, self._on_batch, self._on_depth = on_wait, on_batch, on_depth
        self._jobs: deque[_Job] = deque()
        self._depth = 0
        self._arrived = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._thread: ThreadPoolExecutor | None = None

    async def start(self) -> None:
        """Start the thread; call once, on the event loop that will call `submit`."""
        self._arrived.clear()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="predict")
        self._task = asyncio.create_task(self._run(), name="micro-batcher")

    async def stop(self) -> None:
        """Let the batch at work finish, refuse what is still queued (503 not_ready)."""
        task, thread = self._task, self._thread
        self._task = None
        for job in self._jobs:
            if not job.future.done():
                job.future.set_exception(_not_ready())
        self._jobs.clear()
        self._change_depth(-self._depth)
        self._arrived.set()
        if task is not None:
            await task
        if thread is not None:
            await asyncio.to_thread(thread.shutdown)

    async def submit(self, images: Images, *, window: bool = False) -> Prediction:
        """The prediction for these images [n, h, w, 3] alone, n >= 1; `window`: they share one shift.

        Raises RequestError overloaded (429) where the queue has no room, not_ready (503) outside start and stop, and
        whatever `predict` raises on these images. A cancelled caller's images leave the queue.
        """
        if self._task is None:
            raise _not_ready()
        if self._depth + len(images) > self._max_queue:
            raise RequestError(
                "overloaded",
                f"{self._depth} images are waiting and the queue takes {self._max_queue}; try again.",
                headers={"Retry-After": str(RETRY_AFTER_SECONDS)},
            )
        job = _Job(images, window, asyncio.get_running_loop().create_future())
        self._jobs.append(job)
        self._change_depth(len(images))
        self._arrived.set()
        try:
            return await job.future
        except asyncio.CancelledError:
            if job in self._jobs:
                self._jobs.remove(job)
                self._change_depth(-len(images))
            raise

    def _change_depth(self, images: int) -> None:
        self._depth += images
        self._on_depth(self._depth)

    async def _run(self) -> None:
        while self._task is not None:
            await self._arrived.wait()
            jobs = self._take()
            if jobs:
                await self._answer(jobs)
            if not self._jobs:
                self._arrived.clear()

    def _take(self) -> list[_Job]:
        """The next jobs in order of arrival: as many as fit `max_batch` images, and always at least one.

        A window is taken alone: nobody else's images can have a part in its mean spectrum.
        """
        taken: list[_Job] = []
        images = 0
        while self._jobs and (not taken or self._joins(taken[-1], images)):
            job = self._jobs.popleft()
            images += len(job.images)
            taken.append(job)
            self._on_wait(time.perf_counter() - job.queued_at)
        self._change_depth(-images)
        return taken

    def _joins(self, last: _Job, images: int) -> bool:
        job = self._jobs[0]
        return not (job.window or last.window) and images + len(job.images) <= self._max_batch

    async def _answer(self, jobs: list[_Job]) -> None:
        """Settle every job. A batch that fails is run again job by job: only the job at fault gets the error."""
        try:
            prediction = await self._in_thread(np.concatenate([job.images for job in jobs]), jobs[0].window)
        except Exception as error:  # whatever it is, it belongs to the requests of this batch, never to the loop
            if len(jobs) > 1:
                for job in jobs:
                    await self._answer([job])
            elif not jobs[0].future.done():
                jobs[0].future.set_exception(error)
            return
        start = 0
        for job in jobs:
            rows = slice(start, start + len(job.images))
            start = rows.stop
            if not job.future.done():
                job.future.set_result(rows_of(prediction, rows))

    async def _in_thread(self, images: Images, window: bool) -> Prediction:
        started = time.perf_counter()
        prediction = await asyncio.get_running_loop().run_in_executor(self._thread, self._predict, images, window)
        self._on_batch(len(images), time.perf_counter() - started)
        return prediction


def _not_ready() -> RequestError:
    return RequestError(
        "not_ready", "The server is starting or stopping; try again.", headers={"Retry-After": str(RETRY_AFTER_SECONDS)}
    )
